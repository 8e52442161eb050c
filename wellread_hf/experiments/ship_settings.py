"""From a teacher and a budget to a student that is shown: what `recipes/ship.py` takes, and its presets."""

from dataclasses import field, replace
from typing import Annotated

from pydantic import Field, model_validator
from tyro.conf import arg

from wellread_hf.experiments.methods import (
    SMOKE_GIVEN,
    SMOKE_TEACHER,
    TOY_DISTILLATION,
    TOY_GIVEN,
    TOY_TEACHER,
)
from wellread_hf.experiments.planner import Given, Teacher
from wellread_hf.experiments.sweep_settings import Engine
from wellread_hf.settings import Budget, Export, Measure, Optim, Picking, Running, Task, Tuning
from wellread_hf.settings.fields import FEW, Number, Seed, Several, Vocabulary, checked, each_once, refuse_set
from wellread_hf.stages.presets import SMOKE_TUNING, TOY_TASK
from wellread_hf.students import RELEASED


@checked()
class ShipSettings:
    """A budget, a teacher, text; the rest has defaults."""

    budget: Annotated[Budget, arg(name="")] = field(default_factory=Budget)
    """What a student may cost on this machine; measured before anything is trained."""
    # The largest that fit score most; two more show what is lost where they are not good enough.
    candidates: Several = 3
    """How many sizes to train at most: the largest that fit, by parameters."""
    min_score: Annotated[Number, Field(ge=-100, le=100)] | None = None
    """Lowest score in percent; the lower end of the 95 % interval counts."""
    within: Annotated[Number, Field(ge=0, le=100)] | None = None
    """Most points that it may lose to the teacher; the lower end of the 95 % interval counts."""
    # The fewest from which a spread can be estimated.
    seeds: Annotated[tuple[Seed, ...], FEW, each_once()] = (0, 1, 2)
    """One run of every size a seed; the best seed of each size is exported."""
    task: Task = field(default_factory=Task)
    """What to learn."""
    given: Annotated[Given, arg(name="")] = field(default_factory=lambda: Given(weights=RELEASED))
    """What the students start from; without `weights` they are pre-trained."""
    teacher: Annotated[Teacher, arg(name="")] = field(default_factory=Teacher)
    """Who labels the text."""
    # As in the comparison of methods.
    pd: Tuning = field(default_factory=lambda: Tuning(epochs=6, optim=Optim(learning_rate=5e-4)))
    """Distillation of the students (its `seed` is set by this recipe)."""
    prune: Vocabulary | None = None
    """Keep so many WordPieces of each student, those that the text uses; default: all."""
    export: Export = field(default_factory=Export)
    """How students are exported, and what int8 may lose."""
    measure: Measure = field(default_factory=Measure)
    """How they are measured."""
    publish: str | None = None
    """User or organisation on the Hub that gets the student with its card, and the Space; default: nobody."""
    engine: Annotated[Engine, arg(name="")] = field(default_factory=Engine)
    """Where the runs are carried out."""
    running: Running = field(default_factory=Running)
    """How the runs are carried out."""

    @property
    def picking(self) -> Picking:
        """What the pick has to keep to."""
        return Picking(
            task=self.task.name,
            max_ms=self.budget.max_ms,
            max_mb=self.budget.max_mb,
            min_score=self.min_score,
            within=self.within,
            length=self.budget.length,
            threads=self.budget.threads,
        )

    @model_validator(mode="after")
    def _can_be_shipped(self) -> "ShipSettings":
        self.engine.check_whole()
        refuse_set(self, {"pd.seed": "`seeds`"}, {"seed": 0})
        return self


TOY = ShipSettings(
    # The first two fit, the third does not.
    budget=Budget(students=("2-128", "4-128", "4-512"), max_ms=10, max_mb=4, vocabulary=138),
    candidates=2,
    # A toy's texts have 16 tokens.
    measure=Measure(lengths=(16, 64), threads=(1,), seconds=0.5, starts=1),
    task=TOY_TASK,
    given=TOY_GIVEN,
    teacher=TOY_TEACHER,
    pd=TOY_DISTILLATION,
)

SMOKE = replace(
    TOY,
    budget=Budget(students=("2-128", "4-128"), max_mb=1, vocabulary=138, formats=("onnx-int8",), seconds=0.1),
    measure=Measure(lengths=(64,), threads=(1,), formats=("onnx-fp32", "onnx-int8"), seconds=0.1, starts=1),
    # Answers of a student that has learnt nothing differ by chance, which is no reason to refuse int8.
    export=Export(tolerance=100, agreement=0),
    seeds=(0,),
    # The whole toy task: the tiny one has too few rows to compare graphs on.
    given=SMOKE_GIVEN,
    teacher=SMOKE_TEACHER,
    pd=SMOKE_TUNING,
)
