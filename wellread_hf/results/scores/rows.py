"""What is shown: dev scores of one metric, averages over tasks, and notes on them."""

from dataclasses import dataclass, field, replace
from math import isfinite

from wellread_hf.students import METHOD_TITLES, METHODS, Student
from wellread_hf.tasks import GLUE_SETS

# Decimals of a percentage to which one result is the same in a table of trials and on a scoreboard.
_SAME = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Dev scores of one metric over seeds.

    Attributes:
        student: Which of the 24.
        method: One of `METHODS`.
        set: Name among `GLUE_SETS`.
        metric: One of the set's metrics.
        values: Percent, one a seed.
        seeds: The seeds.
        learning_rate: Peak learning rate; None where the training's record is gone.
        batch_size: Rows a step; None likewise.
        lora_rank: Rank of LoRA; None where all weights were trained, or likewise.
        trainings: Digests of the training stages, one a seed; empty where they are not known.
        trials: In a sweep, how many trials of this student, method and task are done, failed, stopped.
        source: Name of the folder that it comes from.
    """

    student: Student
    method: str
    set: str
    metric: str
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    learning_rate: float | None
    batch_size: int | None
    lora_rank: int | None = None
    trainings: tuple[str, ...] = ()
    trials: tuple[int, int, int] | None = None
    source: str

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.metric not in GLUE_SETS[self.set].metrics:
            raise ValueError(f"{self.metric} of {self.set} by the method {self.method!r}")
        if len(self.values) != len(self.seeds) or not all(map(isfinite, self.values)):
            raise ValueError(f"scores {self.values} of seeds {self.seeds}")

    @property
    def identity(self) -> object:
        """What two rows share that tell of the same runs, whose digests agree where both are known."""
        values = tuple(round(value, _SAME) for value in self.values)
        return replace(self, values=values, trainings=(), trials=None, source="")

    @property
    def title(self) -> str:
        """How it was trained, e.g. `PF` or `PF, LoRA 8`."""
        return _title(self.method, self.lora_rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """An average over tasks of one student and method.

    Attributes:
        student: Which of the 24.
        method: One of `METHODS`.
        lora_rank: As a row's.
        name: What the average may be called.
        values: Percent, one a seed.
        seeds: The seeds.
        source: Name of the folder that it comes from.
    """

    student: Student
    method: str
    lora_rank: int | None = None
    name: str
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    source: str

    @property
    def title(self) -> str:
        """As a row's."""
        return _title(self.method, self.lora_rank)


@dataclass(slots=True)
class Gathered:
    """All that was found.

    Attributes:
        rows: By student, method, set and metric; each result once.
        means: By student and method.
        notes: Sentences on sweeps: their trials, and what has no selection yet.
    """

    rows: list[Row] = field(default_factory=list)
    means: list[Mean] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _title(method: str, lora_rank: int | None) -> str:
    return METHOD_TITLES[method] + ("" if lora_rank is None else f", LoRA {lora_rank}")
