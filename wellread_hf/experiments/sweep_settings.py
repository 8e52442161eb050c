"""What a sweep goes over, and where its trials are carried out."""

from dataclasses import field, replace
from math import prod
from typing import Annotated, Literal

from pydantic import Field, model_validator
from tyro.conf import arg

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.glue_runs import SMOKE_GLUE, GlueSettings, Method
from wellread_hf.settings import Running
from wellread_hf.settings.fields import FEW, Batch, Number, Rate, Several, Students, checked, each_once
from wellread_hf.tasks import parse_glue_tasks

# Far above the largest sweep so far; it is planned in a minute.
_MOST_TRIALS = 100_000
_FOR_RAY = ("address", "asha", "retries", "trial_cpus", "trial_gpus")


@checked()
class Engine:
    """Where trials are carried out."""

    # Needs no other package, and no cluster.
    engine: Literal["process", "ray"] = "process"
    """`process`: one after another in this process; `ray`: side by side on Ray (`wellread-hf[cluster]`)."""
    address: str | None = None
    """A Ray cluster that runs already, `HOST:PORT` or `auto`; default: one of this machine's own."""
    # Which trials ASHA stops depends on the order in which they end, so two runs may differ.
    asha: bool = False
    """Stop poor trials early, by asynchronous successive halving (ASHA) over the evaluations. With `ray`."""
    retries: Annotated[int, Field(ge=0, le=1_000)] | None = None
    """Times that a trial whose machine was lost is started again, from its checkpoint; default: 2. With
    `ray`."""
    trial_cpus: Annotated[Number, Field(gt=0, le=10_000)] | None = None
    """CPUs of a trial; default: 1, 2 or 4 by the student's size. With `ray`."""
    trial_gpus: Annotated[Number, Field(ge=0, le=10_000)] | None = None
    """GPUs of a trial, also a share of one; default: 1/8 to 1 by the student's size, 0 where the cluster has
    none. With `ray`."""

    def check_whole(self) -> None:
        """Refuses to stop runs early.

        Raises:
            SettingsError: `asha` is set.
        """
        if self.asha:
            raise SettingsError(
                "`asha` stops poor runs early, but the spread over seeds needs all of them; leave it out"
            )

    @model_validator(mode="after")
    def _options_fit_the_engine(self) -> "Engine":
        for_ray = {name: getattr(self, name) for name in _FOR_RAY}
        given = [f"`{name}`" for name, value in for_ray.items() if value is not None and value is not False]
        if self.engine != "ray" and given:
            raise SettingsError(
                f"{', '.join(given)}: expected with `engine` ray, got `engine` process; add `engine` ray"
            )
        if self.trial_gpus is not None and self.trial_gpus > 1 and not float(self.trial_gpus).is_integer():
            raise SettingsError(
                f"`trial_gpus` is a share of one GPU or a whole number of them, got {self.trial_gpus}"
            )
        return self


@checked()
class SweepSettings:
    """A grid, all of it: every student, task, method, learning rate, batch size and seed together."""

    # The fastest to train.
    students: Students = ("2-128",)
    """Which of the 24 students: names, `all`, `h=128` for one width, `l=2` for one depth."""
    tasks: str = "all"
    """GLUE's tasks joined by commas, e.g. `sst2,mrpc`, or `all`."""
    # As the release was fine-tuned.
    methods: Annotated[tuple[Method, ...], each_once()] = ("pf",)
    """`pf` fine-tunes on labels, `pd` distils from `teachers`; `basic` and `distillation` are the same from
    random weights."""
    # The grid of the release's model cards.
    learning_rates: Annotated[tuple[Rate, ...], FEW, each_once()] = (3e-4, 1e-4, 5e-5, 3e-5)
    """Peak learning rates."""
    batch_sizes: Annotated[tuple[Batch, ...], FEW, each_once()] = (8, 16, 32, 64, 128)
    """Rows a step."""
    # The fewest from which a spread can be estimated.
    seeds: Several = 3
    """Number of runs of every point: seeds 0, 1, ...; the point with the best mean on dev is chosen."""
    engine: Annotated[Engine, arg(name="")] = field(default_factory=Engine)
    """Where the trials are carried out."""
    glue: Annotated[GlueSettings, arg(name="")] = field(default_factory=GlueSettings)
    """What the trials have in common; learning rate, batch size and seed are the grid's."""
    running: Running = field(default_factory=Running)
    """How the trials are carried out."""

    @model_validator(mode="after")
    def _grid_can_be_run(self) -> "SweepSettings":
        tasks = parse_glue_tasks(self.tasks)
        parts = (self.students, tasks, self.methods, self.learning_rates, self.batch_sizes, range(self.seeds))
        if (trials := prod(map(len, parts))) > _MOST_TRIALS:
            raise SettingsError(
                f"expected a grid of at most {_MOST_TRIALS:,} trials, got {trials:,} (students, tasks, "
                "methods, learning rates, batch sizes and seeds, each with each); leave some out"
            )
        given, unset = self.glue.tuning, GlueSettings().tuning
        for named, differs, instead in (
            ("optim.learning_rate", given.optim.learning_rate != unset.optim.learning_rate, "learning_rates"),
            ("optim.batch_size", given.optim.batch_size != unset.optim.batch_size, "batch_sizes"),
        ):
            if differs:
                raise SettingsError(
                    f"`tuning.{named}`: a sweep goes over it, so expected it in `{instead}`; leave it out"
                )
        random = [method for method in self.methods if method in ("basic", "distillation")]
        if self.glue.lora.lora_rank is not None and random:
            raise SettingsError(
                f"`lora_rank` {self.glue.lora.lora_rank} keeps the encoder's weights as they are, and "
                f"those of {' and '.join(random)} are random; leave out one or the other"
            )
        if self.glue.from_mnli and "mnli" not in tasks:
            raise SettingsError(
                "`from_mnli`: the models of MNLI that other tasks start from are trials too, so expected "
                f"mnli among `tasks`, got {','.join(tasks)}; add mnli"
            )
        return self


# Eight trials.
SMOKE = SweepSettings(
    tasks="sst2,stsb",
    methods=("pf", "pd"),
    learning_rates=(1e-3, 3e-4),
    batch_sizes=(8,),
    seeds=1,
    # The learning rate and the batch size are the grid's.
    glue=replace(SMOKE_GLUE, tuning=replace(SMOKE_GLUE.tuning, optim=GlueSettings().tuning.optim)),
)
