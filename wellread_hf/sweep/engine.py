"""The engines: one after another in this process, or side by side on Ray."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wellread_hf.errors import SettingsError
from wellread_hf.sweep.jobs import Job, Result, Runs, attempt
from wellread_hf.sweep.settings import Engine


def in_this_process(jobs: Sequence[Job], ended: Callable[[Job, Result], None]) -> None:
    """Does one job after another."""
    for job in jobs:
        ended(job, attempt(job.stage))


@contextmanager
def engine(settings: Engine, folder: Path, needed: bool) -> Iterator[Runs]:
    """Opens the engine that settings name; Ray is started only where it is `needed`.

    Raises:
        SettingsError: Ray is not installed.
        SourceError: There is no Ray cluster at the address.
    """
    if settings.engine == "process" or not needed:
        yield in_this_process
        return
    try:
        from wellread_hf.sweep.on_ray import connected
    except ImportError as error:
        raise SettingsError(
            f"--engine ray needs Ray, which is not installed ({error}); install it with "
            '`pip install "wellread-hf[cluster]"`'
        ) from error

    with connected(settings, folder) as run:
        yield run
