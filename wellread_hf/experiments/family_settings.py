"""Students of many sizes, from text to the Hub: what `recipes/family.py` takes, and its presets."""

from dataclasses import field, replace
from typing import Annotated

from pydantic import Field, model_validator
from tyro.conf import arg

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.glue_runs import SMOKE_GLUE, GlueSettings, Method
from wellread_hf.experiments.planner import Given
from wellread_hf.experiments.sweep_settings import Engine
from wellread_hf.hub.push_settings import Publishing
from wellread_hf.settings import Optim, Pretrain, Running, Tuning
from wellread_hf.settings.fields import (
    Number,
    Selected,
    Several,
    Students,
    Whole,
    checked,
    each_once,
    refuse_set,
)
from wellread_hf.stages.presets import SMOKE_PRETRAIN, TOY_CORPUS, TOY_PRETRAIN
from wellread_hf.students import RELEASED, Student, parse_students
from wellread_hf.tasks import parse_glue_tasks


@checked()
class FamilySettings:
    """Which students, how each begins, what all read, and who gets them."""

    students: Students = ("all",)
    """Which of the 24: names, `all`, `h=128` for one width, `l=2` for one depth."""
    adopt: Annotated[Selected, each_once(Student.parse, least=0)] = ()
    """Students that are taken over, in the same words; default: all if `weights` is given, else none."""
    pickle: bool = False
    """Take over weights from pytorch_model.bin where there are no safetensors; only tensors, no code."""
    # Up to what no machine reads.
    tokens: Annotated[Whole, Field(ge=1, le=10**15)] | None = None
    """Tokens that each student reads, as in the paper; default: as `pretrain` says, one pass."""
    hours: Annotated[Number, Field(gt=0, le=1e7)] | None = None
    """Hours of pre-training on this machine for all students together, in place of `tokens`: all read as many
    tokens, those that are grown `grown_share` of them."""
    grow: bool = False
    """Grow students from smaller ones of the family, by stacking layers and copying channels."""
    # A grown student starts near the loss of the smaller one (docs/pretrain.md), so it can read less.
    grown_share: Annotated[Number, Field(gt=0, le=1)] = 0.5
    """Share of the tokens that a grown student reads."""
    tasks: str = "all"
    """GLUE's tasks joined by commas, e.g. `sst2,mrpc`, or `all`."""
    # The fewest from which a spread can be estimated.
    seeds: Several = 3
    """Number of runs of every task: seeds 0, 1, ..."""
    glue: Annotated[GlueSettings, arg(name="")] = field(default_factory=GlueSettings)
    """What students read and learn; with `teachers` they learn every task by PD as well as by PF."""
    publishing: Publishing = field(default_factory=Publishing)
    """Who gets the students with their cards, and their collection; default: nobody."""
    engine: Annotated[Engine, arg(name="")] = field(default_factory=Engine)
    """Where the runs are carried out."""
    running: Running = field(default_factory=Running)
    """How the runs are carried out."""

    @property
    def chosen(self) -> list[Student]:
        """The students by width, then by depth, so that each can grow from one before it."""
        # The default is as a person would type it.
        found = map(Student.parse, parse_students(self.students))
        return sorted(found, key=lambda each: (each.hidden, each.layers))

    @property
    def adopted(self) -> frozenset[Student]:
        """Those of them that are taken over."""
        everyone = self.chosen if self.glue.given.weights is not None else ()
        return frozenset(map(Student.parse, self.adopt) if self.adopt else everyone)

    @property
    def weights(self) -> str:
        """Pattern of the names of what is taken over."""
        return self.glue.given.weights or RELEASED

    @property
    def methods(self) -> tuple[Method, ...]:
        """How each task is learnt."""
        return ("pf", "pd") if self.glue.teachers else ("pf",)

    @model_validator(mode="after")
    def _can_be_made(self) -> "FamilySettings":
        parse_glue_tasks(self.tasks)
        if outside := self.adopted - set(self.chosen):
            raise SettingsError(
                f"`adopt`: expected some of `students`, got {', '.join(map(str, sorted(outside)))} as well; "
                "add them there, or leave them out"
            )
        self.engine.check_whole()
        # Both are of exports, and encoders have none.
        refuse_set(
            self.publishing,
            {name: "`students`" for name in ("revision_int8", "space")},
            {"revision_int8": False, "space": False},
        )
        return self

    @model_validator(mode="after")
    def _has_one_budget(self) -> "FamilySettings":
        if self.tokens is not None and self.hours is not None:
            raise SettingsError(
                f"`tokens` {self.tokens:,} of each and `hours` {self.hours:g} for all are two budgets; leave "
                "out one of the two"
            )
        if self.tokens is not None or self.hours is not None:
            given = "`tokens`" if self.hours is None else "`hours`"
            instead = {f"pretrain.{name}": given for name in ("steps", "minutes", "epochs")}
            refuse_set(
                self.glue.given, instead, {"steps": None, "minutes": None, "epochs": Pretrain().epochs}
            )
        return self


def tokens_a_step(pretrain: Pretrain) -> float:
    """Returns the tokens that a step reads, on average over the phases."""
    phases = zip(pretrain.block_lengths, pretrain.phase_shares, strict=True)
    return pretrain.optim.batch_size * sum(length * share for length, share in phases)


def reading(pretrain: Pretrain, tokens: float) -> Pretrain:
    """Returns a pre-training of so many tokens, to a step."""
    return replace(pretrain, steps=max(1, round(tokens / tokens_a_step(pretrain))))


def check_warm_up(pretrain: Pretrain, share: float = 1.0) -> None:
    """Refuses a pre-training whose steps are too few for one of warm-up.

    Args:
        pretrain: Of one student.
        share: What it reads of the family's tokens.

    Raises:
        SettingsError: They are.
    """
    warmup, a_step = pretrain.optim.warmup, tokens_a_step(pretrain)
    if pretrain.steps is not None and warmup and round(pretrain.steps * warmup) < 1:
        raise SettingsError(
            f"`tokens`: expected at least {a_step / warmup / share:,.0f}, so that "
            f"{Student.parse(pretrain.student)} warms up, got {pretrain.steps * a_step / share:,.0f}, of "
            f"which it reads {pretrain.steps * a_step:,.0f} (steps: {pretrain.steps:,}); give more `tokens` "
            "or `hours`, or a smaller batch"
        )


# Toys of two widths, and the toy world in its smallest size.
SMOKE = FamilySettings(
    students=("2-128", "2-256"),
    # So that a grown one warms up, too.
    tokens=6_000,
    grow=True,
    tasks="stsb",
    seeds=1,
    glue=replace(
        SMOKE_GLUE, given=replace(SMOKE_GLUE.given, pretrain=replace(SMOKE_PRETRAIN, steps=None, toy=True))
    ),
)

TOY = FamilySettings(
    tokens=100_000,
    grow=True,
    tasks="sst2,cola,mrpc,stsb",
    seeds=1,
    glue=GlueSettings(
        data="toy:glue",
        given=Given(corpus=TOY_CORPUS, pretrain=replace(TOY_PRETRAIN, toy=True)),
        tuning=Tuning(epochs=2, evaluations=2, max_length=32, optim=Optim(learning_rate=1e-3, batch_size=8)),
    ),
)
