"""The trials of a sweep, the stages that they are, and what a scheduler needs to know of these."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.glue_runs import GlueRuns
from wellread_hf.experiments.scheduler import Job
from wellread_hf.experiments.sweep_settings import SweepSettings
from wellread_hf.results.scoreboard import scoreboard
from wellread_hf.results.trials import Point, Trial
from wellread_hf.store.places import each_found_once
from wellread_hf.store.stage import Stage
from wellread_hf.students import STUDENTS, Student
from wellread_hf.tasks import parse_glue_tasks

# What trains or runs large models; the rest packs, predicts or gathers.
LARGE = ("pretrain", "finetune", "label")


class Grid:
    """All trials of a sweep.

    Attributes:
        trials: By digest, in the order of students, tasks, methods, learning rates, batch sizes, seeds.
        stages: The trainings that they are, by digest.
        checks: The look at all data and metrics that comes before any training.
    """

    def __init__(self, settings: SweepSettings) -> None:
        self.settings = settings
        self._runs = GlueRuns(settings.glue, settings.running)
        self.tasks = parse_glue_tasks(settings.tasks)
        self.trials: dict[str, Trial] = {}
        self.stages: dict[str, Stage] = {}
        with each_found_once():
            for trial, stage in self._planned([Student.parse(name) for name in settings.students]):
                if stage.digest in self.stages:
                    raise SettingsError(
                        "two trials of this grid are the same run; where several students come from "
                        "`weights`, put {student}, {layers}, {hidden} or {heads} into it, got `weights` "
                        f"{settings.glue.given.weights} for `students` {' '.join(settings.students)}"
                    )
                self.trials[stage.digest], self.stages[stage.digest] = trial, stage
            self.checks = self._runs.checks(self.tasks)
        # What others start from is never stopped early.
        self._needed = {needed.digest for stage in self.stages.values() for needed in stage.after}

    def job(self, stage: Stage) -> Job:
        """Makes the job of a trial, or of a stage that trials need or are needed for."""
        trial = self.trials.get(stage.digest)
        if trial is None:
            models = [self.trials[needed.digest] for needed in stage.after if needed.digest in self.trials]
            # What packs, predicts or gathers takes no more than the smallest student.
            student = None if stage.kind in LARGE else STUDENTS[0]
            if models:
                student = Student.parse(models[0].student)
            return Job(stage=stage, student=student, alike=((stage.kind, stage.name),))
        student = Student.parse(trial.student)
        kind = (trial.student, trial.task, trial.method)
        return Job(
            stage=stage,
            student=student,
            compared=None if stage.digest in self._needed else " ".join(kind),
            metric=trial.metric,
            alike=((*kind, trial.batch_size), kind, trial.student, "trials"),
            # Products of a layer grow with H squared, so times of one size say something of another.
            work=student.layers * student.hidden**2 * float(self._rows.get(f"{trial.task} train", 1)),
        )

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        """Numbers of rows by task and split, once all data was looked at."""
        rows: Mapping[str, int] = self.checks.record.outcome["rows"] if self.checks.state == "done" else {}
        return rows

    def scoreboards(self, chosen: Mapping[tuple[str, str, str], Point]) -> list[Stage]:
        """Plans predictions and scores of the chosen points: one scoreboard a student and method.

        Args:
            chosen: By (student, method, task), as `trials.best_points` returns it.
        """
        boards: dict[tuple[str, str], dict[str, Point]] = {}
        for task in self.tasks:
            for (student, method, of), point in chosen.items():
                if of == task:
                    boards.setdefault((student, method), {})[task] = point
        return [self._scoreboard(*of, points) for of, points in boards.items()]

    def _scoreboard(self, student: str, method: str, points: Mapping[str, Point]) -> Stage:
        runs = {
            task: [self._runs.predictions(self.stages[trial.digest], task) for trial in point.trials]
            for task, point in points.items()
        }
        about: dict[str, Any] = {
            "student": student,
            "method": method,
            "seeds": list(range(self.settings.seeds)),
            "from_mnli": [task for task in points if self._runs.starts_from_mnli(task)],
            "points": {
                task: {"learning_rate": point.learning_rate, "batch_size": point.batch_size}
                for task, point in points.items()
            },
        }
        return scoreboard(f"{student}-{method}", runs, about, self.checks, self.settings.running.runs)

    def _planned(self, students: Sequence[Student]) -> Iterator[tuple[Trial, Stage]]:
        s = self.settings
        points = product(students, self.tasks, s.methods, s.learning_rates, s.batch_sizes, range(s.seeds))
        for student, task, method, learning_rate, batch_size, seed in points:
            optim = replace(s.glue.tuning.optim, learning_rate=learning_rate, batch_size=batch_size)
            tuning = replace(s.glue.tuning, optim=optim, seed=seed)
            # As wellread glue plans it, so that the two share their pre-training.
            stage = self._runs.model(student.name, task, method, tuning)
            trial = Trial(
                digest=stage.digest,
                folder=stage.folder.name,
                student=student.name,
                task=task,
                method=method,
                learning_rate=learning_rate,
                batch_size=batch_size,
                seed=seed,
            )
            yield trial, stage
