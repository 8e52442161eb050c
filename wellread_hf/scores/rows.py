"""What is shown: dev scores of one metric, averages over tasks, and notes on them."""

from dataclasses import dataclass, field, replace
from math import isfinite

from wellread_hf.students import METHODS, Student
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
    trials: tuple[int, int, int] | None = None
    source: str

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.metric not in GLUE_SETS[self.set].metrics:
            raise ValueError(f"{self.metric} of {self.set} by the method {self.method!r}")
        if len(self.values) != len(self.seeds) or not all(map(isfinite, self.values)):
            raise ValueError(f"scores {self.values} of seeds {self.seeds}")

    @property
    def identity(self) -> object:
        """What two rows share that tell of the same runs: all but where they were found."""
        values = tuple(round(value, _SAME) for value in self.values)
        return replace(self, values=values, trials=None, source="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """An average over tasks of one student and method.

    Attributes:
        student: Which of the 24.
        method: One of `METHODS`.
        name: What the average may be called.
        values: Percent, one a seed.
        seeds: The seeds.
        source: Name of the folder that it comes from.
    """

    student: Student
    method: str
    name: str
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    source: str

    @property
    def identity(self) -> object:
        """As a row's."""
        return replace(self, values=tuple(round(value, _SAME) for value in self.values), source="")


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
