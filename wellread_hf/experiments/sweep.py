"""A sweep as a stage: its trials are carried out, each recorded as it ends, and the best of them scored."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from wellread_hf.errors import TrialsFailedError
from wellread_hf.experiments.engines import check_engine, opened
from wellread_hf.experiments.grid import LARGE, Grid
from wellread_hf.experiments.scheduler import Engine, Job, Result, in_this_process, run, time_left
from wellread_hf.experiments.sweep_settings import SweepSettings
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.results.tables import TABLE, Table
from wellread_hf.results.trials import Trial, best_points, ended_trials, read_trials, write_plan, write_trial
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage, in_order
from wellread_hf.tasks import GLUE_SETS


# A grid of thousands takes seconds to plan, and what is shown of it needs it again.
@lru_cache(maxsize=1)
def _grid(settings: SweepSettings) -> Grid:
    return Grid(settings)


def ready(settings: SweepSettings) -> None:
    """Makes sure that the engine is there, before anything is read or trained."""
    check_engine(settings.engine)


def plan(settings: SweepSettings) -> list[Stage]:
    """Plans a sweep: one stage."""
    # A plan is of the files as they are now, also in a notebook that plans twice.
    _grid.cache_clear()
    return [sweep(_grid(settings))]


def preview(settings: SweepSettings, stages: Sequence[Stage]) -> None:
    """Prints how many trials there are, what is done, and how long the rest will take."""
    grid, s = _grid(settings), settings
    sizes = {
        "students": len(s.students),
        "tasks": len(grid.tasks),
        "methods": len(s.methods),
        "learning rates": len(s.learning_rates),
        "batch sizes": len(s.batch_sizes),
        "seeds": s.seeds,
    }
    assert prod(sizes.values()) == len(grid.trials)
    stopped = {trial.digest for trial in _over(grid, stages[0].folder).values() if trial.state == "stopped"}
    states = Counter(
        "stopped early" if digest in stopped else stage.state for digest, stage in grid.stages.items()
    )
    every = in_order([*grid.stages.values()])
    jobs = [grid.job(stage) for stage in every if stage.digest in grid.stages or stage.kind in LARGE]
    grid_of = " x ".join(f"{name} {count}" for name, count in sizes.items())
    print(f"\ntrials: {len(grid.trials):,} ({grid_of})")
    print("of these " + ", ".join(f"{name}: {count:,}" for name, count in states.items()))
    print(f"time: {time_left(jobs, stopped)}")


def show(settings: SweepSettings, stages: Sequence[Stage]) -> None:
    """Prints the chosen points of a finished sweep."""
    (stage,) = stages
    grid = _grid(settings)
    table = best_table(grid, read_trials(stage.folder))
    _show(stage.folder, table, stage.record.outcome["scoreboards"])


def _show(folder: Path, table: Table, boards: Iterable[str]) -> None:
    table.show(folder.name)
    for board in boards:
        print(f"submission: wellread submission {folder.parent / board} -o glue.zip")
    print(f"scores: wellread scores {folder}")


def sweep(grid: Grid) -> Stage:
    """Builds the stage of a whole sweep.

    Its folder gets `trials.json`, the plan, a file for each trial that fails or is stopped early, and at the
    end `table.md`, the chosen points. A trial is a training stage of its own, so sweeps share it, and it goes
    on from its checkpoint.

    Args:
        grid: All of its trials.
    """
    settings = grid.settings
    return Stage(
        kind="sweep",
        name="-".join(settings.methods),
        root=settings.running.runs,
        # With ASHA not every trial is finished, so the result is another one.
        identity={"trials": list(grid.trials), "stopped_early": settings.engine.asha},
        # Trials are no inputs: the engine carries them out, perhaps side by side.
        inputs=[grid.checks],
        work=lambda stage: _work(grid, stage.folder),
        solo=True,
    )


def _work(grid: Grid, folder: Path) -> Mapping[str, Any]:
    """Does what is left to do; raises `TrialsFailedError` at the end where something failed."""
    # Before anything runs, since scores are read from an unfinished sweep too.
    write_plan(folder, grid.trials.values())
    ended, failed = _over(grid, folder), dict[str, str]()

    def on_end(job: Job, result: Result) -> str | None:
        if (trial := grid.trials.get(job.stage.digest)) is not None:
            ended[trial.digest] = _ended(trial, result, folder)
            write_trial(folder, ended[trial.digest])
        return _best_so_far(ended.values())

    def carry_out(stages: Sequence[Stage], engine: Engine, title: str) -> None:
        # What failed is tried again, what ASHA stopped is not.
        over = {digest for digest, trial in ended.items() if trial.state != "failed"}
        jobs = [grid.job(stage) for stage in in_order(stages) if stage.digest not in over]
        failed.update(run(jobs, engine, on_end, title))

    with opened(grid.settings.engine, folder) as engine:
        carry_out([*grid.stages.values()], engine, "sweep")
        boards = grid.scoreboards(best_points(ended.values(), range(grid.settings.seeds)))
        carry_out([needed for board in boards for needed in board.after], engine, "predictions")
        # No more than a look at records.
        carry_out(boards, in_this_process, "scoreboards")
    table = best_table(grid, ended.values())
    write_atomically(folder / TABLE, table.markdown)
    if failed:
        _show(folder, table, [board.folder.name for board in boards if board.state == "done"])
        raise TrialsFailedError(
            f"{len(failed.keys() & grid.trials.keys())} of {len(grid.trials)} trials failed, "
            f"the first of all that failed is {next(iter(failed.values()))}. "
            f"The others are finished ({folder / TABLE}); what failed is tried again by the same command"
        )
    # With how they ended, since the large folders of trials may be deleted afterwards.
    write_plan(folder, [ended[digest] for digest in grid.trials])
    return {
        "trials": len(ended),
        "stopped": sum(trial.state == "stopped" for trial in ended.values()),
        "seconds_of_trials": sum(trial.seconds for trial in ended.values()),
        "scoreboards": [board.folder.name for board in boards],
    }


def _over(grid: Grid, folder: Path) -> dict[str, Trial]:
    """Reads the trials of a grid that need no more work, by digest: done, or stopped early."""
    ended = ended_trials(folder, grid.trials.values())
    return {trial.digest: trial for trial in ended if trial.state != "failed"}


def _ended(trial: Trial, result: Result, folder: Path) -> Trial:
    if result.state == "done":
        # All else is in its record.
        (done,) = ended_trials(folder, [trial])
        return done
    return replace(
        trial, state=result.state, scores=result.scores, seconds=result.seconds, error=result.error
    )


def _best_so_far(trials: Iterable[Trial]) -> str:
    best: dict[str, float] = {}
    failed = 0
    for trial in trials:
        failed += trial.state == "failed"
        if trial.score is not None and trial.state != "failed":
            best[trial.task] = max(trial.score, best.get(trial.task, trial.score))
    scores = ", ".join(f"{GLUE_SETS[task].title} {100 * score:.1f}" for task, score in best.items())
    parts = [f"best run on dev: {scores}"] if best else []
    return "; ".join([*parts, f"{failed} failed"] if failed else parts)


def best_table(grid: Grid, trials: Collection[Trial]) -> Table:
    """Tables the chosen points, a row for each student, method and task of the grid."""
    seeds = grid.settings.seeds
    chosen = best_points(trials, range(seeds))
    head = ["student", "method", "task", "metric", "dev (%)", "learning rate", "batch", "trials"]
    head += ["stopped", "failed"]
    states = Counter((trial.student, trial.method, trial.task, trial.state) for trial in trials)
    rows = []
    groups = Counter((trial.student, trial.method, trial.task) for trial in grid.trials.values())
    for group, planned in groups.items():
        student, method, task = group
        point = chosen.get(group)
        best = ("none with all its seeds", "", "")
        if point is not None:
            score = mean_and_spread([100 * score for score in point.scores])
            best = (score, f"{point.learning_rate:g}", str(point.batch_size))
        counts = (
            f"{states[*group, 'done']} of {planned}",
            states[*group, "stopped"],
            states[*group, "failed"],
        )
        rows.append([student, method, GLUE_SETS[task].title, GLUE_SETS[task].metrics[0], *best, *counts])
    note = f"chosen on dev by the mean over {seeds} seeds" if seeds > 1 else "chosen on dev, one seed"
    return Table(head, rows, [note])
