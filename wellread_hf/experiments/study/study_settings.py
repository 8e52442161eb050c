"""What studies go over, on which text, with which budget; the options of recipes/study.py."""

from dataclasses import field, replace
from operator import attrgetter
from typing import Annotated, Literal, get_args

from pydantic import model_validator
from tyro.conf import Positional, arg

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.methods import SMOKE_TEACHER
from wellread_hf.experiments.planner import Teacher
from wellread_hf.experiments.study.catalogue import StudyName
from wellread_hf.experiments.sweep_settings import Engine
from wellread_hf.settings import Corpus, Label, Objective, Optim, Pretrain, Running, Task, Tuning
from wellread_hf.settings.fields import FEW, Count, Seed, Students, checked, each_once
from wellread_hf.stages.presets import (
    SMOKE_CORPUS,
    SMOKE_PRETRAIN,
    SMOKE_TASK,
    SMOKE_TUNING,
    TOY_CORPUS,
    TOY_PRETRAIN,
    TOY_TASK,
    TOY_TEACHER_PRETRAIN,
    TOY_TEACHER_STUDENT,
    TOY_TEACHER_TUNING,
    TOY_TUNING,
)
from wellread_hf.students import LAYERS

ALL_STUDIES: tuple[StudyName, ...] = get_args(StudyName)
Scale = Literal["toy", "text"]


@checked("budget")
class Budget:
    """What every arm of a study may use; arms differ in one thing, so this is the same for all."""

    mlm_steps: Count | None = None
    """Optimizer steps of each pre-training; with `weights` that of DistilBERT, of D_LM = D_T, and, without
    `deep` and `mlm_plus`, of these students."""
    labelled_rows: Count | None = None
    """Labelled rows, drawn from the task's training rows."""
    labels_seen: Count | None = None
    """Rows with labels that a student is trained on, counted once a pass."""
    transfer_rows: Count | None = None
    """Rows that the teacher labels, drawn from the transfer set."""
    soft_labels_seen: Count | None = None
    """Rows with soft labels that a student is trained on, counted once a pass."""

    @model_validator(mode="after")
    def _every_row_is_seen(self) -> "Budget":
        for seen, rows in (("labels_seen", "labelled_rows"), ("soft_labels_seen", "transfer_rows")):
            most, there = getattr(self, seen), getattr(self, rows)
            if most is not None and there is not None and most < there:
                raise SettingsError(
                    f"`budget.{seen}` {most}: expected at least the {there} of `budget.{rows}`, or some rows "
                    "are never seen; raise the first or lower the second"
                )
        return self

    def named(self, name: str) -> int:
        """Returns a part of the budget.

        Raises:
            SettingsError: It is not named.
        """
        value: int | None = getattr(self, name)
        if value is None:
            raise SettingsError(
                f"a study compares arms under one budget, which has to be named: expected `budget.{name}` "
                "and a number, got none"
            )
        return value


# What a study sets for each of its runs, and where it takes that from.
_LEFT_TO_THE_STUDY = {
    "task.train_rows": "`budget.labelled_rows`",
    "pretrain.student": "`students`",
    "pretrain.seed": "`seeds`",
    "pretrain.steps": "`budget.mlm_steps`",
    "pretrain.minutes": "`budget.mlm_steps`",
    "pretrain.epochs": "`budget.mlm_steps`",
    "pretrain.next_sentence": "the study initialisation",
    "pretrain.start": "`weights`",
    "pretrain.distil.teacher": "the study concurrent",
    "patient.method": "the study concurrent",
    "labels.patience": "`budget.labels_seen`",
    "labels.seed": "`seeds`",
    "labels.epochs": "`budget.labels_seen`",
    "soft_labels.patience": "`budget.soft_labels_seen`",
    "soft_labels.seed": "`seeds`",
    "soft_labels.epochs": "`budget.soft_labels_seen`",
}
_UNSET = {
    "task": Task(),
    "pretrain": Pretrain(),
    "patient": Objective(method="patient"),
    "labels": Tuning(),
    "soft_labels": Tuning(),
}


@checked()
class StudySettings:
    """Studies by name, over students and seeds."""

    studies: Annotated[Positional[tuple[StudyName, ...]], each_once(least=0)] = ()
    """Which studies to run; none named: all eight on the toy world, those the text allows on `text`."""
    # A bare recipe plans real text; its presets have the toy world's.
    scale: Scale = "text"
    """`toy` is the embedded toy world with a budget of its own; `text` is real text: SST-2 unless another
    task is named, with transfer set and budget to be named."""
    # The fastest two: a study trains every arm with each, several times.
    students: Students = ("2-128", "4-128")
    """Which of the 24, every arm with each; depth against width names its own."""
    one_student: tuple[StudyName, ...] = ()
    """Studies over the first of `students` alone, for the sake of time."""
    # As few as decide.
    seeds: Annotated[tuple[Seed, ...], FEW, each_once()] = (0, 1, 2)
    """One run of every arm and student a seed; two at least, for an error bar, and three for a verdict."""
    budget: Budget = field(default_factory=Budget)
    """What every arm may use."""
    task: Task = field(default_factory=Task)
    """What to learn (`train_rows` is the budget's)."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to pre-train on."""
    transfer: tuple[str, ...] = ()
    """Text in the task's domain for the teacher to label: sources as in `corpus`, and `task`."""
    near: tuple[str, ...] = ()
    """The same from a domain close to the task's, for the study of domains."""
    far: tuple[str, ...] = ()
    """The same from far away."""
    weights: str | None = None
    """Pre-trained students for all seeds instead of `pretrain`: Hub id (`NAME@REVISION`) or folder;
    `{student}`, `{layers}`, `{hidden}` and `{heads}` are filled in."""
    pretrain: Pretrain = field(default_factory=Pretrain)
    """Pre-training of the students, one a seed (`student`, `seed` and the length are the study's)."""
    deep: str | None = None
    """Deeper masked LMs for truncated students and DistilBERT's, as wide as these: a pattern as in `weights`,
    filled in for `deep_layers` layers; default: such students are pre-trained."""
    mlm_plus: str | None = None
    """Students pre-trained with next sentences too (MLM+), for the study of initialisation: a pattern as in
    `weights`, whose students should then have seen none (Google's have); default: they are pre-trained here,
    one a seed."""
    # BERT-base's.
    deep_layers: int = 12
    """Layers of the deeper ones."""
    # As Basic and PF were trained on SST-2 (docs/reproduction.md).
    labels: Tuning = field(
        default_factory=lambda: Tuning(optim=Optim(learning_rate=5e-4, batch_size=32), max_length=64)
    )
    """Training on labels (`epochs` and `seed` are the study's)."""
    # As Distillation and PD were trained on SST-2 in three hours (docs/reproduction.md).
    soft_labels: Tuning = field(
        default_factory=lambda: Tuning(optim=Optim(learning_rate=1e-3, batch_size=64), max_length=64)
    )
    """Training on soft labels (`epochs` and `seed` are the study's)."""
    teacher: Annotated[Teacher, arg(name="")] = field(default_factory=Teacher)
    """Who labels the transfer sets; fine-tuned on the same labelled rows."""
    label: Label = field(default_factory=Label)
    """How the transfer set is labelled; its `states` are stored for Patient KD alone."""
    patient: Objective = field(default_factory=lambda: Objective(method="patient", hard_label_share=0.5))
    """What Patient KD minimises; it reads the task's own labelled rows."""
    engine: Annotated[Engine, arg(name="")] = field(default_factory=Engine)
    """Where the runs are carried out."""
    running: Running = field(default_factory=Running)
    """How the runs are carried out."""

    @model_validator(mode="after")
    def _arms_can_be_compared(self) -> "StudySettings":
        if len(self.seeds) < 2:
            raise SettingsError(
                f"`seeds`: expected two or more, got {' '.join(map(str, self.seeds)) or 'none'}; a single "
                "run has no error bar, and decides nothing"
            )
        if self.deep_layers not in LAYERS:
            raise SettingsError(
                f"`deep_layers`: expected one of {', '.join(map(str, LAYERS))}, got {self.deep_layers}"
            )
        self.engine.check_whole()
        self._check_left_to_the_study()
        return self

    def _check_left_to_the_study(self) -> None:
        for path, instead in _LEFT_TO_THE_STUDY.items():
            part, _, name = path.partition(".")
            value = attrgetter(path)(self)
            if value != attrgetter(name)(_UNSET[part]):
                raise SettingsError(
                    f"`{path}`: the study decides it for all arms alike, so expected {instead} instead, got "
                    f"{value}; leave it out"
                )


_TOY_LABELS = replace(TOY_TUNING, epochs=Tuning().epochs)

ON_TOY = StudySettings(
    scale="toy",
    # So that eight studies take no more than 90 minutes on two cores.
    one_student=("initialisation", "transfer-size", "domain", "compound", "concurrent", "temperature"),
    # Five detect two points in a quarter to a half of studies, three less often.
    seeds=(0, 1, 2, 3, 4),
    # Chosen by PF's accuracy: the MLM loss falls long before whole sentences are read (docs/log.md).
    budget=Budget(
        mlm_steps=1_500,
        labelled_rows=500,
        labels_seen=7_500,
        transfer_rows=6_000,
        soft_labels_seen=12_000,
    ),
    task=TOY_TASK,
    corpus=TOY_CORPUS,
    transfer=("toy:pool",),
    near=("toy:near",),
    far=("toy:far",),
    pretrain=TOY_PRETRAIN,
    labels=_TOY_LABELS,
    soft_labels=_TOY_LABELS,
    teacher=Teacher(
        teacher_student=TOY_TEACHER_STUDENT,
        teacher_pretrain=TOY_TEACHER_PRETRAIN,
        teacher_tuning=TOY_TEACHER_TUNING,
    ),
    # Twice the layers of the first student, and pre-trained for the study of methods anyway.
    deep_layers=4,
    # The teacher has two layers, and is wider than the students.
    label=Label(states=(1,)),
    patient=Objective(method="patient", hard_label_share=0.5, layers=("1:1",), projection=True),
)


SMOKE = replace(
    ON_TOY,
    studies=("methods",),
    one_student=(),
    students=("2-128",),
    seeds=(0, 1),
    budget=Budget(mlm_steps=10, labelled_rows=64, labels_seen=64, transfer_rows=128, soft_labels_seen=128),
    # Documents of the toy world are single texts, which fill blocks of 17.
    pretrain=replace(SMOKE_PRETRAIN, steps=None, block_lengths=(17,), phase_shares=(1.0,)),
    labels=replace(SMOKE_TUNING, epochs=Tuning().epochs),
    soft_labels=replace(SMOKE_TUNING, epochs=Tuning().epochs),
    teacher=SMOKE_TEACHER,
    task=SMOKE_TASK,
    corpus=SMOKE_CORPUS,
    transfer=("toy:pool@smoke",),
    near=("toy:near@smoke",),
    far=("toy:far@smoke",),
)
