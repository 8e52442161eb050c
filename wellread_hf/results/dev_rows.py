"""What a dev score is: a student, a method, a set, a metric, and one value a seed."""

from dataclasses import dataclass, field, replace
from math import isfinite

from wellread_hf.students import METHOD_TITLES, METHODS, Student
from wellread_hf.tasks import GLUE_SETS

# Decimals of a percentage to which one result is the same in a sweep and on its scoreboard: the one scores
# with the trainer, the other again from stored predictions.
_SAME = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Scores of one student by one method over seeds."""

    student: Student
    method: str  # one of `METHODS`
    lora_rank: int | None = None  # None where all weights were trained, or the training's record is gone
    values: tuple[float, ...]  # percent, one a seed
    seeds: tuple[int, ...]
    source: str  # name of the folder that it comes from

    @property
    def title(self) -> str:
        """How it was trained, e.g. `PF` or `PF, LoRA 8`."""
        lora = "" if self.lora_rank is None else f", LoRA {self.lora_rank}"
        return METHOD_TITLES[self.method] + lora


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Result):
    """Dev scores of one metric."""

    set: str  # one of `GLUE_SETS`
    metric: str  # one of the set's
    learning_rate: float | None  # None where the training's record is gone
    batch_size: int | None
    trainings: tuple[str, ...] = ()  # digests of the training stages, one a seed; empty: not known
    # In a sweep, how many trials of this student, method and task are done, failed, stopped.
    trials: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS or self.metric not in GLUE_SETS[self.set].metrics:
            raise ValueError(f"{self.metric} of {self.set} by the method {self.method!r}")
        if len(self.values) != len(self.seeds) or not all(map(isfinite, self.values)):
            raise ValueError(f"scores {self.values} of seeds {self.seeds}")

    @property
    def identity(self) -> object:
        """What two rows of the same runs share."""
        values = tuple(round(value, _SAME) for value in self.values)
        return replace(self, values=values, trials=None, source="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(Result):
    """An average over tasks; `name` is what it may be called."""

    name: str


@dataclass(slots=True)
class DevScores:
    """All that was found, by student, method, set and metric."""

    rows: list[Row] = field(default_factory=list)  # each result once
    means: list[Mean] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # on sweeps: their trials, and what has no selection yet
