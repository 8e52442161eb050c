"""Jobs of a sweep, and what becomes of them."""

import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wellread_hf.errors import BusyError, DiskFullError, WellreadError
from wellread_hf.results.trials import State
from wellread_hf.store.graph import Stage, carry_out
from wellread_hf.store.progress import quiet, say
from wellread_hf.store.records import write_atomically
from wellread_hf.students import Student

# Where a stage's folder keeps what went wrong, for whoever looks for more than one line.
TRACEBACK = "error.txt"
# Between two looks at a folder in which somebody else works.
_LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stage whose needs are finished, and what it takes.

    Attributes:
        stage: What to do.
        student: Whose size decides about CPUs and GPUs; None: as large as they come.
        compared: Jobs of the same name are compared for early stopping; None: never stopped.
        metric: The score that compares them.
    """

    stage: Stage
    student: Student | None
    compared: str | None = None
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a job.

    Attributes:
        state: `done`, `failed` or `stopped`.
        host: The machine that did it.
        seconds: Wall time, of this sitting.
        scores: Of the last evaluation, 0 to 1; only where it was stopped.
        error: Why it failed, in one line.
    """

    state: State
    host: str
    seconds: float
    scores: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


class Runs(Protocol):
    """An engine: does jobs in whatever order, and tells of each as soon as it has ended."""

    def __call__(self, jobs: Sequence[Job], ended: Callable[[Job, Result], None]) -> None:
        """Does all jobs; `ended` is called in the process of the caller."""


def attempt(stage: Stage) -> Result:
    """Carries out a stage; whatever goes wrong becomes a result, and a traceback in the stage's folder.

    Raises:
        DiskFullError: Others would fail alike.
    """
    started = time.monotonic()
    error = None
    try:
        _when_free(stage)
    except DiskFullError:
        raise
    except WellreadError as refused:
        error = " ".join(str(refused).split())
    except Exception as fault:  # of whatever kind, memory that ran out above all: the others go on
        error = " ".join(f"{type(fault).__name__}: {fault}".split())
        if stage.folder.is_dir():
            write_atomically(stage.folder / TRACEBACK, traceback.format_exc())
    if error is None:
        (stage.folder / TRACEBACK).unlink(missing_ok=True)
    return Result(
        state="done" if error is None else "failed",
        host=socket.gethostname(),
        seconds=time.monotonic() - started,
        error=error,
    )


def _when_free(stage: Stage) -> None:
    """Carries out a stage, or waits for whoever works on it, another sweep for one."""
    told = False
    while True:
        try:
            with quiet():
                return carry_out([stage])
        except BusyError as busy:
            if not told:
                say(f"waits: {busy}")
            told = True
            time.sleep(_LOOK_AGAIN_SECONDS)
