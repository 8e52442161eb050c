"""Points of a sweep's grid: trials grouped over their seeds, and the choice of the best on dev."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from wellread_hf.results.trials.table import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a sweep's grid: trials that differ in their seeds alone.

    Attributes:
        student: The student, e.g. `bert-2-128`.
        task: The task, e.g. `sst2`.
        method: One of `students.METHODS`.
        learning_rate: Peak learning rate.
        batch_size: Rows a step.
        trials: One a seed, by seed, whatever became of them.
    """

    student: str
    task: str
    method: str
    learning_rate: float
    batch_size: int
    trials: tuple[Trial, ...]

    @property
    def scores(self) -> tuple[float, ...]:
        """Dev scores of the trials that are done, 0 to 1, by seed."""
        return tuple(
            trial.score for trial in self.trials if trial.state == "done" and trial.score is not None
        )

    @property
    def mean(self) -> float:
        """Mean of `scores`; `ValueError` where no trial is done."""
        return mean(self.scores)

    @property
    def spread(self) -> float | None:
        """Standard deviation (n - 1) of `scores`; None for fewer than two."""
        return stdev(self.scores) if len(self.scores) > 1 else None


def points(trials: Iterable[Trial]) -> list[Point]:
    """Groups trials over their seeds, in order of first appearance; of one seed the last trial counts."""
    groups: dict[tuple[str, str, str, float, int], dict[int, Trial]] = {}
    for trial in trials:
        key = (trial.student, trial.task, trial.method, trial.learning_rate, trial.batch_size)
        groups.setdefault(key, {})[trial.seed] = trial
    return [
        Point(
            student=student,
            task=task,
            method=method,
            learning_rate=learning_rate,
            batch_size=batch_size,
            trials=tuple(by_seed[seed] for seed in sorted(by_seed)),
        )
        for (student, task, method, learning_rate, batch_size), by_seed in groups.items()
    ]


def best_points(trials: Iterable[Trial], seeds: Sequence[int]) -> dict[tuple[str, str, str], Point]:
    """Chooses by the mean dev score over seeds.

    Args:
        trials: Rows of one sweep.
        seeds: Seeds that count; a point is chosen only if it is done in every one of them.

    Returns:
        By student, method and task the best point, with the trials of these seeds alone. Of equal
        ones the lowest learning rate is taken, then the smallest batch.
    """
    best: dict[tuple[str, str, str], Point] = {}
    for point in points(trial for trial in trials if trial.seed in seeds):
        if not seeds or len(point.scores) < len(set(seeds)):
            continue
        key = (point.student, point.method, point.task)
        if key not in best or _rank(point) < _rank(best[key]):
            best[key] = point
    return best


def _rank(point: Point) -> tuple[float, float, int]:
    return (-point.mean, point.learning_rate, point.batch_size)
