"""Measuring two things in turn, and the memory of one thing in a process of its own."""

import gc
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def in_turn(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Calls ours, theirs, ours, theirs, ...; returns what they returned, after one warm-up of each.

    A machine that others use changes its speed by the minute: only what was measured side by side compares.
    """
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for side, values in zip((ours, theirs), found, strict=True):
            gc.collect()
            value = side()
            if number:
                values.append(value)
    return tuple(found[0]), tuple(found[1])


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a module's function returns in a fresh process, which nothing ran in before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class Peak:
    """The peak of this process's resident memory since it was made, above what it was then, in MB."""

    def __init__(self) -> None:
        gc.collect()
        self.before = _resident("VmRSS")
        self.highest = self.before
        try:
            _CLEAR.write_text("5")  # resets VmHWM (proc(5))
        except OSError:
            # Containers may forbid it; then memory is looked at every few milliseconds.
            threading.Thread(target=self._look, daemon=True).start()
            self.resets = False
        else:
            self.resets = True

    @property
    def megabytes(self) -> float:
        """The peak so far."""
        return (_resident("VmHWM") if self.resets else self.highest) - self.before

    def _look(self) -> None:
        while True:
            self.highest = max(self.highest, _resident("VmRSS"))
            time.sleep(0.005)


def _resident(field: str) -> float:
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise OSError(f"{_STATUS} has no {field}; memory is measured on Linux only")


@contextmanager
def seconds() -> Iterator[list[float]]:
    """Appends how long the block took to the list that it gives."""
    took: list[float] = []
    started = time.perf_counter()
    yield took
    took.append(time.perf_counter() - started)
