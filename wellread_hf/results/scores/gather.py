"""From folders of scoreboards and sweeps to rows: one a student, method, set, metric and setting."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError, StoreError, library_errors_as
from wellread_hf.metrics.average import average
from wellread_hf.results.comparison import RESULTS
from wellread_hf.results.scores.rows import Gathered, Mean, Row
from wellread_hf.results.trials import PLAN, Trial, best_points, read_trials
from wellread_hf.store.records import RECORD, StageRecord
from wellread_hf.students import METHOD_TITLES, METHODS, Student
from wellread_hf.tasks import GLUE_SETS

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
        with library_errors_as(
            StoreError,
            f"{folder}: expected scores as this version writes them, got something else",
            "move it away and run the recipe again",
        ):
            read = _of_board if folder.name.startswith(BOARD) else _of_sweep
            gathered.rows += read(folder, tasks, gathered)
    if not gathered.rows:
        raise StoreError(
            f"expected dev scores of {', '.join(tasks)} in {', '.join(map(str, runs))}, found none"
            f"{''.join(f' ({note})' for note in gathered.notes)}; recipes/glue.py and `wellread sweep` make "
            "them"
        )
    results = _results(gathered.rows)
    gathered.means = _means(results)
    sets = list(GLUE_SETS)
    gathered.rows = sorted(
        dict.fromkeys(results.values()),
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
            there = {BOARD: inside / RECORD, SWEEP: inside / PLAN}
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
    _note_moved(folder, [task for task in results["from_mnli"] if task in tasks], gathered)
    rows = []
    for name, metrics in results["scores"].items():
        if GLUE_SETS[name].task not in tasks:
            continue
        runs = [folder.parent / run for run in results["runs"][GLUE_SETS[name].task]]
        trained = _trainings(runs)
        rate, batch, rank = _setting(trained)
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
                lora_rank=rank,
                trainings=tuple(trained.values()),
                source=folder.name,
            )
            rows.append(row)
    return rows


def _trainings(predicted: Sequence[Path]) -> dict[Path, str]:
    """Finds what trained the models that predicted: digests by folder; none where a record is gone."""
    trainings: dict[Path, str] = {}
    for run in predicted:
        if not (run / RECORD).is_file():
            return {}
        record = StageRecord.read(run)
        (model,) = (
            name for name, digest in record.inputs.items() if f"stage:{digest}:." == record.settings["model"]
        )
        trainings[run.parent / model] = record.inputs[model]
    return trainings


def _setting(trainings: Iterable[Path]) -> tuple[float, int, int | None] | tuple[None, None, None]:
    """Reads learning rate, batch size and LoRA's rank of the first training; None without its record."""
    first = next(iter(trainings), None)
    if first is None or not (first / RECORD).is_file():
        return None, None, None
    settings = StageRecord.read(first).settings
    optim = settings["tuning"]["optim"]
    return float(optim["learning_rate"]), int(optim["batch_size"]), _lora_rank(settings)


def _lora_rank(settings: Mapping[str, Any]) -> int | None:
    return int(settings["lora"]["rank"]) if "lora" in settings else None


def _of_sweep(folder: Path, tasks: Sequence[str], gathered: Gathered) -> list[Row]:
    trials = [trial for trial in read_trials(folder) if trial.task in tasks]
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
    moved = {trial.task for trial in trials if _from_mnli(trial)}
    _note_moved(folder, [task for task in tasks if task in moved], gathered)
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
                lora_rank=_lora_rank(point.trials[0].settings),
                trainings=tuple(trial.digest for trial in point.trials),
                trials=_states(group),
                source=folder.name,
            )
            rows.append(row)
    return rows


def _from_mnli(trial: Trial) -> bool:
    """Whether a finished trial's folder names MNLI as its start, and the start is a stage of ours."""
    named = f"-mnli-{trial.task}-seed" in trial.folder and trial.state == "done"
    return named and str(trial.settings["start"]["weights"]).startswith("stage:")


def _note_moved(folder: Path, moved: Sequence[str], gathered: Gathered) -> None:
    if moved:
        titles = ", ".join(GLUE_SETS[task].title for task in moved)
        gathered.notes.append(f"{folder.name}: {titles} started from the model of MNLI")


def _states(trials: Iterable[Trial]) -> tuple[int, int, int]:
    states = [trial.state for trial in trials]
    return states.count("done"), states.count("failed"), states.count("stopped")


def _counted(trials: Iterable[Trial]) -> str:
    return "trials {} done, {} failed, {} stopped".format(*_states(trials))


def _results(rows: Iterable[Row]) -> dict[Row, Row]:
    """Finds for each row the first that tells of the same runs, itself if it is that."""
    firsts: dict[object, list[Row]] = {}
    found = {}
    # Those of known digests come first: one of unknown ones is the same as whichever looks like it.
    for row in sorted(rows, key=lambda row: not row.trainings):
        alike = firsts.setdefault(row.identity, [])
        same = (other for other in alike if not row.trainings or other.trainings == row.trainings)
        found[row] = next(same, row)
        if found[row] is row:
            alike.append(row)
    return found


def _means(results: Mapping[Row, Row]) -> list[Mean]:
    """Averages what one folder says of a student and method; not where another folder says more of the same.

    A sweep that is over knows the scores of its scoreboards, but for MNLI's mismatched set.

    Args:
        results: As `_results` gives them.
    """
    groups: dict[tuple[Student, str, str], list[Row]] = {}
    for row in results:
        groups.setdefault((row.student, row.method, row.source), []).append(row)
    said = {key: frozenset(results[row] for row in group) for key, group in groups.items()}
    means: dict[frozenset[Row], Mean] = {}
    for key, group in groups.items():
        if not any(said[key] < other for other in said.values()):
            means.setdefault(said[key], _mean(group))
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
        # One folder's runs all have the same, and some may have lost their record.
        lora_rank=next((row.lora_rank for row in rows if row.lora_rank is not None), None),
        name=averages[0].name("dev"),
        values=tuple(found.value for found in averages),
        seeds=rows[0].seeds,
        source=rows[0].source,
    )
