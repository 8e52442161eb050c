"""The engines: one after another in this process, or side by side on Ray."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.sweep.address import check_address
from wellread_hf.experiments.sweep.jobs import Job, Result, Runs, attempt
from wellread_hf.experiments.sweep.settings import Engine


def in_this_process(jobs: Sequence[Job], ended: Callable[[Job, Result], None]) -> None:
    """Does one job after another."""
    for job in jobs:
        ended(job, attempt(job.stage))


def check_engine(settings: Engine) -> None:
    """Makes sure that the engine is there, before anything is read or trained.

    Raises:
        SettingsError: Ray is not installed, or the address is none.
        SourceError: There is no Ray cluster at the address.
    """
    if settings.engine == "process":
        return
    # Loading it takes seconds, and is not needed for a look.
    if find_spec("ray") is None:
        raise _missing("there is no package ray")
    if settings.address is not None:
        check_address(settings.address)


@contextmanager
def engine(settings: Engine, folder: Path, needed: bool) -> Iterator[Runs]:
    """Opens the engine that settings name; Ray is started only where it is `needed`."""
    if settings.engine == "process" or not needed:
        yield in_this_process
        return
    try:
        from wellread_hf.experiments.sweep.on_ray import connected
    except ImportError as error:
        # Ray alone, without what Ray Tune needs.
        raise _missing(str(error)) from error
    with connected(settings, folder) as run:
        yield run


def _missing(what: str) -> SettingsError:
    return SettingsError(
        f"`engine` ray needs Ray with Ray Tune, but {what}; install it with "
        '`pip install "wellread-hf[cluster]"`'
    )
