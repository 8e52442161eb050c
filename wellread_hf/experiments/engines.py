"""Where jobs are carried out: one after another in this process, or side by side on Ray."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from wellread_hf.errors import SettingsError
from wellread_hf.experiments import scheduler
from wellread_hf.experiments.ray_address import check_address
from wellread_hf.experiments.sweep_settings import Engine
from wellread_hf.store.graph import processes


def check_engine(settings: Engine) -> None:
    """Makes sure that the engine is there, before anything is read or trained.

    Raises:
        SettingsError: Ray is not installed, or the address is none.
        SourceError: There is no Ray cluster at the address.
    """
    if settings.engine == "process":
        return
    # Importing it takes seconds, and a look for the package does here.
    if find_spec("ray") is None:
        raise _missing("there is no package ray")
    if settings.address is not None:
        check_address(settings.address)


@contextmanager
def opened(settings: Engine, folder: Path) -> Iterator[scheduler.Engine]:
    """Opens the engine that settings name, for jobs of the stage in `folder`.

    Raises:
        SettingsError: There are several processes, or Ray is not installed.
        SourceError: There is no Ray cluster at the address.
    """
    if (count := processes().num_processes) > 1:
        raise SettingsError(
            f"each run is trained in one process: expected one, got {count}; start it with python instead of "
            "accelerate launch, and for runs side by side take `engine` ray"
        )
    if settings.engine == "process":
        yield scheduler.in_this_process
        return
    try:
        from wellread_hf.experiments.on_ray import connected
    except ImportError as error:
        # Ray alone, without what Ray Tune needs.
        raise _missing(str(error)) from error
    with ExitStack() as stack:
        # Ray takes seconds to start, so a rerun with nothing to do leaves it alone.
        cluster: list[scheduler.Engine] = []

        def engine(jobs: Sequence[scheduler.Job], on_end: scheduler.OnEnd) -> None:
            if jobs:
                if not cluster:
                    cluster.append(stack.enter_context(connected(settings, folder)))
                cluster[0](jobs, on_end)

        yield engine


def _missing(what: str) -> SettingsError:
    return SettingsError(
        f"`engine` ray needs Ray with Ray Tune, but {what}; install it with "
        'pip install "wellread-hf[cluster]"'
    )
