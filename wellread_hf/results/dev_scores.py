"""Dev scores of finished scoreboards and of sweeps: one row a student, method, set, metric and setting."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError, StoreError, library_errors_as
from wellread_hf.metrics.average import average
from wellread_hf.results.dev_rows import DevScores, Mean, Result, Row
from wellread_hf.results.tables import RESULTS
from wellread_hf.results.trials import PLAN, Trial, best_points, read_trials
from wellread_hf.store.records import RECORD, StageRecord
from wellread_hf.students import METHOD_TITLES, METHODS, Student
from wellread_hf.tasks import GLUE_SETS

BOARD, SWEEP = "glue-", "sweep-"


def read_dev_scores(runs: Sequence[Path], tasks: Sequence[str]) -> DevScores:
    """Reads finished scoreboards, and the trials of sweeps, whether these are over or not.

    Args:
        runs: Folders of stages, in which every `glue-...` and `sweep-...` counts, or such folders.
        tasks: GLUE's tasks that are wanted.

    Raises:
        SettingsError: No folder is given.
        StoreError: A folder is missing or damaged, or no score is found.
    """
    found = DevScores()
    # A sweep comes before the scoreboards that it leaves: its rows know how many trials there were.
    for folder in sorted(_folders(runs), key=lambda folder: folder.name.startswith(BOARD)):
        with library_errors_as(
            StoreError,
            f"{folder}: expected scores as this version writes them",
            "move it away and run the recipe again",
        ):
            read = _of_board if folder.name.startswith(BOARD) else _of_sweep
            found.rows += read(folder, tasks, found.notes)
    if not found.rows:
        raise StoreError(
            f"expected dev scores of {', '.join(tasks)} in {', '.join(map(str, runs))}, found none"
            f"{''.join(f' ({note})' for note in found.notes)}; wellread glue and wellread sweep make them"
        )
    known: dict[object, Row] = {}
    firsts = {row: known.setdefault(row.identity, row) for row in found.rows}
    found.means = sorted(
        _means(firsts), key=lambda mean: (*_by_size_and_method(mean), mean.name, mean.source)
    )
    sets = list(GLUE_SETS)
    found.rows = sorted(
        dict.fromkeys(firsts.values()),
        key=lambda row: (
            *_by_size_and_method(row),
            sets.index(row.set),
            row.source,
            GLUE_SETS[row.set].metrics.index(row.metric),
        ),
    )
    return found


def _by_size_and_method(of: Result) -> tuple[int, int]:
    return of.student.parameters(), METHODS.index(of.method)


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
        # What has only just begun has no scores yet.
        boards, sweeps = folder.glob(f"{BOARD}*/{RECORD}"), folder.glob(f"{SWEEP}*/{PLAN}")
        found |= dict.fromkeys(sorted(file.parent for file in (*boards, *sweeps)))
    return list(found)


def _of_board(folder: Path, tasks: Sequence[str], notes: list[str]) -> list[Row]:
    StageRecord.read(folder)
    path, remedy = folder / RESULTS, f"delete {RECORD} there and run the recipe again"
    with library_errors_as(StoreError, f"{path}: expected the results of a scoreboard", remedy):
        results: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if results["split"] != "dev":
        raise StoreError(f"{folder}: expected scores on dev, got scores on {results['split']!r}")
    notes += _moved(folder, [task for task in results["from_mnli"] if task in tasks])
    rows = []
    for name, metrics in results["scores"].items():
        if GLUE_SETS[name].task not in tasks:
            continue
        trained = _trainings([folder.parent / run for run in results["runs"][GLUE_SETS[name].task]])
        rows += _rows(
            metrics,
            set=name,
            student=Student.parse(results["student"]),
            method=results["method"],
            seeds=tuple(map(int, results["seeds"])),
            trainings=tuple(trained.values()),
            source=folder.name,
            **_setting(trained),
        )
    return rows


def _rows(scores: Mapping[str, Iterable[float]], **shared: Any) -> list[Row]:
    """Makes a row of each metric's scores in percent; the rest they share."""
    return [
        Row(metric=metric, values=tuple(map(float, values)), **shared) for metric, values in scores.items()
    ]


def _trainings(predicted: Sequence[Path]) -> dict[Path, str]:
    """Finds what trained the models that predicted: digests by folder; none where a record is gone."""
    trainings: dict[Path, str] = {}
    for run in predicted:
        # Scoreboards are kept where the runs, which are large, were deleted.
        if not (run / RECORD).is_file():
            return {}
        record = StageRecord.read(run)
        (model,) = (
            name for name, digest in record.inputs.items() if f"stage:{digest}:." == record.settings["model"]
        )
        trainings[run.parent / model] = record.inputs[model]
    return trainings


def _setting(trainings: Iterable[Path]) -> dict[str, Any]:
    """Reads learning rate, batch size and LoRA's rank of the first training; None without its record."""
    # Seeds of one result share all other settings.
    first = next(iter(trainings), None)
    if first is None or not (first / RECORD).is_file():
        return dict.fromkeys(("learning_rate", "batch_size", "lora_rank"))
    return _tuned(StageRecord.read(first).settings)


def _tuned(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a row has of a training's settings."""
    optim = settings["tuning"]["optim"]
    return {
        "learning_rate": float(optim["learning_rate"]),
        "batch_size": int(optim["batch_size"]),
        "lora_rank": int(settings["lora"]["rank"]) if "lora" in settings else None,
    }


def _of_sweep(folder: Path, tasks: Sequence[str], notes: list[str]) -> list[Row]:
    trials = [trial for trial in read_trials(folder) if trial.task in tasks]
    seeds = sorted({trial.seed for trial in trials})
    # A sweep of days is looked at before it is over.
    over = (folder / RECORD).is_file()
    notes.append(
        f"{folder.name} {'is over' if over else 'is not over yet'}, {_counted(trials)}; selected by the "
        f"mean dev score over seeds {', '.join(map(str, seeds)) or '(none yet)'}"
    )
    best = best_points(trials, seeds)
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.student, trial.method, trial.task), []).append(trial)
    moved = {trial.task for trial in trials if _from_mnli(trial)}
    notes += _moved(folder, [task for task in tasks if task in moved])
    rows = []
    for (student, method, task), group in groups.items():
        point = best.get((student, method, task))
        if point is None:
            notes.append(
                f"{folder.name}, {student}, {METHOD_TITLES[method]}, {GLUE_SETS[task].title}: nothing "
                f"selected, since no point of the grid is done in all seeds ({_counted(group)})"
            )
            continue
        metrics = GLUE_SETS[task].metrics
        rows += _rows(
            {metric: [100 * trial.scores[metric] for trial in point.trials] for metric in metrics},
            set=task,
            student=Student.parse(student),
            method=method,
            seeds=tuple(seeds),
            trainings=tuple(trial.digest for trial in point.trials),
            trials=_states(group),
            source=folder.name,
            **_tuned(point.trials[0].settings),
        )
    return rows


def _from_mnli(trial: Trial) -> bool:
    """Whether a finished trial's folder names MNLI as its start, and one of our stages made the start."""
    named = f"-mnli-{trial.task}-seed" in trial.folder and trial.state == "done"
    return named and str(trial.settings["start"]["weights"]).startswith("stage:")


def _moved(folder: Path, moved: Sequence[str]) -> list[str]:
    titles = ", ".join(GLUE_SETS[task].title for task in moved)
    return [f"{folder.name}: {titles} started from the model of MNLI"] if moved else []


def _states(trials: Iterable[Trial]) -> tuple[int, int, int]:
    states = [trial.state for trial in trials]
    return states.count("done"), states.count("failed"), states.count("stopped")


def _counted(trials: Iterable[Trial]) -> str:
    return "trials {} done, {} failed, {} stopped".format(*_states(trials))


def _means(firsts: Mapping[Row, Row]) -> Iterable[Mean]:
    """Averages a folder's rows by student and method; not where another folder has these and more.

    A sweep that is over has the scores of its scoreboards, but for MNLI's mismatched set.

    Args:
        firsts: For each row the first one of the same runs, which may be itself.
    """
    groups: dict[tuple[Student, str, str], list[Row]] = {}
    for row in firsts:
        groups.setdefault((row.student, row.method, row.source), []).append(row)
    kept = {key: frozenset(firsts[row] for row in group) for key, group in groups.items()}
    means: dict[frozenset[Row], Mean] = {}
    for key, group in groups.items():
        if not any(kept[key] < other for other in kept.values()):
            means.setdefault(kept[key], _mean(group))
    return means.values()


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
        # One folder's runs all have the same, and some may have lost their record.
        lora_rank=next((row.lora_rank for row in rows if row.lora_rank is not None), None),
        name=averages[0].name("dev"),
        values=tuple(found.value for found in averages),
        seeds=rows[0].seeds,
        source=rows[0].source,
    )
