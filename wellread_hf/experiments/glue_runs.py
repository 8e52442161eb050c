"""The runs of GLUE's tasks that recipes and sweeps are made of, and the stages that these runs share."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Annotated

from pydantic import model_validator
from tyro.conf import arg

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.planner import Given, Planner
from wellread_hf.results.scoreboard import scoreboard
from wellread_hf.settings import Lora, Optim, Running, Start, Task, Tuning
from wellread_hf.settings.fields import checked, refuse_set
from wellread_hf.stages import check_glue, predict
from wellread_hf.stages.presets import SMOKE_CORPUS, SMOKE_PRETRAIN, SMOKE_TUNING
from wellread_hf.store.stage import Stage
from wellread_hf.students import Method as Method
from wellread_hf.students import Student
from wellread_hf.tasks import GLUE, parse_glue_tasks

# Small tasks that gain from sentence pairs that were seen before; BERT's successors start them from MNLI.
AFTER_MNLI = ("rte", "mrpc", "stsb")


@checked()
class GlueSettings:
    """What students, tasks, methods and seeds have in common."""

    data: str = GLUE
    """Home of GLUE: Hub id, or a folder of its layout."""
    given: Annotated[Given, arg(name="")] = field(default_factory=Given)
    """What they read."""
    teachers: tuple[str, ...] = ()
    """Fine-tuned classifiers to distil: `TASK=MODEL` each, or one MODEL with `{task}` in its name."""
    from_mnli: bool = False
    """RTE, MRPC and STS-B start from the model of MNLI of the same seed."""
    # One point of the release's grid; its upper end suits the smallest students.
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=4, optim=Optim(learning_rate=3e-4)))
    """Training on each task (its `seed` is set by this recipe)."""
    lora: Annotated[Lora, arg(name="")] = field(default_factory=Lora)
    """LoRA, in place of training all weights."""

    @model_validator(mode="after")
    def _recipe_sets_seeds(self) -> "GlueSettings":
        refuse_set(self, {"tuning.seed": "`seeds`"}, {"seed": 0})
        return self


SMOKE_GLUE = GlueSettings(
    data="toy:glue@smoke",
    given=Given(pretrain=SMOKE_PRETRAIN, corpus=SMOKE_CORPUS),
    teachers=("toy:teacher/{task}@smoke",),
    tuning=SMOKE_TUNING,
)


class GlueRuns:
    """Plans runs; what two of them share is planned once.

    Args:
        settings: What they have in common.
        running: How they are carried out.
        encoders: What students start from where that is planned already, by size.
    """

    def __init__(
        self, settings: GlueSettings, running: Running, encoders: Mapping[Student, Stage] | None = None
    ) -> None:
        self.settings, self.running = settings, running
        self._planner = Planner(settings.given, self._teacher, running, settings.lora, encoders)

    def board(self, student: str, method: Method, tasks: Sequence[str], seeds: int) -> Stage:
        """Plans a student's runs of tasks over seeds, their predictions, and the scoreboard of all."""
        tunings = [replace(self.settings.tuning, seed=seed) for seed in range(seeds)]
        runs = {
            task: [self.predictions(self.model(student, task, method, tuning), task) for tuning in tunings]
            for task in tasks
        }
        about = {
            "student": student,
            "method": method,
            "seeds": [tuning.seed for tuning in tunings],
            "from_mnli": [task for task in tasks if self.starts_from_mnli(task)],
        }
        return scoreboard(f"{student}-{method}", runs, about, self.checks(tasks), self.running.runs)

    def model(self, student: str, task: str, method: Method, tuning: Tuning) -> Stage:
        """Plans the training of a student on one of GLUE's tasks."""
        if self.starts_from_mnli(task):
            start: Start | Stage = self.model(student, "mnli", method, tuning)
        else:
            start = self._planner.start(method, student)
        return self._planner.trained(method, start, self._task(task), tuning)

    def predictions(self, model: Stage, task: str) -> Stage:
        """Plans the predictions of a model of `task`, on dev and test."""
        # As in training, where longer rows were cut.
        length = self.settings.tuning.max_length
        return predict(model, self._task(task), length, self.running)

    def checks(self, tasks: Sequence[str]) -> Stage:
        """Plans a look at all rows and metrics that runs of these tasks will need."""
        # What others start from is trained as well, asked for or not.
        needed = {*tasks, *(["mnli"] if any(map(self.starts_from_mnli, tasks)) else [])}
        # In GLUE's order, so that the same tasks have one digest.
        read = [self._task(name) for name in parse_glue_tasks(",".join(needed))]
        return check_glue(read, self.running)

    def starts_from_mnli(self, task: str) -> bool:
        """Returns whether runs of a task start from the model of MNLI."""
        return self.settings.from_mnli and task in AFTER_MNLI

    def _task(self, name: str) -> Task:
        return Task(name=name, data=self.settings.data)

    def _teacher(self, of: Task) -> str:
        task = of.name
        named = dict(entry.split("=", 1) for entry in self.settings.teachers if "=" in entry)
        alike = [entry for entry in self.settings.teachers if "=" not in entry]
        if task in named:
            return named[task]
        if len(alike) == 1:
            return alike[0].replace("{task}", task)
        raise SettingsError(
            f"soft labels of {task} need a teacher: expected `teachers` {task}=MODEL, or one MODEL with "
            f"{{task}} in its name, got {' '.join(self.settings.teachers) or 'none'}"
        )
