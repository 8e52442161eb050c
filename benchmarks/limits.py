"""What the machine can do at most: its matrix products at a student's own shapes, and its memory."""

import time
from collections.abc import Callable, Iterator

import torch

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sides import BATCH, LENGTH
from wellread_hf.data.tokens import masked_positions_per_block
from wellread_hf.models.masked_lm import VocabularyLoss
from wellread_hf.students import HEAD_SIZE, VOCABULARY, Student

TOKENS = BATCH * LENGTH
SCORED = BATCH * masked_positions_per_block(LENGTH)
FLOAT = 4


def products(student: Student, blocks: int = BATCH) -> Iterator[tuple[int, int, int, int, int]]:
    """Yields (how often, batch, m, k, n) of the products [m, k] × [k, n] of a forward pass as ours needs it.

    The last layer's queries, attention output and feed-forward part exist at scored positions only.
    """
    hidden, heads = student.hidden, student.heads * blocks
    whole, tokens, scored = student.layers - 1, blocks * LENGTH, masked_positions_per_block(LENGTH)
    yield 4 * whole + 2, 1, tokens, hidden, hidden
    yield whole, 1, tokens, hidden, 4 * hidden
    yield whole, 1, tokens, 4 * hidden, hidden
    # The last layer: query and attention output; the head's transform is of the same shape.
    yield 3, 1, blocks * scored, hidden, hidden
    yield 1, 1, blocks * scored, hidden, 4 * hidden
    yield 1, 1, blocks * scored, 4 * hidden, hidden
    yield 1, 1, blocks * scored, hidden, VOCABULARY
    for times, queries in ((whole, LENGTH), (1, scored)):
        yield times, heads, queries, HEAD_SIZE, LENGTH
        yield times, heads, queries, LENGTH, HEAD_SIZE


def flops(student: Student, blocks: int = BATCH) -> float:
    """Counts the floating-point operations of one step: forward, and twice that backward."""
    return sum(6.0 * often * batch * m * k * n for often, batch, m, k, n in products(student, blocks))


def matrix_rate(student: Student) -> Callable[[], float]:
    """Returns what measures GFLOP/s over all products of a step, forward and backward, on warm memory."""
    ready = []
    for often, batch, m, k, n in products(student):
        if not often:
            continue
        left, right, out = torch.randn(batch, m, k), torch.randn(batch, n, k), torch.empty(batch, m, n)
        ready.append((often, left, right, out, torch.empty_like(left), torch.empty_like(right)))

    def measure() -> float:
        seconds = 0.0
        for often, left, right, out, left_gradient, right_gradient in ready:
            started = time.perf_counter()
            _product(left, right.mT, out)
            _product(out, right, left_gradient)
            _product(out.mT, left, right_gradient)
            seconds += often * (time.perf_counter() - started)
        return flops(student) / seconds / 1e9

    return measure


def _product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
    if len(left) == 1:
        torch.mm(left[0], right[0], out=out[0])
    else:
        torch.bmm(left, right, out=out)


def utilisation(student: Student, train: Callable[[], float], rounds: int, target: float | None) -> Figure:
    """Compares a trainer's rate, from its tokens a second, with the machine's at the same products."""
    tokens_to_gflops = flops(student) / TOKENS / 1e9
    training, machine = in_turn(lambda: train() * tokens_to_gflops, matrix_rate(student), rounds)
    return Figure(
        benchmark="mlm",
        case=f"{student.name.removeprefix('bert-')}, utilisation",
        ours="training",
        theirs="matrix products alone",
        unit="GFLOP/s",
        ours_values=training,
        theirs_values=machine,
        ratios=compared(training, machine, "higher"),
        target=target,
        better="higher",
        same=f"the products of one step: {flops(student) / 1e9:.1f} GFLOP, forward and backward",
    )


def vocabulary_head(student: Student, rounds: int) -> Figure:
    """Sets the head's time (product, loss, and their gradients) against the roofline.

    The least traffic: weights and their gradient once, and the scored positions' 30,522 numbers written and
    read once in the forward product, the softmax and each of the two backward products.
    """
    hidden = torch.randn(SCORED, student.hidden, requires_grad=True)
    weight = torch.randn(VOCABULARY, student.hidden, requires_grad=True)
    bias = torch.zeros(VOCABULARY, requires_grad=True)
    labels = torch.randint(0, VOCABULARY, (SCORED,))
    work = 6.0 * SCORED * student.hidden * VOCABULARY
    traffic = FLOAT * VOCABULARY * (3.0 * student.hidden + 5 * SCORED)
    square = torch.randn(1536, 1536)
    there, back = torch.randn(1 << 25), torch.empty(1 << 25)
    product = torch.empty_like(square)

    def head() -> float:
        started = time.perf_counter()
        VocabularyLoss.apply(hidden, weight, bias, labels).mean().backward()
        took = time.perf_counter() - started
        hidden.grad = weight.grad = bias.grad = None
        return work / took / 1e9

    bandwidths, peaks = [], []

    def roof() -> float:
        started = time.perf_counter()
        back.copy_(there)
        bandwidths.append(2 * FLOAT * len(there) / (time.perf_counter() - started) / 1e9)
        started = time.perf_counter()
        torch.mm(square, square, out=product)
        peaks.append(2 * len(square) ** 3 / (time.perf_counter() - started) / 1e9)
        return work / max(work / peaks[-1], traffic / bandwidths[-1])

    rates, roofs = in_turn(head, roof, rounds)
    bandwidth, peak = sorted(bandwidths)[len(bandwidths) // 2], sorted(peaks)[len(peaks) // 2]
    return Figure(
        benchmark="mlm",
        case=f"{student.name.removeprefix('bert-')}, vocabulary head",
        ours="product and loss",
        theirs="roofline",
        unit="GFLOP/s",
        ours_values=rates,
        theirs_values=roofs,
        ratios=compared(rates, roofs, "higher"),
        target=None,
        better="higher",
        same=f"{work / 1e9:.1f} GFLOP and {traffic / 1e6:.0f} MB at least",
        note=f"intensity {work / traffic:.0f} FLOP a byte; this machine has {peak:.0f} GFLOP/s and "
        f"{bandwidth:.1f} GB/s, which balance at {peak / bandwidth:.0f} FLOP a byte",
    )
