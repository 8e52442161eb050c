"""Several students at once on one stream of batches, beside one student after another.

  python -m benchmarks --only cohort

Both sides train four students in one process, from the same blocks with the same masks and random weights,
so that after a turn all weights are the same; a cohort reads and masks each batch once for all of them.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sides import BATCH, SMALLEST, bare_loss, random_blocks, settings, tokenizer
from wellread_hf.data.packing import Blocks
from wellread_hf.models.masked_lm import new_masked_lm
from wellread_hf.students import BERT_DROPOUT, VOCABULARY, Student
from wellread_hf.training.fast_cpu import freed_memory_kept
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.pretraining import RunBlocks

NAME = "cohort"
_STUDENTS = (SMALLEST, SMALLEST, Student(4, 128), Student(2, 256))
_STEPS = 3


@freed_memory_kept()
def run(rounds: int, quick: bool) -> list[Figure]:
    """Trains the same students both ways in turn, and measures reading and masking alone."""
    sizes = _STUDENTS[:2] if quick else _STUDENTS
    together, apart = Learners(sizes), Learners(sizes)
    read: list[float] = []

    def at_once() -> float:
        return _timed(together.at_once)

    def one_after_another() -> float:
        read.append(len(sizes) * _timed(lambda: [apart.batch(step) for step in range(_STEPS)]))
        return _timed(apart.one_after_another)

    ours, theirs = in_turn(at_once, one_after_another, rounds)
    differ = together.distance(apart)
    # Products of several threads add up in any order.
    assert differ < 1e-4, f"the students of both ways differ by {differ}"
    shares = [reading / whole for reading, whole in zip(read[1:], theirs, strict=True)]
    return [
        Figure(
            benchmark=NAME,
            case=f"{len(sizes)} students",
            ours="at once, each batch read and masked once",
            theirs="one after another",
            unit="s",
            ours_values=ours,
            theirs_values=theirs,
            ratios=compared(ours, theirs, "lower"),
            target=None,
            better="lower",
            same=f"weights differ by {differ:.0e} at the end",
            note=f"{', '.join(size.name.removeprefix('bert-') for size in sizes)}; reading and masking is "
            f"{min(shares):.1%} to {max(shares):.1%} of the time of one after another",
        )
    ]


class Learners:
    """Students with their optimizers, without dropout, and the batches that all of them see."""

    def __init__(self, sizes: tuple[Student, ...]) -> None:
        self.models: list[Any] = [
            new_masked_lm(size, VOCABULARY, BERT_DROPOUT, seed=number).eval()
            for number, size in enumerate(sizes)
        ]
        self.optimizers = [
            torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) for model in self.models
        ]
        self.data = RunBlocks([Blocks(random_blocks())], [_STEPS], BATCH, seed=0)
        self.collator = MlmCollator(tokenizer(), settings().mask_share)

    def batch(self, step: int) -> Any:
        """Reads and masks one batch."""
        return self.collator([self.data[row] for row in range(step * BATCH, (step + 1) * BATCH)])

    def at_once(self) -> None:
        """Trains all students on a batch before the next one is read."""
        for step in range(_STEPS):
            batch = self.batch(step)
            for number in range(len(self.models)):
                self._train(number, batch)

    def one_after_another(self) -> None:
        """Trains each student on all batches before the next student."""
        for number in range(len(self.models)):
            for step in range(_STEPS):
                self._train(number, self.batch(step))

    def distance(self, others: "Learners") -> float:
        """Returns by how much weights differ at most."""
        pairs = zip(self.models, others.models, strict=True)
        return max(
            float((mine - theirs).abs().max().detach())
            for ours, their in pairs
            for mine, theirs in zip(ours.parameters(), their.parameters(), strict=True)
        )

    def _train(self, number: int, batch: Any) -> None:
        model, optimizer = self.models[number], self.optimizers[number]
        bare_loss(model, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
