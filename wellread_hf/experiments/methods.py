"""Settings of the comparison of methods: what `recipes/pd.py` takes, and its presets."""

from dataclasses import field, replace
from typing import Annotated, Literal, get_args

from pydantic import model_validator
from tyro.conf import arg

from wellread_hf.experiments.planner import Given, Teacher
from wellread_hf.settings import Optim, Running, Task, Transfer, Tuning
from wellread_hf.settings.fields import FEW, Seed, StudentName, checked, each_once, refuse_set
from wellread_hf.stages.presets import (
    SMOKE_CORPUS,
    SMOKE_PRETRAIN,
    SMOKE_TASK,
    SMOKE_TRANSFER,
    SMOKE_TUNING,
    TOY_CORPUS,
    TOY_PRETRAIN,
    TOY_STEPS,
    TOY_TASK,
    TOY_TEACHER_PRETRAIN,
    TOY_TEACHER_STUDENT,
    TOY_TEACHER_TUNING,
    TOY_TUNING,
)
from wellread_hf.students import METHOD_TITLES

Method = Literal["basic", "distillation", "pf", "pd", "pdf"]
TITLES = {method: METHOD_TITLES[method] for method in get_args(Method)}


def _tuning(epochs: float, learning_rate: float) -> Tuning:
    return Tuning(epochs=epochs, optim=Optim(learning_rate=learning_rate))


TOY_DISTILLATION = replace(TOY_TUNING, epochs=12)


@checked()
class MethodSettings:
    """Every method over every seed, with one student and one teacher."""

    # The smallest of the 24, and the fastest to train.
    student: StudentName = "2-128"
    """Which of the 24 students."""
    # PD-F is the optional third step of the paper's algorithm.
    methods: Annotated[tuple[Method, ...], each_once()] = ("basic", "distillation", "pf", "pd")
    """What to compare; `pdf` is PD followed by fine-tuning."""
    # The fewest from which a spread can be estimated.
    seeds: Annotated[tuple[Seed, ...], FEW, each_once()] = (0, 1, 2)
    """One run of every method a seed."""
    # A pre-training a seed would take as many times as long.
    shared_pretraining: bool = True
    """All seeds start from one pre-trained student, as the paper's did; else each seed pre-trains its own."""
    task: Task = field(default_factory=Task)
    """What to learn."""
    given: Annotated[Given, arg(name="")] = field(default_factory=Given)
    """What the runs read."""
    teacher: Annotated[Teacher, arg(name="")] = field(default_factory=Teacher)
    """Who labels it."""
    # The release's epochs, and the upper end of its grid, which suits the smallest students.
    basic: Tuning = field(default_factory=lambda: _tuning(4, 3e-4))
    """Random weights, fine-tuned on the labels."""
    # The same for PD, so that the two differ in their start alone.
    distillation: Tuning = field(default_factory=lambda: _tuning(6, 5e-4))
    """Random weights, distilled."""
    pf: Tuning = field(default_factory=lambda: _tuning(4, 3e-4))
    """Pre-trained, fine-tuned."""
    pd: Tuning = field(default_factory=lambda: _tuning(6, 5e-4))
    """Pre-trained, distilled."""
    pdf: Tuning = field(default_factory=lambda: _tuning(2, 1e-4))
    """The last step of PD-F: the PD student, fine-tuned."""
    running: Running = field(default_factory=Running)
    """How the runs are carried out."""

    @model_validator(mode="after")
    def _recipe_sets_students_and_seeds(self) -> "MethodSettings":
        refuse_set(self.given, {"pretrain.seed": "`seeds`"}, {"seed": 0})
        refuse_set(self, {f"{method}.seed": "`seeds`" for method in TITLES}, {"seed": 0})
        return self


TOY_GIVEN = Given(
    corpus=TOY_CORPUS,
    # Few, for that is where pre-training matters most: docs/log.md.
    transfer=Transfer(sources=("toy:pool",), rows=1_000),
    pretrain=replace(TOY_PRETRAIN, steps=TOY_STEPS),
)
TOY_TEACHER = Teacher(
    teacher_student=TOY_TEACHER_STUDENT,
    # PD follows its teacher, and one that has read less is no better than PF: docs/log.md.
    teacher_pretrain=replace(TOY_TEACHER_PRETRAIN, steps=3_000),
    teacher_tuning=TOY_TEACHER_TUNING,
)
TOY = MethodSettings(
    task=TOY_TASK,
    given=TOY_GIVEN,
    teacher=TOY_TEACHER,
    basic=TOY_TUNING,
    distillation=TOY_DISTILLATION,
    pf=TOY_TUNING,
    pd=TOY_DISTILLATION,
    pdf=replace(TOY_TUNING, epochs=5),
)


SMOKE_GIVEN = Given(corpus=SMOKE_CORPUS, transfer=SMOKE_TRANSFER, pretrain=SMOKE_PRETRAIN)
SMOKE_TEACHER = Teacher(teacher_student="2-128", teacher_pretrain=SMOKE_PRETRAIN, teacher_tuning=SMOKE_TUNING)
SMOKE = MethodSettings(
    # PD-F too: a smoke run shows that every path works.
    methods=tuple(TITLES),
    seeds=(0, 1),
    task=SMOKE_TASK,
    given=SMOKE_GIVEN,
    teacher=SMOKE_TEACHER,
    basic=SMOKE_TUNING,
    distillation=SMOKE_TUNING,
    pf=SMOKE_TUNING,
    pd=SMOKE_TUNING,
    pdf=SMOKE_TUNING,
)
