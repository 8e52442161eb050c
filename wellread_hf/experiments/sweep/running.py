"""A sweep as a stage: its trials are carried out, told in a table, and the best of them scored."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError, TrialsFailedError
from wellread_hf.experiments.sweep.account import Account, best_table, show_best
from wellread_hf.experiments.sweep.engine import engine, in_this_process
from wellread_hf.experiments.sweep.grid import Grid, PlannedTrial, levels
from wellread_hf.experiments.sweep.jobs import Job, Result, Runs
from wellread_hf.results.trials import Trial, best_points, ended_trials, write_plan, write_trial
from wellread_hf.store.graph import Stage, processes
from wellread_hf.store.records import write_atomically
from wellread_hf.students import STUDENTS
from wellread_hf.tasks import GLUE_TASKS

BEST = "table.md"
# What trains or runs large models; the rest packs, predicts or gathers.
_LARGE = ("pretrain", "finetune", "label")
# What was done or given up without being tried in this process.
_NOT_KNOWN = "not known"


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
        identity={
            "trials": [trial.stage.digest for trial in grid.trials],
            "stopped_early": settings.engine.asha,
        },
        inputs=[grid.checks],
        work=lambda stage: _Sitting(grid, stage).outcome(),
        solo=True,
    )


class _Sitting:
    """One sitting of a sweep, from what the last one left to the end."""

    def __init__(self, grid: Grid, stage: Stage) -> None:
        if processes().num_processes > 1:
            raise SettingsError(
                f"a sweep trains one trial a process: expected one process, got {processes().num_processes}; "
                "start it with python instead of accelerate launch, and for trials side by side take "
                "`engine` ray"
            )
        self.grid, self.folder, self.settings = grid, stage.folder, grid.settings
        self.planned = {trial.stage.digest: trial for trial in grid.trials}
        self.over = trials_over(grid, self.folder)
        self.failed: dict[str, str] = {}
        # What others start from is never stopped early.
        self.needed = {needed.digest for trial in grid.trials for needed in trial.stage.after}

    def outcome(self) -> Mapping[str, Any]:
        """Does what is left to do; raises `TrialsFailedError` at the end where something failed."""
        to_do = len(self.over) < len(self.planned)
        write_plan(self.folder, map(as_trial, self.grid.trials))
        with (
            Account(len(self.planned), self.over.values()) as self.account,
            engine(self.settings.engine, self.folder, to_do) as run,
        ):
            self._carry_out([trial.stage for trial in self.grid.trials], run)
            chosen = best_points(self.over.values(), range(self.settings.seeds))
            boards = self.grid.scoreboards(chosen)
            self._carry_out([needed for board in boards for needed in board.after], run)
            # No more than a look at records.
            self._carry_out(boards, in_this_process)
        failed = [trial for digest, trial in self.planned.items() if digest in self.failed]
        table = best_table(self.grid, chosen, self.over.values(), failed)
        write_atomically(self.folder / BEST, table.markdown)
        if self.failed:
            show_best(self.folder, table, [board.folder.name for board in boards if board.state == "done"])
            raise self._failures(len(failed))
        trials = list(self.over.values())
        return {
            "trials": len(trials),
            "stopped": sum(trial.state == "stopped" for trial in trials),
            "seconds_of_trials": sum(trial.seconds for trial in trials),
            "scoreboards": [board.folder.name for board in boards],
        }

    def _carry_out(self, stages: Sequence[Stage], run: Runs) -> None:
        for level in levels(stages):
            jobs = []
            for stage in level:
                unfinished = [needed.folder.name for needed in stage.after if needed.state != "done"]
                if stage.digest in self.over:
                    continue
                if stage.state == "done":
                    self._ended(stage, Result(state="done", host=_NOT_KNOWN, seconds=0.0))
                elif unfinished:
                    error = f"it needs {unfinished[0]}, which did not come to its end"
                    self._ended(stage, Result(state="failed", host=_NOT_KNOWN, seconds=0.0, error=error))
                else:
                    jobs.append(self._job(stage))
            run(jobs, lambda job, result: self._ended(job.stage, result))

    def _job(self, stage: Stage) -> Job:
        trial = self.planned.get(stage.digest)
        if trial is None:
            models = [self.planned[needed.digest] for needed in stage.after if needed.digest in self.planned]
            if models:
                return Job(stage=stage, student=models[0].student)
            return Job(stage=stage, student=None if stage.kind in _LARGE else STUDENTS[0])
        compared = None
        if stage.digest not in self.needed:
            compared = f"{trial.student.name} {trial.task} {trial.method}"
        return Job(
            stage=stage, student=trial.student, compared=compared, metric=GLUE_TASKS[trial.task].metrics[0]
        )

    def _ended(self, stage: Stage, result: Result) -> None:
        if result.error is not None:
            self.failed[stage.digest] = f"{stage.folder.name}: {result.error}"
        trial = self.planned.get(stage.digest)
        if trial is not None:
            row = as_trial(trial)
            if result.state == "done":
                (row,) = ended_trials(self.folder, [row])
            else:
                row = replace(
                    row, state=result.state, scores=result.scores, seconds=result.seconds, error=result.error
                )
            write_trial(self.folder, row)
            self.account.ended(row)
            if row.state != "failed":
                self.over[row.digest] = row

    def _failures(self, trials: int) -> TrialsFailedError:
        first = next(iter(self.failed.values()))
        return TrialsFailedError(
            f"{trials} of {len(self.planned)} trials failed, the first of all that failed is {first}. The "
            f"others are finished ({self.folder / BEST}); what failed is tried again "
            "by the same command"
        )


def trials_over(grid: Grid, folder: Path) -> dict[str, Trial]:
    """Reads the trials of a grid that need no more work, by digest: done, or stopped early."""
    ended = ended_trials(folder, map(as_trial, grid.trials))
    return {trial.digest: trial for trial in ended if trial.state != "failed"}


def as_trial(trial: PlannedTrial) -> Trial:
    """Describes a planned trial by its place in the grid and its folder."""
    return Trial(
        digest=trial.stage.digest,
        folder=trial.stage.folder.name,
        student=trial.student.name,
        task=trial.task,
        method=trial.method,
        learning_rate=trial.learning_rate,
        batch_size=trial.batch_size,
        seed=trial.seed,
    )
