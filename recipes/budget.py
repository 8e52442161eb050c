"""Measure which of the 24 students fit a budget on this machine, before any is trained.

Latency does not depend on the weights, so they are random. Writes runs/budget-...: measurements.json; other
limits read the same measurement again. Status 3: nothing fits.

  wellread budget --max-ms 2 --max-mb 20
  wellread budget --max-ms 5 --length 128 --vocabulary 11000 --quick
"""

from dataclasses import field
from typing import Annotated

from tyro.conf import arg

from wellread_hf import stages
from wellread_hf.cli.costs import show_budget
from wellread_hf.cli.recipe import Recipe
from wellread_hf.settings import Budget, Running
from wellread_hf.settings.fields import checked
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    budget: Annotated[Budget, arg(name="")] = field(default_factory=Budget)
    """The limits, and what is measured."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    return [stages.budget(settings.budget, settings.running)]


SMOKE = Settings(budget=Budget(students=("2-128", "4-128"), max_mb=4, vocabulary=200, seconds=0.1))


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_budget,
    presets={"smoke": SMOKE},
    first="max-ms max-mb length threads vocabulary students quick formats runs",
)

if __name__ == "__main__":
    RECIPE.run()
