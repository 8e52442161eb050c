"""What the machine can do at most: its matrix products at a student's own shapes."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import torch

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sides import BATCH, LENGTH
from wellread_hf.data.packing import masked_positions_per_block
from wellread_hf.students import HEAD_SIZE, VOCABULARY, Student

# How often, batch, m, k, n: products [m, k] × [k, n].
Product = tuple[int, int, int, int, int]


def products(student: Student, blocks: int = BATCH) -> Iterator[Product]:
    """Yields the products of a forward pass of masked LM as ours needs it, on blocks of 128.

    The last layer's queries, attention output and feed-forward part exist at scored positions only.
    """
    hidden, scored = student.hidden, masked_positions_per_block(LENGTH, 0.15)
    rows = blocks * scored
    yield from _layers(student, student.layers - 1, blocks, LENGTH)
    # The last layer: keys and values everywhere; the head's transform is of the shape of its two others.
    yield 2, 1, blocks * LENGTH, hidden, hidden
    yield 3, 1, rows, hidden, hidden
    yield 1, 1, rows, hidden, 4 * hidden
    yield 1, 1, rows, 4 * hidden, hidden
    yield 1, student.heads * blocks, scored, HEAD_SIZE, LENGTH
    yield 1, student.heads * blocks, scored, LENGTH, HEAD_SIZE
    yield 1, 1, rows, hidden, VOCABULARY


def classifier_products(student: Student, widths: Iterable[int]) -> Iterator[Product]:
    """Yields the products of a classifier's forward passes over batches of 32 rows, padded to `widths`."""
    for width in widths:
        yield from _layers(student, student.layers, BATCH, width)
        yield 1, 1, BATCH, student.hidden, student.hidden


def _layers(student: Student, layers: int, blocks: int, length: int) -> Iterator[Product]:
    hidden, tokens, heads = student.hidden, blocks * length, student.heads * blocks
    yield 4 * layers, 1, tokens, hidden, hidden
    yield layers, 1, tokens, hidden, 4 * hidden
    yield layers, 1, tokens, 4 * hidden, hidden
    yield layers, heads, length, HEAD_SIZE, length
    yield layers, heads, length, length, HEAD_SIZE


def flops(needed: Iterable[Product]) -> float:
    """Counts the floating-point operations of products: forward, and twice that backward."""
    return sum(6.0 * often * batch * m * k * n for often, batch, m, k, n in needed)


def matrix_rate(needed: Iterable[Product]) -> Callable[[], float]:
    """Returns what measures GFLOP/s over products, forward and backward, on warm memory."""
    shapes: Counter[tuple[int, int, int, int]] = Counter()
    for often, *shape in needed:
        batch, m, k, n = shape
        shapes[batch, m, k, n] += often
    ready = []
    for (batch, m, k, n), often in shapes.items():
        left, right, out = torch.randn(batch, m, k), torch.randn(batch, n, k), torch.empty(batch, m, n)
        ready.append((often, left, right, out, torch.empty_like(left), torch.empty_like(right)))
    work = flops((often, *shape) for shape, often in shapes.items())

    def measure() -> float:
        seconds = 0.0
        for often, left, right, out, left_gradient, right_gradient in ready:
            started = time.perf_counter()
            _product(left, right.mT, out)
            _product(out, right, left_gradient)
            _product(out.mT, left, right_gradient)
            seconds += often * (time.perf_counter() - started)
        return work / seconds / 1e9

    return measure


def _product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    if len(left) == 1:
        torch.mm(left[0], right[0], out=out[0])
    else:
        torch.bmm(left, right, out=out)


def utilisation(
    benchmark: str,
    case: str,
    needed: Iterable[Product],
    train: Callable[[], float],
    rounds: int,
    target: float | None,
) -> Figure:
    """Compares a trainer's rate with the machine's at the same products.

    Args:
        benchmark: Whose figure it is.
        case: The student.
        needed: The products of one forward pass.
        train: Trains; returns how often a second it did what `needed` is needed for.
        rounds: Pairs.
        target: Share of the machine's rate to reach.
    """
    needed = list(needed)
    work = flops(needed) / 1e9
    training, machine = in_turn(lambda: train() * work, matrix_rate(needed), rounds)
    return Figure(
        benchmark=benchmark,
        case=f"{case}, utilisation",
        ours="training",
        theirs="matrix products alone",
        unit="GFLOP/s",
        ours_values=training,
        theirs_values=machine,
        ratios=compared(training, machine, "higher"),
        target=target,
        better="higher",
        same=f"the products alone: {work:.1f} GFLOP, forward and backward",
    )
