"""Whether ratios of latencies stay the same while other programs run: the promise of `wellread measure`.

  python -m benchmarks --only steady --rounds 5

A student is measured from text to label in each format, as `wellread budget` does it: beside a busy process
for each processor, and without these. Absolute times double; how many times as fast as torch a format is
should change by at most 5 %.
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
STUDENTS = ("bert-2-128", "bert-4-256")
# An interval of a few percent needs as many turns as there are.
_SECONDS = 2.0

Outcome = dict[str, tuple[float, float | None]]


def run(rounds: int, quick: bool) -> list[Figure]:
    """Measures each student beside load and without, in turn."""
    figures = []
    for student in STUDENTS[: 1 if quick else None]:
        found: dict[bool, list[Outcome]] = {True: [], False: []}

        def side(loaded: bool, student: str = student, found: dict[bool, list[Outcome]] = found) -> float:
            found[loaded].append(_ratios(student, loaded, 0.1 if quick else _SECONDS))
            return 0.0

        in_turn(lambda: side(True), lambda: side(False), rounds)
        figures += [_figure(student, name, found) for name in found[True][0] if name != "torch"]
    return figures


def _ratios(student: str, loaded: bool, seconds: float) -> Outcome:
    """Returns of each format how many times as fast as torch it is, and its milliseconds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _load(loaded),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        stage = budget(Budget(students=(student,), seconds=seconds), Running(runs=Path(folder)))
        carry_out([stage])
        candidates = stage.record.outcome["candidates"]
    points = {each["format"]: each["latency"][0] for each in candidates}
    return {name: (point["ratio"], point["p50_ms"]) for name, point in points.items()}


@contextmanager
def _load(wanted: bool) -> Iterator[None]:
    """Keeps every processor busy with a process of its own, if that is wanted."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_burn, daemon=True) for _ in os.sched_getaffinity(0) if wanted]
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


def _figure(student: str, name: str, found: dict[bool, list[Outcome]]) -> Figure:
    # The first round of `in_turn` is a warm-up.
    loaded, quiet = ([each[name] for each in found[side][1:]] for side in (True, False))
    ours, theirs = (tuple(ratio for ratio, _ in each) for each in (loaded, quiet))
    shown = [
        "none shown" if not times else f"{min(times):.2f} to {max(times):.2f}"
        for times in ([ms for _, ms in each if ms is not None] for each in (loaded, quiet))
    ]
    return Figure(
        benchmark=NAME,
        case=f"{student}, {name}",
        ours="beside load",
        theirs="without",
        unit="times as fast as torch",
        ours_values=ours,
        theirs_values=theirs,
        # How far the two are apart, whichever is higher.
        ratios=tuple(min(a, b) / max(a, b) for a, b in zip(ours, theirs, strict=True)),
        target=AGREES,
        better="higher",
        same="the same student, text and formats",
        note=f"ms beside load {shown[0]}, without {shown[1]}",
    )
