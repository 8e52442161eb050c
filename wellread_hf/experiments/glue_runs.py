"""The runs of GLUE's tasks that recipes and sweeps are made of, and the stages that these runs share."""

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Annotated

from pydantic import model_validator
from tyro.conf import arg

from wellread_hf.errors import SettingsError
from wellread_hf.settings import (
    Corpus,
    Label,
    Lora,
    Objective,
    Optim,
    Pretrain,
    Running,
    Start,
    Task,
    Transfer,
    Tuning,
)
from wellread_hf.settings.fields import checked, refuse_set
from wellread_hf.stages import check_glue, distill, finetune, label, predict, pretrain
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
    weights: str | None = None
    """A pre-trained student instead of `pretrain`: Hub id (`NAME@REVISION`) or folder; `{student}`,
    `{layers}`, `{hidden}` and `{heads}` are filled in."""
    pretrain: Pretrain = field(default_factory=Pretrain)
    """Pre-training of the student (its `student` is set by this recipe)."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to pre-train on."""
    teachers: tuple[str, ...] = ()
    """Fine-tuned classifiers to distil: `TASK=MODEL` each, or one MODEL with `{task}` in its name."""
    transfer: Transfer = field(default_factory=Transfer)
    """Text that the teachers label; `task` is each task's own."""
    label: Label = field(default_factory=Label)
    """How it is labelled."""
    objective: Objective = field(default_factory=Objective)
    """What distillation minimises."""
    from_mnli: bool = False
    """RTE, MRPC and STS-B start from the model of MNLI of the same seed."""
    # One point of the release's grid; its upper end suits the smallest students.
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=4, optim=Optim(learning_rate=3e-4)))
    """Training on each task (its `seed` is set by this recipe)."""
    lora: Annotated[Lora, arg(name="")] = field(default_factory=Lora)
    """LoRA, in place of training all weights."""

    @model_validator(mode="after")
    def _recipe_sets_students_and_seeds(self) -> "GlueSettings":
        refuse_set(
            self,
            {"pretrain.student": "student", "tuning.seed": "`seeds`"},
            {"student": Pretrain().student, "seed": 0},
        )
        return self


SMOKE_GLUE = GlueSettings(
    data="toy:glue@smoke",
    pretrain=SMOKE_PRETRAIN,
    corpus=SMOKE_CORPUS,
    teachers=("toy:teacher/{task}@smoke",),
    tuning=SMOKE_TUNING,
)


class GlueRuns:
    """Plans runs; what two of them share is planned once.

    Args:
        settings: What they have in common.
        running: How they are carried out.
    """

    def __init__(self, settings: GlueSettings, running: Running) -> None:
        self.settings, self.running = settings, running
        self._models: dict[tuple[str, str, Method, Tuning], Stage] = {}
        self._encoders: dict[str, Stage] = {}
        self._labels: dict[str, Stage] = {}

    def model(self, student: str, task: str, method: Method, tuning: Tuning) -> Stage:
        """Plans the training of a student on one of GLUE's tasks."""
        key = (student, task, method, tuning)
        if key not in self._models:
            self._models[key] = self._model(*key)
        return self._models[key]

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

    def _model(self, student: str, task: str, method: Method, tuning: Tuning) -> Stage:
        s = self.settings
        start, of_task = self._start(student, task, method, tuning), self._task(task)
        if method in ("basic", "pf"):
            return finetune(start, of_task, tuning, self.running, s.lora)
        labels = self._soft_labels(task)
        return distill(start, of_task, labels, s.transfer, s.objective, tuning, self.running, s.lora)

    def _start(self, student: str, task: str, method: Method, tuning: Tuning) -> Start | Stage:
        weights = self._weights(student)
        if self.starts_from_mnli(task):
            return self.model(student, "mnli", method, tuning)
        if method in ("basic", "distillation"):
            # Random weights take the words of given students, so that methods differ in one thing.
            return Start(student=student, tokenizer=weights or self.settings.corpus.tokenizer)
        return self._encoder(student) if weights is None else Start(weights=weights)

    def _weights(self, student: str) -> str | None:
        weights = self.settings.weights
        return None if weights is None else Student.parse(student).fill_in(weights)

    def _encoder(self, student: str) -> Stage:
        if student not in self._encoders:
            of_student = replace(self.settings.pretrain, student=student)
            self._encoders[student] = pretrain(of_student, self.settings.corpus, self.running)
        return self._encoders[student]

    def _soft_labels(self, task: str) -> Stage:
        if task not in self._labels:
            s = self.settings
            teacher, of_task = self._teacher(task), self._task(task)
            self._labels[task] = label(teacher, of_task, s.transfer, s.label, self.running)
        return self._labels[task]

    def _teacher(self, task: str) -> str:
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
