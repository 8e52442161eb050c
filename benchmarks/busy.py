"""Several pre-trainings at once on one machine, and what sharing it costs a run that is alone.

  python -m benchmarks --only busy
  GOMP_SPINCOUNT=3000 python -m benchmarks --only busy --out FOLDER

Ours is a process as our programs start it; the second line tries another number of spins. It is measured
beside a process with torch's own setting, both alone, and three on two processors at once beside their fair
share: what one process with one thread takes alone, times three, on two processors.
"""

import contextlib
import io
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sides import Turns, our_trainer
from wellread_hf.cli.exits import share_processors
from wellread_hf.students import Student

NAME = "busy"
_SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
# Student: (tokens a block, blocks a batch, words, steps a turn). The first is the student of `make demo`.
CASES = {
    Student(2, 128): (17, 64, 200, 40),
    Student(2, 256): (17, 64, 200, 15),
    Student(4, 256): (128, 32, 30_522, 2),
}
ALONE, TOGETHER = 0.97, 0.67


def run(rounds: int, quick: bool) -> list[Figure]:
    """Measures the students one after another."""
    figures = []
    for student, (*sizes, steps) in CASES.items():
        figures += _case(student, sizes, 1 if quick else steps, rounds)
        if quick:
            break
    return figures


def _case(student: Student, sizes: list[int], steps: int, rounds: int) -> list[Figure]:
    processors = len(os.sched_getaffinity(0))
    with _environment({}):
        default = Run(student, sizes)
    with _environment({"OMP_NUM_THREADS": "1"}):
        single = Run(student, sizes)
    with _environment({name: os.environ[name] for name in _SETTINGS if name in os.environ}):
        share_processors()
        ours = [Run(student, sizes) for _ in range(3 * processors // 2)]
        setting = ", ".join(f"{name}={os.environ[name]}" for name in _SETTINGS if name in os.environ)

    def together() -> float:
        for each in ours:
            each.start(steps)
        return mean(each.seconds() for each in ours)

    def fair() -> float:
        return single.steps(steps) * len(ours) / processors

    measured = {
        "alone": (setting, "torch's own", ALONE, lambda: ours[0].steps(steps), lambda: default.steps(steps)),
        f"{len(ours)} on {processors}": (setting, "the fair share", TOGETHER, together, fair),
        "alone, one thread": (
            "one thread",
            "torch's own",
            None,
            lambda: single.steps(steps),
            lambda: default.steps(steps),
        ),
    }
    figures = []
    for case, (mine, other, target, run_mine, run_other) in measured.items():
        values, others = in_turn(run_mine, run_other, rounds)
        figures.append(
            Figure(
                benchmark=NAME,
                case=f"{student.name.removeprefix('bert-')}, {case}",
                ours=mine,
                theirs=other,
                unit="s",
                ours_values=values,
                theirs_values=others,
                ratios=compared(values, others, "lower"),
                target=target,
                better="lower",
                same="the same program",
            )
        )
    for each in (*ours, single, default):
        each.close()
    return figures


class Run:
    """A pre-training in a process of its own, with what this one's environment says when it is made."""

    def __init__(self, student: Student, sizes: list[int]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there, student, *sizes), daemon=True)
        self.process.start()
        there.close()

    def start(self, steps: int) -> None:
        """Begins to train so many steps."""
        self.pipe.send(steps)

    def seconds(self) -> float:
        """Waits for them; returns how long they took."""
        return float(self.pipe.recv())

    def steps(self, count: int) -> float:
        """Trains so many steps; returns the seconds."""
        self.start(count)
        return self.seconds()

    def close(self) -> None:
        """Ends the process."""
        self.pipe.send(None)
        self.process.join()


def _serve(pipe: Connection, student: Student, *sizes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trainer = our_trainer(student, Path(folder), *sizes)
        trainer.add_callback(Turns(pipe))
        # The last checkpoint is no part of a step.
        trainer.args.save_strategy = "no"
        # Progress bars of several processes would cross.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            trainer.train()


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Leaves of what OpenMP reads only this, for processes that are started meanwhile."""
    before = {name: os.environ.pop(name) for name in _SETTINGS if name in os.environ}
    os.environ.update(settings)
    yield
    for name in _SETTINGS:
        os.environ.pop(name, None)
    os.environ.update(before)
