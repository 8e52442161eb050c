"""Progress bars of the main process; what is over in a moment shows none."""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_SECONDS_WITHOUT = 2


def is_main_process() -> bool:
    """Tells whether this is the first process of a launch, before anything is set up."""
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

    shown = {"delay": _SECONDS_WITHOUT, "disable": not is_main_process()} | more
    return tqdm(desc=doing, unit=f" {unit}", total=total, **shown)


def say(line: str) -> None:
    """Prints a line above the bars, on stderr."""
    from tqdm import tqdm

    if is_main_process():
        tqdm.write(line, file=sys.stderr)
