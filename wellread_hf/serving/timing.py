"""Latency of several candidates beside one another, on a machine that others use as well.

Load slows down whatever runs at that moment. So candidates take turns of a few milliseconds, and each turn is
compared with the reference's turn beside it: absolute times move with the load, these ratios hardly do. While
a call waits for a processor that other programs have, its time does not count.
"""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
import numpy.typing as npt

# More turns narrow the interval no further than the machine's own changes allow.
_TURNS = 40
# Fewer give no interval.
_LEAST_TURNS = 8
_CALLS_A_TURN = 10
# A quantile needs calls beyond it: of fewer than 20 the 95 % one is just the slowest.
_CALLS_FOR = {50: 1, 95: 20, 99: 100}
# What the reference's time may move between the first quarter of the turns and the last one.
STEADY = 0.2


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast as the reference a candidate is, with a 95 % interval over the turns."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of each call of each candidate, without waiting for a processor.

    Attributes:
        seconds: [turns, calls a turn] by candidate, in the order in which they took turns.
    """

    seconds: Mapping[str, npt.NDArray[np.float64]]

    def milliseconds(self, name: str) -> dict[int, float | None]:
        """Returns the quantiles 50, 95 and 99 % of all calls; None where there are too few calls for one."""
        calls = self.seconds[name].ravel()
        return {
            percent: float(1e3 * np.percentile(calls, percent)) if calls.size >= least else None
            for percent, least in _CALLS_FOR.items()
        }

    def ratio(self, name: str, reference: str) -> Ratio:
        """Compares a candidate with another one, turn by turn.

        The ratio is the median over turns of (median of the reference's calls) / (median of the candidate's):
        above 1 the candidate is the faster one. The interval is the percentile bootstrap over turns.
        """
        turns = np.median(self.seconds[reference], axis=1) / np.median(self.seconds[name], axis=1)
        # A fixed seed: the same timings give the same interval.
        drawn = np.random.default_rng(0).integers(len(turns), size=(1_000, len(turns)))
        low, high = np.percentile(np.median(turns[drawn], axis=1), [2.5, 97.5])
        return Ratio(float(np.median(turns)), float(low), float(high))

    def moved(self, reference: str) -> float:
        """Returns by what share the reference's median changed, first quarter of the turns to last."""
        turns = self.seconds[reference]
        # Quarters, since one turn of milliseconds may meet any other process.
        quarter = max(1, len(turns) // 4)
        first, last = np.median(turns[:quarter]), np.median(turns[-quarter:])
        return float(max(first, last) / min(first, last) - 1)

    def steady(self, reference: str) -> bool:
        """Returns whether absolute times may be shown: the reference moved by at most `STEADY`."""
        return self.moved(reference) <= STEADY


def in_turn(calls: Mapping[str, Callable[[], object]], seconds: float = 2.0) -> Timings:
    """Times candidates strictly in turn; each is called equally often.

    So callables that go through the same rows, one a call, stay in step. Before its timed calls of a turn
    each is called once untimed, because the others have filled the caches.

    Args:
        calls: What to time, by name; each computes, for what sleeps costs nothing here.
        seconds: About how long it may take in all; eight turns are taken however long they last.
    """
    for call in calls.values():
        # The first call allocates and may compile.
        call()
    started = perf_counter()
    for call in calls.values():
        call()
    rounds = int(seconds / (perf_counter() - started))
    turns = min(max(rounds // 2, _LEAST_TURNS), _TURNS)
    each = min(max(rounds // turns - 1, 1), _CALLS_A_TURN)
    found: dict[str, list[list[float]]] = {name: [] for name in calls}
    collects = gc.isenabled()
    # As timeit does: a pass over a large program's objects would fall into whichever turn it likes.
    gc.disable()
    try:
        for _ in range(turns):
            for name, call in calls.items():
                call()
                found[name].append([_timed(call) for _ in range(each)])
    finally:
        if collects:
            gc.enable()
    return Timings({name: np.array(turns) for name, turns in found.items()})


def _timed(call: Callable[[], object]) -> float:
    """Returns the shorter one of the wall time and the processors' time.

    Of one thread that shares its processor, the wall time is that of its rivals as well. Several threads take
    more of the processors' time than of the wall's.
    """
    started, used = perf_counter(), process_time()
    call()
    used = process_time() - used
    return min(perf_counter() - started, used)
