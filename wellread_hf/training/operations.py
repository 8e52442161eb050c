"""What a training step computes: its matrix products, at the positions where ours computes them.

Element-wise operations (norms, GELU, dropout, AdamW) are left out, as is usual: they are limited by memory.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wellread_hf.data.packing import masked_positions_per_block
from wellread_hf.students import HEAD_SIZE, VOCABULARY, Shape


class Product(NamedTuple):
    """Matrix products of one shape: `often` times a batch of [m, k] × [k, n]."""

    often: int
    batch: int
    m: int
    k: int
    n: int


def masked_lm_products(
    shape: Shape,
    blocks: int = 1,
    length: int = 128,
    mask_share: float = 0.15,
    vocabulary: int = VOCABULARY,
    next_sentence: bool = False,
) -> Iterator[Product]:
    """Yields the products of a forward pass of masked LM on full blocks.

    The last layer's queries, attention output and feed-forward part exist at scored positions only
    (`models.masked_lm.scoring_only`); so does the head.

    Args:
        shape: Depth and width.
        blocks: Blocks a step.
        length: Tokens a block.
        mask_share: Share of the positions that are predicted.
        vocabulary: Words of the tokenizer.
        next_sentence: Pairs of segments, whose first position is pooled and classified as well.
    """
    hidden, masked = shape.width, masked_positions_per_block(length, mask_share)
    yield from _layers(shape, shape.layers - 1, blocks, length)
    yield from _last_layer(shape, blocks, length, masked + next_sentence)
    yield Product(1, 1, blocks * masked, hidden, hidden)
    yield Product(1, 1, blocks * masked, hidden, vocabulary)
    if next_sentence:
        yield Product(1, 1, blocks, hidden, hidden)
        yield Product(1, 1, blocks, hidden, 2)


def classifier_products(shape: Shape, rows: int, width: int) -> Iterator[Product]:
    """Yields the products of a classifier's forward pass over `rows` rows, padded to `width` tokens.

    The last layer is computed at [CLS] alone (`models.last_layer.first_position_only`). The products of the
    classes are left out: there are two or three of them.
    """
    yield from _layers(shape, shape.layers - 1, rows, width)
    yield from _last_layer(shape, rows, width, 1)
    yield Product(1, 1, rows, shape.width, shape.width)


def operations(products: Iterable[Product]) -> float:
    """Counts floating-point operations of products: forward, and twice that backward."""
    return sum(6.0 * often * batch * m * k * n for often, batch, m, k, n in products)


def _layers(shape: Shape, layers: int, blocks: int, length: int) -> Iterator[Product]:
    tokens = blocks * length
    yield Product(4 * layers, 1, tokens, shape.width, shape.width)
    yield from _feed_forward(shape.width, layers, tokens)
    yield from _attention(shape, layers, blocks, length, length)


def _last_layer(shape: Shape, blocks: int, length: int, computed: int) -> Iterator[Product]:
    """Yields the products of a layer of whose outputs `computed` a block are read."""
    # Keys and values are needed everywhere.
    yield Product(2, 1, blocks * length, shape.width, shape.width)
    yield Product(2, 1, blocks * computed, shape.width, shape.width)
    yield from _feed_forward(shape.width, 1, blocks * computed)
    yield from _attention(shape, 1, blocks, computed, length)


def _feed_forward(hidden: int, layers: int, tokens: int) -> Iterator[Product]:
    yield Product(layers, 1, tokens, hidden, 4 * hidden)
    yield Product(layers, 1, tokens, 4 * hidden, hidden)


def _attention(shape: Shape, layers: int, blocks: int, queries: int, keys: int) -> Iterator[Product]:
    # Widths below a head's are toys; how their width is cut into heads changes nothing of the sum.
    size = min(HEAD_SIZE, shape.width)
    heads = shape.width // size * blocks
    yield Product(layers, heads, queries, size, keys)
    yield Product(layers, heads, queries, keys, size)
