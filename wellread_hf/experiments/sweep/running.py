"""A sweep as a stage: its trials are carried out, told in a table, and the best of them scored."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from wellread_hf.errors import SettingsError, StoreError, TrialsFailedError
from wellread_hf.experiments.sweep.account import Account, best_table, show_best
from wellread_hf.experiments.sweep.engine import engine, in_this_process
from wellread_hf.experiments.sweep.grid import Grid, PlannedTrial, levels
from wellread_hf.experiments.sweep.jobs import Job, Result, Runs
from wellread_hf.results.trials import TABLE, Trial, TrialTable, best_points
from wellread_hf.store.graph import Stage, processes, versions
from wellread_hf.store.progress import say
from wellread_hf.store.records import write_atomically
from wellread_hf.students import STUDENTS
from wellread_hf.tasks import GLUE_TASKS

BEST = "table.md"
# What trains or runs large models; the rest packs, predicts or gathers.
_LARGE = ("pretrain", "finetune", "label")
# Who did a trial whose row was lost with its sweep's process is not written down anywhere else.
_NOT_KNOWN = "not known"


def sweep(grid: Grid) -> Stage:
    """Builds the stage of a whole sweep.

    Its folder gets `trials.sqlite`, a row a trial as soon as that has ended, and at the end `table.md`, the
    chosen points. A trial is a training stage of its own, so it is shared with whoever trains the same, and
    goes on from its checkpoint.

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
        after=[grid.checks],
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
        self.over = trials_over(grid, self.folder / TABLE)
        self.failed: dict[str, str] = {}
        self.unwritten: list[Trial] = []
        # What others start from is never stopped early.
        self.needed = {needed.digest for trial in grid.trials for needed in trial.stage.after}

    def outcome(self) -> Mapping[str, Any]:
        """Does what is left to do; raises `TrialsFailedError` at the end where something failed."""
        to_do = len(self.over) < len(self.planned)
        with (
            TrialTable(self.folder / TABLE) as self.table,
            Account(len(self.planned), self.over.values()) as self.account,
            engine(self.settings.engine, self.folder, to_do) as run,
        ):
            self._carry_out([trial.stage for trial in self.grid.trials], run)
            chosen = best_points(self.over.values(), range(self.settings.seeds))
            boards = self.grid.scoreboards(chosen)
            self._carry_out([needed for board in boards for needed in board.after], run)
            # No more than a look at records.
            self._carry_out(boards, in_this_process)
            for row in self.unwritten:
                self.table.append(row)
        failed = [trial for digest, trial in self.planned.items() if digest in self.failed]
        table = best_table(self.grid, chosen, self.over.values(), failed)
        write_atomically(self.folder / BEST, table)
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
            row = _row(trial, result)
            self._write(row)
            self.account.ended(row)
            if row.state != "failed":
                self.over[row.digest] = row

    def _write(self, row: Trial) -> None:
        """Appends a row, and those before it that a reader kept from being written."""
        self.unwritten.append(row)
        try:
            while self.unwritten:
                self.table.append(self.unwritten[0])
                del self.unwritten[0]
        except StoreError as error:
            # The trials go on; if it stays so to the end, it is an error there.
            say(f"the row of {row.folder} waits: {error}")

    def _failures(self, trials: int) -> TrialsFailedError:
        first = next(iter(self.failed.values()))
        return TrialsFailedError(
            f"{trials} of {len(self.planned)} trials failed, the first of all that failed is {first}. The "
            f"others are finished ({self.folder / TABLE}, {self.folder / BEST}); what failed is tried again "
            "by the same command"
        )


def trials_over(grid: Grid, table: Any) -> dict[str, Trial]:
    """Reads the trials of a grid that need no more work, by digest: done, or stopped early."""
    planned = {trial.stage.digest: trial.stage for trial in grid.trials}
    known = TrialTable.read(table) if table.is_file() else []
    return {
        trial.digest: trial
        for trial in known
        if trial.digest in planned
        # Whose folder was deleted is trained anew.
        and (trial.state == "stopped" or (trial.state == "done" and planned[trial.digest].state == "done"))
    }


def _row(trial: PlannedTrial, result: Result) -> Trial:
    metric = GLUE_TASKS[trial.task].metrics[0]
    scores, steps, seconds = result.scores, None, result.seconds
    device: str | None = None
    made_by: Mapping[str, str] = versions()
    if result.state == "done":
        record = trial.stage.record
        scores, steps = record.outcome["validation"], record.outcome["steps"]
        seconds, device, made_by = record.outcome["seconds_training"], record.device, record.versions
    return Trial(
        digest=trial.stage.digest,
        folder=trial.stage.folder.name,
        student=trial.student.name,
        task=trial.task,
        method=trial.method,
        learning_rate=trial.learning_rate,
        batch_size=trial.batch_size,
        seed=trial.seed,
        state=result.state,
        metric=metric,
        score=scores.get(metric),
        scores=scores,
        steps=steps,
        seconds=seconds,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        host=result.host,
        device=device,
        error=result.error,
        settings=trial.stage.identity,
        versions=made_by,
    )
