"""Small real sweeps, run as a user runs them: by the command line, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wellread_hf.results.trials import PLAN, Trial, read_trials

ROOT = Path(__file__).parents[2]


def options(encoder: Path, runs: Path, *more: object) -> list[str]:
    """A grid of two tasks, two learning rates and two seeds over a tiny world; a trial takes a second."""
    small = (
        *("--data", "toy:glue@smoke", "--weights", encoder, "--tasks", "sst2,stsb", "--seeds", 2),
        *("--learning-rates", 1e-3, 1e-4, "--batch-sizes", 8, "--tuning.epochs", 4),
        *("--tuning.max-length", 32),
    )
    return [str(word) for word in (*small, *more, "--running.runs", runs)]


@contextmanager
def started(*words: str, recipe: str = "sweep") -> Iterator[subprocess.Popen[str]]:
    """Starts a recipe in a process group of its own, which is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "recipes" / f"{recipe}.py"), *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def rows(runs: Path) -> list[Trial]:
    """The trials that have ended so far."""
    found = list(runs.glob(f"sweep-*/{PLAN}"))
    return read_trials(found[0].parent) if found else []


def ended(runs: Path) -> dict[str, int]:
    """When each trial that is done was recorded, in nanoseconds: nothing is trained twice."""
    done = [trial.folder for trial in rows(runs) if trial.state == "done"]
    return {folder: (runs / folder / "stage.json").stat().st_mtime_ns for folder in done}


def wait_for(happened: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Waits until something has happened; fails if the process ends before."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def results(runs: Path) -> dict[str, dict[str, Any]]:
    """What must be the same however often a sweep was disturbed: all but times."""
    return {
        trial.folder: {name: value for name, value in asdict(trial).items() if name != "seconds"}
        for trial in rows(runs)
    }


def boards(runs: Path) -> dict[str, str]:
    """The scoreboards that the sweep left, by folder."""
    return {folder.name: (folder / "results.json").read_text() for folder in runs.glob("glue-*")}
