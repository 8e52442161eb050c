"""From the paper's methods to stages: where a student starts, what it is trained on, and its teacher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import cache

from pydantic import model_validator

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
from wellread_hf.settings.fields import StudentName, checked, refuse_set
from wellread_hf.stages import distill, finetune, pretrain, soft_labels
from wellread_hf.stages.presets import SMOKE_PRETRAIN, TOY_STEPS
from wellread_hf.store.stage import Place, Stage
from wellread_hf.students import Method, Student


def refuse_pretraining(how: Pretrain, weights: str | None) -> None:
    """Refuses a length or an origin of pre-training where a student is there already.

    Raises:
        SettingsError: Both are given.
    """
    # Presets bring a length, to which weights may be added.
    steps = None if how.steps in (SMOKE_PRETRAIN.steps, TOY_STEPS) else how.steps
    for name, value in (("steps", steps), ("minutes", how.minutes), ("grow", how.grow)):
        if value is not None and weights is not None:
            raise SettingsError(
                f"`pretrain.{name}` {value}: nothing is pre-trained where `weights` are given, got "
                f"{weights}; leave it out, or give `weights` None"
            )


@checked()
class Given:
    """What the runs of all methods read, and how soft labels are made and learnt."""

    weights: str | None = None
    """A pre-trained student instead of `pretrain`: Hub id (`NAME@REVISION`) or folder; `{student}`,
    `{layers}`, `{hidden}` and `{heads}` are filled in."""
    pretrain: Pretrain = field(default_factory=Pretrain)
    """Pre-training of the student (its `student` is set by this recipe)."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to pre-train on."""
    transfer: Transfer = field(default_factory=Transfer)
    """Text that the teacher labels; its own labels, if it has any, are not looked at."""
    label: Label = field(default_factory=Label)
    """How it is labelled."""
    objective: Objective = field(default_factory=Objective)
    """What distillation minimises."""

    @model_validator(mode="after")
    def _recipe_sets_the_student(self) -> "Given":
        refuse_set(self, {"pretrain.student": "student"}, {"student": Pretrain().student})
        return self

    @model_validator(mode="after")
    def _weights_are_not_pretrained(self) -> "Given":
        refuse_pretraining(self.pretrain, self.weights)
        return self


@checked()
class Teacher:
    """A teacher by name, or how one is made."""

    teacher: str | None = None
    """A fine-tuned classifier, or a folder of soft labels (`wellread label`); without one, `teacher_student`
    is pre-trained and fine-tuned first."""
    # BERT-base, the largest that is pre-trained here.
    teacher_student: StudentName = "12-768"
    """Size of the teacher made here."""
    teacher_pretrain: Pretrain = field(default_factory=Pretrain)
    """Its pre-training."""
    # The middle of the grid that BERT's authors give for fine-tuning.
    teacher_tuning: Tuning = field(default_factory=lambda: Tuning(epochs=3, optim=Optim(learning_rate=3e-5)))
    """Its fine-tuning on the task's labels."""

    @model_validator(mode="after")
    def _its_size_has_one_name(self) -> "Teacher":
        instead = {"teacher_pretrain.student": "`teacher_student`"}
        refuse_set(self, instead, {"student": Pretrain().student})
        return self

    def made(self, corpus: Corpus, task: Task, running: Running) -> Stage | None:
        """Plans the teacher; None where one was named."""
        if self.teacher is not None:
            return None
        encoder = pretrain(
            replace(self.teacher_pretrain, student=self.teacher_student), corpus, running, tasks=(task,)
        )
        return finetune(encoder, task, self.teacher_tuning, running)


class Planner:
    """Plans runs of the paper's methods; what two of them share is planned once.

    Args:
        given: What the runs have in common.
        teacher: Names or plans the teacher of a task.
        running: How they are carried out.
        lora: LoRA, in place of training all weights.
        encoders: What pre-trained students start from where that is planned already, by size.
        held_out: Tasks whose validation and test rows are left out of the text of pre-training.
    """

    def __init__(
        self,
        given: Given,
        teacher: Callable[[Task], Place],
        running: Running,
        lora: Lora | None = None,
        encoders: Mapping[Student, Stage] | None = None,
        held_out: Sequence[Task] = (),
    ) -> None:
        self.given, self.teacher, self.running, self.lora = given, teacher, running, lora
        self.encoders, self.held_out = encoders or {}, held_out
        # A grid has thousands of runs.
        self._encoder, self.labels = cache(self._plan_encoder), cache(self._plan_labels)

    def start(self, method: Method, student: str, seed: int | None = None) -> Start | Stage:
        """Returns where a method's student starts, or plans its pre-training.

        Args:
            method: One of the paper's four.
            student: One of the 24.
            seed: Of the pre-training, where it is not the setting's.
        """
        given = self.given.weights
        weights = None if given is None else Student.parse(student).fill_in(given)
        if method in ("basic", "distillation"):
            # Random weights take the words of given students, so that methods differ in one thing.
            return Start(student=student, tokenizer=weights or self.given.corpus.tokenizer)
        if (planned := self.encoders.get(Student.parse(student))) is not None:
            return planned
        return self._encoder(student, seed) if weights is None else Start(weights=weights)

    def trained(self, method: Method, start: Start | Stage, task: Task, tuning: Tuning) -> Stage:
        """Plans the training of a student on a task: on its labels, or on its teacher's."""
        if method in ("basic", "pf"):
            return finetune(start, task, tuning, self.running, self.lora)
        labels, given = self.labels(task), self.given
        return distill(start, task, labels, given.transfer, given.objective, tuning, self.running, self.lora)

    def _plan_encoder(self, student: str, seed: int | None) -> Stage:
        how = replace(self.given.pretrain, student=student)
        how = how if seed is None else replace(how, seed=seed)
        return pretrain(how, self.given.corpus, self.running, tasks=self.held_out)

    def _plan_labels(self, task: Task) -> Stage:
        return soft_labels(self.teacher(task), task, self.given.transfer, self.given.label, self.running)
