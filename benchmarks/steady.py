"""Whether two measurements of latency give the same ratios while other programs run.

  python -m benchmarks --only steady --rounds 5

The smallest student is measured from text to label in each format, as `wellread budget` does it, beside a
busy process for each processor. Two such runs' ratios to torch are compared.
"""

import contextlib
import io
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.pairs import in_turn
from wellread_hf.settings import Budget, Running
from wellread_hf.stages import budget
from wellread_hf.store.graph import carry_out

NAME = "steady"
AGREES = 0.95
# An overhead of microseconds weighs most in the smallest one.
STUDENT = "bert-2-128"

Outcome = dict[str, tuple[float, float | None]]


def run(rounds: int, quick: bool) -> list[Figure]:
    """Measures twice a round."""
    found: list[Outcome] = []

    def side() -> float:
        found.append(_ratios(0.1 if quick else 2.0))
        return 0.0

    in_turn(side, side, rounds)
    # The first pair of `in_turn` is a warm-up.
    return [_figure(name, [each[name] for each in found[2:]]) for name in found[0] if name != "torch"]


def _ratios(seconds: float) -> Outcome:
    """Returns of each format how many times as fast as torch it is, and its milliseconds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _load(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        stage = budget(Budget(students=(STUDENT,), seconds=seconds), Running(runs=Path(folder)))
        carry_out([stage])
        candidates = stage.record.outcome["candidates"]
    points = {each["format"]: each["latency"][0] for each in candidates}
    return {name: (point["ratio"], point["p50_ms"]) for name, point in points.items()}


@contextmanager
def _load() -> Iterator[None]:
    """Keeps every processor busy with a process of its own."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_burn, daemon=True) for _ in os.sched_getaffinity(0)]
    for process in processes:
        process.start()
    yield
    for process in processes:
        process.terminate()
        process.join()


def _burn() -> None:
    matrix = np.random.default_rng(0).random((300, 300))
    while True:
        matrix @ matrix


def _figure(name: str, found: list[tuple[float, float | None]]) -> Figure:
    first, second = (tuple(ratio for ratio, _ in found[run::2]) for run in (0, 1))
    times = [ms for _, ms in found if ms is not None]
    return Figure(
        benchmark=NAME,
        case=f"{STUDENT}, {name}",
        ours="one run",
        theirs="the next",
        unit="times as fast as torch",
        ours_values=first,
        theirs_values=second,
        # How near the two are, whichever is higher.
        ratios=tuple(min(a, b) / max(a, b) for a, b in zip(first, second, strict=True)),
        target=AGREES,
        better="higher",
        same="the same student, text and formats",
        note=f"{min(times):.2f} to {max(times):.2f} ms" if times else "no ms: the reference moved",
    )
