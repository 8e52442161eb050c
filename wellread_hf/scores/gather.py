"""From folders of scoreboards and sweeps to rows: one a student, method, set, metric and setting."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.evaluation.average import average
from wellread_hf.records import RECORD, StageRecord
from wellread_hf.reporting import RESULTS
from wellread_hf.scores.rows import Gathered, Mean, Row
from wellread_hf.students import METHOD_TITLES, METHODS, Student
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS
from wellread_hf.trials import TABLE, Trial, TrialTable, best_points

BOARD, SWEEP = "glue-", "sweep-"


def gather(runs: Sequence[Path], tasks: Sequence[str]) -> Gathered:
    """Reads finished scoreboards, and the tables of sweeps, whether these are over or not.

    Args:
        runs: Folders of stages, in which every `glue-...` and `sweep-...` counts, or such folders.
        tasks: GLUE's tasks that are wanted.

    Raises:
        SettingsError: No folder is given.
        StoreError: A folder is missing or damaged, or no score is found.
    """
    gathered = Gathered()
    # A sweep comes before the scoreboards that it leaves: its rows know how many trials there were.
    for folder in sorted(_folders(runs), key=lambda folder: folder.name.startswith(BOARD)):
        try:
            read = _of_board if folder.name.startswith(BOARD) else _of_sweep
            rows = read(folder, tasks, gathered)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise StoreError(
                f"{folder}: expected scores as this version writes them, got something else "
                f"({type(error).__name__}: {error}); move it away and run the recipe again"
            ) from error
        gathered.rows += rows
    if not gathered.rows:
        raise StoreError(
            f"expected dev scores of {', '.join(tasks)} in {', '.join(map(str, runs))}, found none"
            f"{''.join(f' ({note})' for note in gathered.notes)}; recipes/glue.py and `wellread sweep` make "
            "them"
        )
    gathered.means = _means(gathered.rows)
    sets = list(GLUE_SETS)
    gathered.rows = sorted(
        {row.identity: row for row in reversed(gathered.rows)}.values(),
        key=lambda row: (
            row.student.parameters(),
            METHODS.index(row.method),
            sets.index(row.set),
            row.source,
            GLUE_SETS[row.set].metrics.index(row.metric),
        ),
    )
    return gathered


def _folders(runs: Sequence[Path]) -> list[Path]:
    if not runs:
        raise SettingsError("expected a folder of runs, or of a scoreboard or sweep in it, got none")
    found: dict[Path, None] = {}
    for run in runs:
        folder = run.resolve()
        if not folder.is_dir():
            raise StoreError(f"expected a folder of runs, and there is no folder {run}; check the path")
        if folder.name.startswith((BOARD, SWEEP)):
            found[folder] = None
            continue
        for inside in sorted(folder.iterdir()):
            # What has only just begun has no scores yet.
            there = {BOARD: inside / RECORD, SWEEP: inside / TABLE}
            if any(inside.name.startswith(kind) and file.is_file() for kind, file in there.items()):
                found[inside] = None
    return list(found)


def _of_board(folder: Path, tasks: Sequence[str], gathered: Gathered) -> list[Row]:
    StageRecord.read(folder)
    try:
        results: Mapping[str, Any] = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder / RESULTS} cannot be read ({error}); delete {RECORD} there and run the recipe again"
        ) from error
    if results["split"] != "dev":
        raise StoreError(f"{folder}: expected scores on dev, got scores on {results['split']!r}")
    moved = [GLUE_SETS[task].title for task in results["from_mnli"] if task in tasks]
    if moved:
        gathered.notes.append(f"{folder.name}: {', '.join(moved)} started from the model of MNLI")
    rows = []
    for name, metrics in results["scores"].items():
        if GLUE_SETS[name].task not in tasks:
            continue
        rate, batch = _setting(folder.parent / results["runs"][GLUE_SETS[name].task][0])
        for metric, values in metrics.items():
            row = Row(
                student=Student.parse(results["student"]),
                method=results["method"],
                set=name,
                metric=metric,
                values=tuple(map(float, values)),
                seeds=tuple(map(int, results["seeds"])),
                learning_rate=rate,
                batch_size=batch,
                source=folder.name,
            )
            rows.append(row)
    return rows


def _setting(predicted: Path) -> tuple[float, int] | tuple[None, None]:
    """Reads learning rate and batch size of the training that predicted; None where its record is gone."""
    if not (predicted / RECORD).is_file():
        return None, None
    record = StageRecord.read(predicted)
    (model,) = (
        name for name, digest in record.inputs.items() if f"stage:{digest}:." == record.settings["model"]
    )
    if not (predicted.parent / model / RECORD).is_file():
        return None, None
    optim = StageRecord.read(predicted.parent / model).settings["tuning"]["optim"]
    return float(optim["learning_rate"]), int(optim["batch_size"])


def _of_sweep(folder: Path, tasks: Sequence[str], gathered: Gathered) -> list[Row]:
    trials = [trial for trial in TrialTable.read(folder / TABLE) if trial.task in tasks]
    for trial in trials:
        if trial.task not in GLUE_TASKS:
            raise StoreError(f"{folder / TABLE}: expected trials of GLUE's tasks, got {trial.task!r}")
    seeds = sorted({trial.seed for trial in trials})
    over = (folder / RECORD).is_file()
    gathered.notes.append(
        f"{folder.name} {'is over' if over else 'is not over yet'}, {_counted(trials)}; selected by the "
        f"mean dev score over seeds {', '.join(map(str, seeds)) or '(none yet)'}"
    )
    best = best_points(trials, seeds)
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.student, trial.method, trial.task), []).append(trial)
    rows = []
    for key, group in groups.items():
        if key not in best:
            student, method, task = key
            gathered.notes.append(
                f"{folder.name}, {student}, {METHOD_TITLES[method]}, {GLUE_SETS[task].title}: nothing "
                f"selected, since no point of the grid is done in all seeds ({_counted(group)})"
            )
            continue
        point = best[key]
        for metric in GLUE_SETS[point.task].metrics:
            row = Row(
                student=Student.parse(point.student),
                method=point.method,
                set=point.task,
                metric=metric,
                values=tuple(100 * trial.scores[metric] for trial in point.trials),
                seeds=tuple(seeds),
                learning_rate=point.learning_rate,
                batch_size=point.batch_size,
                trials=_states(group),
                source=folder.name,
            )
            rows.append(row)
    return rows


def _states(trials: Iterable[Trial]) -> tuple[int, int, int]:
    states = [trial.state for trial in trials]
    return states.count("done"), states.count("failed"), states.count("stopped")


def _counted(trials: Iterable[Trial]) -> str:
    return "trials {} done, {} failed, {} stopped".format(*_states(trials))


def _means(rows: Sequence[Row]) -> list[Mean]:
    """Averages what one folder says of a student and method; not where another folder says more of the same.

    A sweep that is over knows the scores of its scoreboards, but for MNLI's mismatched set.
    """
    groups: dict[tuple[Student, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.student, row.method, row.source), []).append(row)
    said = {key: {row.identity for row in group} for key, group in groups.items()}
    means: dict[object, Mean] = {}
    for key, group in groups.items():
        if not any(said[key] < other for other in said.values()):
            mean = _mean(group)
            means.setdefault(mean.identity, mean)
    return sorted(
        means.values(),
        key=lambda mean: (
            mean.student.parameters(),
            METHODS.index(mean.method),
            mean.name,
            mean.source,
        ),
    )


def _mean(rows: Sequence[Row]) -> Mean:
    """Averages one folder's rows, seed by seed."""
    averages = []
    for number in range(len(rows[0].seeds)):
        scores: dict[str, dict[str, float]] = {}
        for row in rows:
            scores.setdefault(row.set, {})[row.metric] = row.values[number]
        averages.append(average(scores))
    return Mean(
        student=rows[0].student,
        method=rows[0].method,
        name=averages[0].name("dev"),
        values=tuple(found.value for found in averages),
        seeds=rows[0].seeds,
        source=rows[0].source,
    )
