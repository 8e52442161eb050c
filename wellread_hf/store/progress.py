"""Progress bars of the main process; what is over in a moment shows none."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_SECONDS_WITHOUT = 2
# Whether bars and lines are left out: a sweep has one bar for all its trials.
_QUIET = ContextVar("_QUIET", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps bars and lines of what runs inside from being shown."""
    before = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(before)


def is_main_process() -> bool:
    """Returns whether this is the first process of a launch, before anything is set up."""
    # Launchers set RANK; accelerate would know as well, but loads torch.
    return os.environ.get("RANK", "0") == "0"


def bar(doing: str, unit: str, total: int | None = None, **more: Any) -> "tqdm[Any]":
    """Opens a bar.

    Args:
        doing: What is going on, e.g. `labelling`.
        unit: What is counted, e.g. `rows`.
        total: How many there are, if that is known.
        **more: As for `tqdm`.
    """
    from tqdm import tqdm

    shown = {"delay": _SECONDS_WITHOUT, "disable": not _shows()} | more
    return tqdm(desc=doing, unit=f" {unit}", total=total, **shown)


def say(line: str) -> None:
    """Prints a line above the bars, on stderr."""
    from tqdm import tqdm

    if _shows():
        tqdm.write(line, file=sys.stderr)


def log(line: str) -> None:
    """Prints a line of the run's account, on stdout."""
    if _shows():
        print(line, flush=True)


def _shows() -> bool:
    return is_main_process() and not _QUIET.get()
