"""What `recipes/sweep.py` and `wellread sweep` do, each with the same options."""

from collections.abc import Sequence
from functools import lru_cache

from wellread_hf.experiments.sweep.account import show_best, show_plan
from wellread_hf.experiments.sweep.engine import check_engine
from wellread_hf.experiments.sweep.grid import Grid
from wellread_hf.experiments.sweep.running import BEST, sweep, trials_over
from wellread_hf.experiments.sweep.settings import SweepSettings, smoke_sweep
from wellread_hf.results.trials import TABLE
from wellread_hf.store.graph import Stage

__all__ = ["SweepSettings", "plan", "preview", "ready", "show", "smoke_sweep"]


# A grid of thousands takes seconds to plan, and its preview needs it again.
@lru_cache(maxsize=1)
def _grid(settings: SweepSettings) -> Grid:
    return Grid(settings)


def ready(settings: SweepSettings) -> None:
    """Makes sure that the engine is there, before anything is read or trained."""
    check_engine(settings.engine)


def plan(settings: SweepSettings) -> list[Stage]:
    """Plans a sweep: one stage."""
    _grid.cache_clear()
    return [sweep(_grid(settings))]


def show(settings: SweepSettings, stages: Sequence[Stage]) -> None:
    """Prints the chosen points of a finished sweep."""
    (stage,) = stages
    show_best(stage.folder, (stage.folder / BEST).read_text(), stage.record.outcome["scoreboards"])


def preview(settings: SweepSettings, stages: Sequence[Stage]) -> None:
    """Prints how many trials there are, what is done, and how long the rest will take."""
    grid = _grid(settings)
    show_plan(grid, trials_over(grid, stages[0].folder / TABLE))
