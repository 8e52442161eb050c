"""Measure finished models on this machine, beside one another: from a text to its label, in each format.

Reads models, their exports if there are any, and a task; writes runs/measure-...: measurements.json.
Candidates take turns, so ratios hold while other programs run; milliseconds need a steady machine.

  wellread measure runs/distill-... MY-TEACHER --task sst2
  wellread measure runs/export-... --task mine.yaml --lengths 16 64 --threads 1
  wellread measure 2-128 4-256 --vocabulary 11000
"""

from dataclasses import field
from typing import Annotated

from tyro.conf import Positional, arg

from wellread_hf import stages
from wellread_hf.cli.costs import show_measurement
from wellread_hf.cli.recipe import Recipe
from wellread_hf.errors import SettingsError
from wellread_hf.settings import Measure, Running, Task
from wellread_hf.settings.fields import checked
from wellread_hf.stages.presets import SMOKE_TASK, SMOKE_TEACHER
from wellread_hf.store.stage import Stage

NO_ROWS = Task(name="none")


@checked()
class Settings:
    models: Positional[tuple[str, ...]] = ()
    """Classifiers or their exports: folders or Hub ids (`NAME@REVISION`), or students, e.g. `2-128`, with
    random weights; the first is the reference."""
    task: Task = NO_ROWS
    """Its validation rows are measured as they are, and their words at given lengths; default: no rows."""
    measure: Annotated[Measure, arg(name="")] = field(default_factory=Measure)
    """What is measured."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    if not s.models:
        raise SettingsError("`models`: expected models to measure, got none; give folders or Hub ids")
    return [stages.measure(s.models, None if s.task == NO_ROWS else s.task, s.measure, s.running)]


SMOKE = Settings(
    models=(SMOKE_TEACHER,),
    task=SMOKE_TASK,
    measure=Measure(lengths=(16,), threads=(1,), seconds=0.1, starts=1),
)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_measurement,
    presets={"smoke": SMOKE},
    first="task task.data lengths batch threads formats seconds runs",
)

if __name__ == "__main__":
    RECIPE.run()
