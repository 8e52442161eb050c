"""A larger BERT from a smaller one that has learnt: deeper by stacking its layers, wider by copying channels.

- Deeper: all layers over and over (Gong et al. 2019), and the rest are the top ones (bert2BERT, Chen et al.
  2022). The first layers compute what they did; what the others make of it is new to the head.
- Wider: whole copies of all channels, so that a layer norm finds the mean and variance that it found before.
  What reads copies has its weights shared out over them, so the model computes the same (Net2Net, Chen et al.
  2016, which has no layer norm).
- Where the width is no whole multiple (512 to 768), every other channel holds the mean of all. A layer norm
  then finds the same mean and a variance that is smaller by a known factor (LEMON, Wang et al. 2024). Two
  things are not exact: behind a layer norm the mean of its scaled channels, and the norm in the masked-LM
  head, which follows a GELU.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from wellread_hf.models.init import new_like, with_layers
from wellread_hf.models.masked_lm import AnyBert


def stack_order(layers: int, there: int) -> tuple[int, ...]:
    """Returns which of `there` layers a stack of `layers` consists of, by number from 1.

    All of them as often as they fit, then the top ones: 1 2 1 2 of two, 1 2 3 4 3 4 of four.
    """
    whole = layers - layers % there
    return tuple(1 + (place if place < whole else place - layers) % there for place in range(layers))


def stacked(source: AnyBert, layers: int) -> AnyBert:
    """Builds a deeper model of the layers of `source` in `stack_order`; all other weights are the source's.

    Args:
        source: The shallower model.
        layers: Layers of the new one.
    """
    return with_layers(source, stack_order(layers, source.config.num_hidden_layers))


def widened(source: AnyBert, width: int, seed: int) -> AnyBert:
    """Builds a wider model that computes what `source` does: exactly where `width` is a multiple of its own.

    Heads keep their size, so there are more of them, and the feed-forward parts grow along.

    Args:
        source: The narrower model.
        width: Hidden size of the new one, a multiple of the source's head size.
        seed: Seed of the shares that copies are read with, and of weights that read a mean.
    """
    config = source.config
    there = config.hidden_size
    model = new_like(
        source,
        hidden_size=width,
        num_attention_heads=config.num_attention_heads * width // there,
        intermediate_size=config.intermediate_size * width // there,
        # A head that is drawn later gets weights of its width (`Student.fresh_config`).
        initializer_range=config.initializer_range * (there / width) ** 0.5,
    )
    model.load_state_dict(dict(_Widening(there, width, seed).weights(source.state_dict())))
    return model


# What reads the hidden states that all layers add to, and what writes them; all else is within a layer.
_READS_STATES = ("query", "key", "value", "intermediate.dense", "pooler.dense", "transform.dense")
_WRITES_STATES = "output.dense"


class _Widening:
    """The weights of a wider model: rows of a matrix are written, columns are read."""

    def __init__(self, there: int, width: int, seed: int) -> None:
        self.there, self.width = there, width
        # Hidden channels that are copies; the others hold the mean.
        self.whole = width - width % there
        self.draw = torch.Generator().manual_seed(seed)

    def weights(self, source: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        for name, values in source.items():
            module, _, kind = name.rpartition(".")
            if module == "cls.predictions" or name == "cls.predictions.decoder.bias":
                yield name, values  # one number a word
            elif module.endswith("transform.LayerNorm"):
                yield name, self._head_norm(values)
            elif module.endswith("LayerNorm"):
                # The deviations of the copies are this much of a mean square over all channels.
                scale = (self.whole / self.width) ** 0.5 if kind == "weight" else 1.0
                yield name, self._states(values) * scale
            elif module.endswith(("_embeddings", "predictions.decoder")):
                yield name, self._states(values.T).T.contiguous()
            else:
                if not module.endswith("seq_relationship"):
                    write = self._states if module.endswith(_WRITES_STATES) else self._within
                    values = write(values)
                if kind == "weight":
                    read = self._reading_states if module.endswith(_READS_STATES) else self._reading
                    values = read(values)
                yield name, values

    def _within(self, rows: Tensor) -> Tensor:
        """Repeats rows [n, ...] until there are n times width over source's width."""
        return rows[torch.arange(len(rows) * self.width // self.there) % len(rows)]

    def _states(self, rows: Tensor) -> Tensor:
        """Repeats rows [H, ...] as whole copies; the rest are the mean."""
        rest = rows.mean(dim=0, keepdim=True).expand(self.width - self.whole, *rows.shape[1:])
        return torch.cat([self._within(rows)[: self.whole], rest])

    def _reading(self, weight: Tensor, size: int | None = None) -> Tensor:
        """Shares out columns [out, n] over their copies, in unequal parts that add up to one.

        Each row draws its own. If copies were read in one proportion throughout, their gradients would
        differ by a factor alone, which Adam removes: they would stay copies.
        """
        there = weight.shape[1]
        column = torch.arange(there * self.width // self.there if size is None else size) % there
        parts = torch.empty(len(weight), len(column)).exponential_(generator=self.draw)
        total = torch.zeros(weight.shape).index_add_(1, column, parts)
        return weight[:, column] * (parts / total[:, column])

    def _reading_states(self, weight: Tensor) -> Tensor:
        """Shares out columns [out, H]; those of the mean are random, and add up to nothing."""
        # Zeros would give all these channels one gradient.
        rest = torch.randn(len(weight), self.width - self.whole, generator=self.draw) * self.width**-0.5
        rest -= rest.mean(dim=1, keepdim=True) if rest.numel() else 0.0
        return torch.cat([self._reading(weight, self.whole), rest], dim=1)

    def _head_norm(self, values: Tensor) -> Tensor:
        """Shares out [H] of the norm before the output matrix, which is the word embeddings.

        Its columns of the mean get nothing: they would change the sum.
        """
        parts = self._reading(values[None], self.whole)[0]
        return torch.cat([parts, parts.new_zeros(self.width - self.whole)])
