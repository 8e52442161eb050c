"""Trials of a sweep: the plan, how each one ended, and the choice of the best points on dev.

A sweep's folder holds its plan, and a small file for each trial that failed or was stopped early. A trial
that is done needs none: the record of its training stage has the scores. So a kill at any moment loses
nothing, and a reader beside a writer sees whole files. A sweep that is over writes the plan once more, with
how each trial ended, since the folders of trials are large and may be deleted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from wellread_hf.errors import NotFiniteError, StoreError, library_errors_as
from wellread_hf.store.records import RECORD, StageRecord, write_atomically
from wellread_hf.tasks import GLUE_TASKS

PLAN = "trials.json"
# Folder of the files of trials that failed or were stopped.
_UNFINISHED = "trials"
_ENDED = ("state", "scores", "seconds", "error")

State = Literal["done", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training of a sweep: its place in the grid, and how it ended.

    Raises:
        NotFiniteError: A score is NaN or infinite, or it is done and has none.
    """

    digest: str  # of the training stage
    folder: str  # the stage's name below the folder of all stages
    student: str  # e.g. bert-2-128
    task: str  # one of GLUE's, e.g. sst2
    method: str  # one of `students.METHODS`
    learning_rate: float
    batch_size: int
    seed: int
    state: State | None = None  # stopped: early, as a poor one; None: it has not ended
    scores: Mapping[str, float] = field(default_factory=dict)  # on dev, 0 to 1 (correlations from -1)
    seconds: float = 0.0  # wall time of the training
    error: str | None = None  # why it failed, in one line
    settings: Mapping[str, Any] = field(default_factory=dict)  # the training's, once it is done

    def __post_init__(self) -> None:
        missing = self.state == "done" and self.score is None
        if missing or not all(map(isfinite, self.scores.values())):
            raise NotFiniteError(
                f"{self.folder}: expected a {self.state} trial's dev score to be a finite number, got "
                f"{self.score} of {self.metric} among {dict(self.scores)}; look at its log.json, and lower "
                "the learning rate if the loss ran away"
            )

    @property
    def metric(self) -> str:
        """The task's first metric, which selects."""
        return GLUE_TASKS[self.task].metrics[0]

    @property
    def score(self) -> float | None:
        """Its dev score; None where there is none."""
        return self.scores.get(self.metric)


def write_plan(sweep: Path, trials: Iterable[Trial]) -> None:
    """Writes the plan into a sweep's folder; it follows from the grid, so a damaged one is replaced."""
    lines = ",\n".join(json.dumps(asdict(trial)) for trial in trials)
    write_atomically(sweep / PLAN, f"[\n{lines}\n]\n")


def write_trial(sweep: Path, trial: Trial) -> None:
    """Records how a trial ended: a file for one that failed or was stopped, none for one that is done."""
    path = _unfinished(sweep, trial)
    if trial.state == "done":
        # One of an earlier try.
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(exist_ok=True)
    ended = asdict(trial)
    write_atomically(path, json.dumps({name: ended[name] for name in _ENDED}, indent=1))


def read_trials(sweep: Path) -> list[Trial]:
    """Reads the trials of a sweep that have ended, in the plan's order; also while the sweep runs.

    Raises:
        StoreError: The folder has no plan, or a file is damaged.
    """
    plan = sweep / PLAN
    if not plan.is_file():
        raise StoreError(f"expected the trials of a sweep, found no {plan}; wellread sweep writes it")
    remedy = "run the sweep again: it writes the plan anew, and finished trials are not repeated"
    with library_errors_as(StoreError, f"{plan}: expected the trials of a sweep", remedy):
        planned = [Trial(**each) for each in json.loads(plan.read_text())]
    return ended_trials(sweep, planned)


def ended_trials(sweep: Path, planned: Iterable[Trial]) -> list[Trial]:
    """Returns those of planned trials that have ended, with how they did.

    Raises:
        StoreError: A trial's file or record is damaged.
    """
    # The record counts more than a file of an earlier try, or of a stop that another sweep did not make.
    found = (_done(sweep, trial) or _failed_or_stopped(sweep, trial) or trial for trial in planned)
    return [trial for trial in found if trial.state is not None]


def _done(sweep: Path, trial: Trial) -> Trial | None:
    folder = sweep.parent / trial.folder
    if not (folder / RECORD).is_file():
        return None
    record = StageRecord.read(folder)
    remedy = f"delete {RECORD} there and run the sweep again"
    with library_errors_as(StoreError, f"{folder}: expected the record of a trial", remedy):
        return replace(
            trial,
            state="done",
            scores=record.outcome["validation"],
            seconds=record.outcome["seconds_training"],
            settings=record.settings,
        )


def _failed_or_stopped(sweep: Path, trial: Trial) -> Trial | None:
    path = _unfinished(sweep, trial)
    if not path.is_file():
        return None
    with library_errors_as(
        StoreError, f"{path}: expected how a trial ended", "delete the file and run the sweep again"
    ):
        ended = json.loads(path.read_text())
        return replace(trial, **{name: ended[name] for name in _ENDED})


def _unfinished(sweep: Path, trial: Trial) -> Path:
    return sweep / _UNFINISHED / f"{trial.folder}.json"


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a sweep's grid: finished trials that differ in their seeds alone, by seed."""

    trials: tuple[Trial, ...]

    @property
    def learning_rate(self) -> float:
        """Peak learning rate of all of them."""
        return self.trials[0].learning_rate

    @property
    def batch_size(self) -> int:
        """Rows a step of all of them."""
        return self.trials[0].batch_size

    @property
    def scores(self) -> tuple[float, ...]:
        """Their dev scores, 0 to 1."""
        return tuple(trial.score for trial in self.trials if trial.score is not None)


def best_points(trials: Iterable[Trial], seeds: Sequence[int]) -> dict[tuple[str, str, str], Point]:
    """Chooses by the mean dev score over seeds.

    Args:
        trials: Trials of one sweep, each digest once.
        seeds: Seeds that count; a point is chosen only if it is done in every one of them.

    Returns:
        By student, method and task the best point, with the trials of these seeds alone. Of equal
        ones the lowest learning rate is taken, then the smallest batch.
    """
    groups: dict[tuple[str, str, str], dict[tuple[float, int], list[Trial]]] = {}
    for trial in trials:
        if trial.state == "done" and trial.seed in seeds:
            points = groups.setdefault((trial.student, trial.method, trial.task), {})
            points.setdefault((trial.learning_rate, trial.batch_size), []).append(trial)
    best = {}
    for key, points in groups.items():
        whole = [
            Point(tuple(sorted(point, key=lambda trial: trial.seed)))
            for point in points.values()
            if len(point) == len(set(seeds))
        ]
        if whole:
            # Ties, frequent on small dev sets, must not depend on the order of the grid.
            best[key] = min(whole, key=lambda p: (-mean(p.scores), p.learning_rate, p.batch_size))
    return best
