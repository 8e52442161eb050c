"""What `recipes/sweep.py` and `wellread sweep` do, each with the same options."""

from collections.abc import Sequence
from functools import lru_cache

from wellread_hf.experiments.sweep.account import best_table, show_best, show_plan
from wellread_hf.experiments.sweep.engine import check_engine
from wellread_hf.experiments.sweep.grid import Grid
from wellread_hf.experiments.sweep.running import sweep, trials_over
from wellread_hf.experiments.sweep.settings import SweepSettings, smoke_sweep
from wellread_hf.results.trials import best_points
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
    grid = _grid(settings)
    trials = trials_over(grid, stage.folder).values()
    table = best_table(grid, best_points(trials, range(settings.seeds)), trials, [])
    show_best(stage.folder, table, stage.record.outcome["scoreboards"])


def preview(settings: SweepSettings, stages: Sequence[Stage]) -> None:
    """Prints how many trials there are, what is done, and how long the rest will take."""
    grid = _grid(settings)
    show_plan(grid, trials_over(grid, stages[0].folder))
