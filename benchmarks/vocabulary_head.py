"""The vocabulary head of masked LM beside the roofline: what products and memory allow at most.

python -m benchmarks --only vocabulary-head
"""

import time

import torch

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sides import BATCH, LENGTH, SMALLEST
from wellread_hf.data.packing import masked_positions_per_block
from wellread_hf.students import VOCABULARY
from wellread_hf.training.fast_cpu import VocabularyLoss, freed_memory_kept

NAME = "vocabulary-head"
SCORED = BATCH * masked_positions_per_block(LENGTH, 0.15)
FLOAT = 4


# As in training.
@freed_memory_kept()
def run(rounds: int, quick: bool) -> list[Figure]:
    """Sets the head's time (product, loss, and their gradients) against the roofline.

    The least traffic: weights and their gradient once, and the scored positions' 30,522 numbers written and
    read once in the forward product, the softmax and each of the two backward products.
    """
    student = SMALLEST
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

    rates, roofs = in_turn(head, roof, 1 if quick else 3 * rounds)
    bandwidth, peak = sorted(bandwidths)[len(bandwidths) // 2], sorted(peaks)[len(peaks) // 2]
    figure = Figure(
        benchmark=NAME,
        case=student.name.removeprefix("bert-"),
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
    return [figure]
