"""The average over GLUE's tasks, and of seeds.

GLUE's leaderboard takes the mean of nine tasks, WNLI among them: a task with two metrics counts by their
mean, MNLI by the mean of its matched and mismatched sets, and the diagnostic set AX not at all (Wang et al.
2019; checked against the four rows of the release's table).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Literal

from wellread_hf.errors import DataError, UnknownNameError, nearest
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS, sets_of

Split = Literal["dev", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """A mean of scores over tasks, which knows what it is the mean of."""

    value: float  # in the unit of the scores
    sets: tuple[str, ...]  # names among `GLUE_SETS` that went in

    @property
    def complete(self) -> bool:
        """Whether it is of all that GLUE averages."""
        return set(self.sets) == {name for task in GLUE_TASKS for name in _averaged(task)}

    def name(self, split: Split) -> str:
        """What it may be called: a GLUE score if it is of all tasks, else the mean of the sets in it."""
        return ("GLUE score" if self.complete else self.listing) + (", dev" if split == "dev" else "")

    @property
    def listing(self) -> str:
        """Names the sets in it."""
        tasks = {GLUE_SETS[name].task for name in self.sets}
        titles = ", ".join(GLUE_SETS[name].title for name in self.sets)
        return f"mean of {titles} ({len(tasks)} of GLUE's {len(GLUE_TASKS)} tasks)"


def average(scores: Mapping[str, Mapping[str, float]]) -> Average:
    """Averages scores as GLUE does, over the tasks that are there.

    Args:
        scores: Each set's metrics by name; AX may be there and does not count.

    Raises:
        UnknownNameError: A set is none of GLUE's.
        DataError: A set lacks a metric of its own, or nothing is there to average.
    """
    for name in scores:
        if name not in GLUE_SETS:
            raise UnknownNameError(
                f"expected scores of {', '.join(GLUE_SETS)}, got {name!r}; the nearest is "
                f"{nearest(name, GLUE_SETS, 1)}"
            )
    # Sets are averaged within their task first: MNLI's two count as one of the nine.
    tasks = {task: [name for name in _averaged(task) if name in scores] for task in GLUE_TASKS}
    values = [mean(set_score(name, scores[name]) for name in names) for names in tasks.values() if names]
    if not values:
        raise DataError("expected scores of at least one of GLUE's tasks to average, got none")
    averaged = {name for names in tasks.values() for name in names}
    return Average(value=mean(values), sets=tuple(name for name in GLUE_SETS if name in averaged))


def set_score(name: str, scores: Mapping[str, float]) -> float:
    """Returns the one number that a set counts by: the mean of its metrics.

    Raises:
        DataError: One of them is missing.
    """
    metrics = GLUE_SETS[name].metrics
    if not set(metrics) <= set(scores):
        raise DataError(
            f"{name}: expected scores of {' and '.join(metrics)}, got {', '.join(scores) or 'none'}"
        )
    return mean(scores[metric] for metric in metrics)


def mean_and_spread(values: Sequence[float]) -> str:
    """Writes `mean ± standard deviation` (n - 1) with one decimal; the plain number for one value."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def _averaged(task: str) -> list[str]:
    """Names the sets of a task that GLUE averages: all but AX, which has no labelled rows anywhere."""
    return [name for name, rows in sets_of(task).items() if rows.dev is not None]
