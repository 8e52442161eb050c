"""What a person sees of a sweep: the bar, the table of chosen points, and what is left to do."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from math import prod
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from wellread_hf.experiments.sweep.grid import Grid, PlannedTrial
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.results.tables import Table
from wellread_hf.results.trials import Point, Trial
from wellread_hf.store.progress import bar
from wellread_hf.students import Student
from wellread_hf.tasks import GLUE_SETS


class Account:
    """One bar over a sweep's trials, with the best dev score of a run so far, task by task."""

    def __init__(self, total: int, over: Collection[Trial]) -> None:
        self._bar = bar("sweep", "trials", total, initial=len(over), delay=0)
        self._best: dict[str, float] = {}
        self._failed = 0
        for trial in over:
            self._look_at(trial)
        self._show()

    def ended(self, trial: Trial) -> None:
        """Counts a trial that has just ended."""
        self._failed += trial.state == "failed"
        self._look_at(trial)
        self._bar.update()
        self._show()

    def _look_at(self, trial: Trial) -> None:
        if trial.score is not None and trial.state != "failed":
            self._best[trial.task] = max(trial.score, self._best.get(trial.task, trial.score))

    def _show(self) -> None:
        best = [f"{GLUE_SETS[task].title} {100 * score:.1f}" for task, score in self._best.items()]
        failed = [f"{self._failed} failed"] if self._failed else []
        if best or failed:
            told = [f"best run on dev: {', '.join(best)}"] if best else []
            self._bar.set_postfix_str("; ".join(told + failed))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def best_table(
    grid: Grid,
    chosen: Mapping[tuple[str, str, str], Point],
    trials: Collection[Trial],
    failed: Collection[PlannedTrial],
) -> Table:
    """Tables the chosen points, a row for each student, method and task of the grid."""
    states: dict[tuple[str, str, str], Counter[str]] = {}
    for trial in trials:
        states.setdefault((trial.student, trial.method, trial.task), Counter())[str(trial.state)] += 1
    for each in failed:
        states.setdefault((each.student.name, each.method, each.task), Counter())["failed"] += 1
    head = ["student", "method", "task", "metric", "dev (%)", "learning rate", "batch", "trials"]
    head += ["stopped", "failed"]
    rows = []
    groups = Counter((trial.student.name, trial.method, trial.task) for trial in grid.trials)
    for key, planned in groups.items():
        point, counted = chosen.get(key), states.get(key, Counter())
        cells = [key[0], key[1], GLUE_SETS[key[2]].title, GLUE_SETS[key[2]].metrics[0]]
        if point is None:
            cells += ["none with all its seeds", "", ""]
        else:
            score = mean_and_spread([100 * score for score in point.scores])
            cells += [score, f"{point.learning_rate:g}", str(point.batch_size)]
        cells += [f"{counted['done']} of {planned}", str(counted["stopped"]), str(counted["failed"])]
        rows.append(cells)
    seeds = grid.settings.seeds
    note = f"chosen on dev by the mean over {seeds} seeds" if seeds > 1 else "chosen on dev, one seed"
    return Table(head, rows, [note])


def show_best(folder: Path, table: Table, boards: Iterable[str]) -> None:
    """Prints a finished sweep's table and where all lies."""
    console = table.show(folder.name)
    for board in boards:
        line = f"submission: wellread submission {folder.parent / board} -o glue.zip"
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"scores: wellread scores {folder}", highlight=False, soft_wrap=True)


def show_plan(grid: Grid, over: Mapping[str, Trial]) -> None:
    """Prints how many trials there are, what is done, and how long the rest will take."""
    s = grid.settings
    tasks = list(dict.fromkeys(trial.task for trial in grid.trials))
    sizes = {
        "students": len(s.students),
        "tasks": len(tasks),
        "methods": len(s.methods),
        "learning rates": len(s.learning_rates),
        "batch sizes": len(s.batch_sizes),
        "seeds": s.seeds,
    }
    assert prod(sizes.values()) == len(grid.trials)
    stopped = {digest for digest, trial in over.items() if trial.state == "stopped"}
    states = Counter(
        "stopped early" if trial.stage.digest in stopped else trial.stage.state for trial in grid.trials
    )
    left = [
        trial for trial in grid.trials if trial.stage.state != "done" and trial.stage.digest not in stopped
    ]
    console = Console()
    lines = [
        "",
        f"trials: {len(grid.trials):,} ({' x '.join(f'{name} {count}' for name, count in sizes.items())})",
        "of these " + ", ".join(f"{name}: {count:,}" for name, count in states.items()),
        f"time: {_estimate(grid, left)}",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _estimate(grid: Grid, left: Collection[PlannedTrial]) -> str:
    """Says how long the trials that are left will take, one after another, by those that were measured."""
    if not left:
        return "nothing is left to do"
    measured = [(trial, _seconds(trial)) for trial in grid.trials if trial.stage.state == "done"]
    if not measured:
        return (
            "not known until a trial has been measured; start the sweep, end it after its first trial "
            "(Ctrl-C), and ask again: what is done is kept"
        )
    rows = grid.checks.record.outcome["rows"] if grid.checks.state == "done" else {}
    paces = _paces(measured, rows)
    total = sum(
        _work(trial, rows) * next(paces[key] for key in _likeness(trial) if key in paces) for trial in left
    )
    others = sum(_likeness(trial)[1] not in paces for trial in left)
    scaled = f"; {others:,} of them scaled from other students or tasks by size and rows" if others else ""
    return (
        f"about {_duration(total)} for the {len(left):,} trials left, one after another, going by "
        f"{len(measured):,} measured ones{scaled}; without pre-training and labelling"
    )


def _seconds(trial: PlannedTrial) -> float:
    seconds: float = trial.stage.record.outcome["seconds_training"]
    return seconds


def _likeness(trial: PlannedTrial) -> list[tuple[Any, ...]]:
    """Names the groups whose measured trials tell of this one, the nearest first."""
    kind = (trial.student, trial.task, trial.method)
    return [(*kind, trial.batch_size), kind, (trial.student,), ()]


def _paces(
    measured: Collection[tuple[PlannedTrial, float]], rows: Mapping[str, Any]
) -> dict[tuple[Any, ...], float]:
    """Returns the median seconds a unit of work of each group."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for trial, seconds in measured:
        for key in _likeness(trial):
            groups.setdefault(key, []).append(seconds / _work(trial, rows))
    return {key: median(paces) for key, paces in groups.items()}


def _work(trial: PlannedTrial, rows: Mapping[str, Any]) -> float:
    """Multiplications of a trial, in units of no matter."""
    return _layers(trial.student) * float(rows.get(f"{trial.task} train", 1))


def _layers(student: Student) -> float:
    return student.layers * student.hidden**2


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
