"""Recipes as real processes that can be killed, without paying for the imports every time.

A server process imports the libraries once and is forked for every run; a run is the recipe's own file,
run as `__main__` with a command line, and writes to a file of its own.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"
_PATIENCE = 300.0
_PRELOAD = [
    "tyro",
    "datasets",
    "wellread_hf.stages",
    "wellread_hf.data.rows",
    "wellread_hf.metrics.glue_metric.glue_metric",
    "wellread_hf.models.infer",
    "wellread_hf.models.save",
    "wellread_hf.training.pretraining",
    "wellread_hf.labelling.label_rows",
    "wellread_hf.training.tuning",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "transformers.models.auto.modeling_auto",
]


class Run:
    """One process that runs a recipe."""

    def __init__(self, process: BaseProcess, output: Path) -> None:
        self.process, self._output = process, output

    @property
    def output(self) -> str:
        return self._output.read_text().replace("\r", "\n") if self._output.is_file() else ""

    def wait(self) -> int:
        """Waits for the end; returns the exit status (negative: the signal that killed it)."""
        self.process.join(_PATIENCE)
        assert self.process.exitcode is not None, f"still running after {_PATIENCE} s: {self.output}"
        return self.process.exitcode

    def signal_when(self, ready: Callable[[], bool], number: signal.Signals = signal.SIGKILL) -> int:
        """Sends a signal as soon as `ready` says so; returns the exit status."""
        end = time.monotonic() + _PATIENCE
        while not ready():
            assert self.process.is_alive(), f"ended before the signal: {self.output}"
            assert time.monotonic() < end, f"was never ready for the signal: {self.output}"
            time.sleep(0.001)
        os.kill(self.process.pid or 0, number)
        if number == signal.SIGINT:
            # Python drops an interrupt that falls into a finalizer; a person presses again.
            while self.process.is_alive() and time.monotonic() < end:
                self.process.join(0.5)
                if self.process.is_alive() and "interrupted" not in self.output:
                    os.kill(self.process.pid or 0, number)
        return self.wait()


class Recipes:
    """Starts recipes; the output of each goes to a file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        # One thread for everybody, so that the bits of two runs can be compared.
        os.environ["OMP_NUM_THREADS"] = "1"
        # Read when transformers is imported, which the server does before a recipe could say so.
        os.environ["TRANSFORMERS_VERBOSITY"] = "error"
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(_PRELOAD)

    def start(self, name: str, *options: object) -> Run:
        self.count += 1
        output = self.folder / f"{self.count}-{name}.log"
        command = [str(RECIPES / f"{name}.py"), *map(str, options)]
        process = self.context.Process(target=_run, args=(command, str(output)))
        process.start()
        return Run(process, output)

    def run(self, name: str, *options: object, status: int = 0) -> str:
        """Runs a recipe to its end; returns what it printed."""
        run = self.start(name, *options)
        found = run.wait()
        assert found == status, f"exit status {found}, expected {status}: {run.output}"
        return run.output


def _run(command: list[str], output: str) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
