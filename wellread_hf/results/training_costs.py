"""What students cost before they are trained: operations, hours on measured devices, disk, commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from wellread_hf.results.tables import Table
from wellread_hf.settings import Pretrain
from wellread_hf.store.records import json_object
from wellread_hf.students import VOCABULARY, Student
from wellread_hf.training.operations import masked_lm_products, operations

# Of a number: weights are stored in fp32, and a checkpoint has two moments of AdamW beside each.
_BYTES, _OF_A_CHECKPOINT = 4, 3
# Two checkpoints stay, and a third is written before the oldest goes.
_CHECKPOINTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast a device pre-trains students, and on which blocks that was measured.

    Attributes:
        device: Its name.
        tokens_per_second: By the student's name.
        timed: Names of the students that were timed; the others are predicted from them.
        length: Tokens a block.
        mask_share: Share of the tokens that are predicted.
        vocabulary: Words of the tokenizer.
    """

    device: str
    tokens_per_second: Mapping[str, float]
    timed: frozenset[str]
    length: int = 128
    mask_share: float = 0.15
    vocabulary: int = VOCABULARY

    @classmethod
    def of_stage(cls, outcome: Mapping[str, Any]) -> "Rates":
        """Reads the outcome of `stages.rate`."""
        return cls(
            device=outcome["device"],
            tokens_per_second=outcome["tokens_per_second"],
            timed=frozenset(outcome["seconds_a_step"]),
            length=outcome["block_length"],
            mask_share=outcome["mask_share"],
            vocabulary=outcome["vocabulary"],
        )

    @classmethod
    def of_gpu(cls, path: Path) -> "Rates | None":
        """Reads what `benchmarks/gpu.py` wrote, of each student the fastest way of ours; None without it."""
        found = json_object(path)
        if "device" not in found or found["device"] == "CPU":
            return None
        best: dict[str, float] = {}
        for row in found["rows"]:
            if row["way"].startswith("ours"):
                best[row["student"]] = max(best.get(row["student"], 0.0), median(row["tokens/s"]))
        return cls(device=found["device"], tokens_per_second=best, timed=frozenset(best))

    def operations_per_second(self, student: Student) -> float | None:
        """Returns how fast it computes a student's products; None where it is not known for this one."""
        tokens = self.tokens_per_second.get(student.name)
        if tokens is None:
            return None
        products = masked_lm_products(student.shape, 1, self.length, self.mask_share, self.vocabulary)
        return tokens * operations(products) / self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a student's pre-training costs.

    Attributes:
        student: Which of the 24.
        tokens: That it reads.
        operations: Floating-point operations of its products, forward and backward.
        seconds: By device; None where it was not measured there.
        bytes: Of its weights, which stay.
        checkpoint_bytes: Of its checkpoints, as long as it is trained.
        commits: On the Hub.
    """

    student: Student
    tokens: int
    operations: float
    seconds: Mapping[str, float | None]
    bytes: int
    checkpoint_bytes: int
    commits: int


def cost_of(
    student: Student,
    tokens: int,
    settings: Pretrain,
    rates: Sequence[Rates],
    vocabulary: int = VOCABULARY,
    commits: int = 1,
) -> Cost:
    """Returns what a student's pre-training costs.

    Args:
        student: Which of the 24.
        tokens: That it reads; shared out over the phases as their steps are.
        settings: Its blocks and what is predicted.
        rates: What was measured; other blocks than those measured are taken to run at as many operations a
            second.
        vocabulary: Words of the tokenizer.
        commits: Repositories that it gets on the Hub, each by one commit.
    """
    computed = tokens * operations_per_token(student, settings, vocabulary)
    measured = {each.device: each.operations_per_second(student) for each in rates}
    weights = _BYTES * student.parameters(vocabulary)
    return Cost(
        student=student,
        tokens=tokens,
        operations=computed,
        seconds={name: None if speed is None else computed / speed for name, speed in measured.items()},
        bytes=weights,
        checkpoint_bytes=_CHECKPOINTS * _OF_A_CHECKPOINT * weights,
        commits=commits,
    )


def operations_per_token(student: Student, settings: Pretrain, vocabulary: int = VOCABULARY) -> float:
    """Returns the operations of pre-training for a token, over all phases."""
    # Phases share out steps, so the tokens of one grow with its blocks.
    parts = [
        (share * length, share * operations(_products(student, settings, length, vocabulary)))
        for share, length in zip(settings.phase_shares, settings.block_lengths, strict=True)
    ]
    return sum(computed for _, computed in parts) / sum(tokens for tokens, _ in parts)


def _products(student: Student, settings: Pretrain, length: int, vocabulary: int) -> Any:
    return masked_lm_products(
        student.shape, 1, length, settings.mask_share, vocabulary, settings.next_sentence
    )


def cost_table(costs: Sequence[Cost], rates: Sequence[Rates]) -> Table:
    """Returns a line a student and a sum: operations, hours by device, disk, commits."""
    devices = [each.device for each in rates]
    rows = [
        [
            each.student.name,
            f"{each.tokens / 1e6:,.1f}",
            f"{each.operations:.2g}",
            *(_hours(each.seconds[device]) for device in devices),
            *(f"{size / 1e6:,.0f}" for size in (each.bytes, each.checkpoint_bytes)),
            f"{each.commits}",
        ]
        for each in costs
    ]
    # One after another, so only one student's checkpoints lie there at a time.
    rows.append(
        [
            "**all**",
            f"{sum(each.tokens for each in costs) / 1e6:,.1f}",
            f"{sum(each.operations for each in costs):.2g}",
            *(_hours(_sum([each.seconds[device] for each in costs])) for device in devices),
            f"{sum(each.bytes for each in costs) / 1e6:,.0f}",
            f"{max((each.checkpoint_bytes for each in costs), default=0) / 1e6:,.0f}",
            f"{sum(each.commits for each in costs)}",
        ]
    )
    head = ["student", "million tokens", "operations", *(f"hours, {device}" for device in devices),
            "MB", "MB of checkpoints", "commits"]  # fmt: skip
    named = {each.student.name for each in costs}
    notes = [
        f"{each.device}: timed: {', '.join(sorted(each.timed))}; other sizes follow from these"
        for each in rates
        if not named <= each.timed
    ]
    return Table(head, rows, notes)


def _sum(seconds: Sequence[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None


def _hours(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds / 3600:,.2f}"
