"""What the machine can do at most: its matrix products at a student's own shapes."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

import torch

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from wellread_hf.training.operations import Product, operations


def matrix_rate(needed: Iterable[Product]) -> Callable[[], float]:
    """Returns what measures GFLOP/s over products, forward and backward, on warm memory."""
    shapes: Counter[tuple[int, int, int, int]] = Counter()
    for often, batch, m, k, n in needed:
        shapes[batch, m, k, n] += often
    ready = []
    for (batch, m, k, n), often in shapes.items():
        left, right, out = torch.randn(batch, m, k), torch.randn(batch, n, k), torch.empty(batch, m, n)
        ready.append((often, left, right, out, torch.empty_like(left), torch.empty_like(right)))
    work = operations(Product(often, *shape) for shape, often in shapes.items())

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
    work = operations(needed) / 1e9
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
