"""The trials of a sweep, and the stages that they wait for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.glue_runs import GlueRuns, Method
from wellread_hf.experiments.sweep.settings import SweepSettings
from wellread_hf.results.scoreboard import scoreboard
from wellread_hf.results.trials import Point
from wellread_hf.store.graph import Stage, in_order
from wellread_hf.store.places import each_found_once
from wellread_hf.students import Student
from wellread_hf.tasks import parse_glue_tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTrial:
    """A point of the grid with a seed, and the training stage that it is."""

    student: Student
    task: str
    method: Method
    learning_rate: float
    batch_size: int
    seed: int
    stage: Stage


class Grid:
    """All trials of a sweep.

    Attributes:
        trials: In the order of students, tasks, methods, learning rates, batch sizes, seeds.
        checks: The look at all data and metrics that comes before any training.
    """

    def __init__(self, settings: SweepSettings) -> None:
        self.settings = settings
        self._runs = GlueRuns(settings.glue, settings.running)
        tasks = parse_glue_tasks(settings.tasks)
        with each_found_once():
            self.trials = tuple(self._trials([Student.parse(name) for name in settings.students], tasks))
            self.checks = self._runs.checks(tasks)
        if len({trial.stage.digest for trial in self.trials}) < len(self.trials):
            raise SettingsError(
                "two trials of this grid are the same run; where several students come from `weights`, "
                "put {student}, {layers}, {hidden} or {heads} into it, got "
                f"`weights` {settings.glue.weights} for `students` {' '.join(settings.students)}"
            )

    def scoreboards(self, chosen: Mapping[tuple[str, str, str], Point]) -> list[Stage]:
        """Plans predictions and scores of the chosen points: one scoreboard a student and method.

        Args:
            chosen: By (student, method, task), as `trials.best_points` returns it.
        """
        stages = {trial.stage.digest: trial.stage for trial in self.trials}
        boards = []
        for student, method in dict.fromkeys((student, method) for student, method, _ in chosen):
            of = {
                task: point for (name, by, task), point in chosen.items() if (name, by) == (student, method)
            }
            # In GLUE's order, whatever came first.
            of = {task: of[task] for task in parse_glue_tasks(",".join(of))}
            runs = {
                task: [self._runs.predictions(stages[trial.digest], task) for trial in point.trials]
                for task, point in of.items()
            }
            about = {
                "student": student,
                "method": method,
                "seeds": list(range(self.settings.seeds)),
                "from_mnli": [task for task in of if self._runs.starts_from_mnli(task)],
                "points": {
                    task: {"learning_rate": point.learning_rate, "batch_size": point.batch_size}
                    for task, point in of.items()
                },
            }
            root = self.settings.running.runs
            boards.append(scoreboard(f"{student}-{method}", runs, about, self.checks, root))
        return boards

    def _trials(self, students: Sequence[Student], tasks: Sequence[str]) -> Iterator[PlannedTrial]:
        s = self.settings
        points = product(students, tasks, s.methods, s.learning_rates, s.batch_sizes, range(s.seeds))
        for student, task, method, learning_rate, batch_size, seed in points:
            optim = replace(s.glue.tuning.optim, learning_rate=learning_rate, batch_size=batch_size)
            tuning = replace(s.glue.tuning, optim=optim, seed=seed)
            yield PlannedTrial(
                student=student,
                task=task,
                method=method,
                learning_rate=learning_rate,
                batch_size=batch_size,
                seed=seed,
                # As recipes/glue.py names it, so that the two share their pre-training.
                stage=self._runs.model(student.name, task, method, tuning),
            )


def levels(stages: Sequence[Stage]) -> Iterator[list[Stage]]:
    """Groups stages and all that they need, so that each group needs only the groups before it."""
    depth: dict[str, int] = {}
    groups: dict[int, list[Stage]] = {}
    for stage in in_order(stages):
        depth[stage.digest] = 1 + max((depth[needed.digest] for needed in stage.after), default=-1)
        groups.setdefault(depth[stage.digest], []).append(stage)
    for level in sorted(groups):
        yield groups[level]
