"""Running recipes from tests: in this process, which has loaded torch once, or in one of their own."""

import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# In the order in which a stage reads what the one before it wrote.
RECIPES = (
    "tokenizer",
    "adopt",
    "pretrain",
    "init",
    "teacher",
    "label",
    "distill",
    "pf",
    "pd",
    "glue",
    "sweep",
    "study",
    "prune",
    "eval",
    "export",
    "measure",
    "budget",
    "ship",
    "family",
    "publish",
)


# The package's parts in a script; no stages, no options.
MINIMAL = ROOT / "recipes/minimal.py"


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


def recipe(name: str) -> str:
    return str(ROOT / "recipes" / f"{name}.py")


def run_here(capfd: pytest.CaptureFixture[str], name: str, *options: object) -> Ran:
    """Runs a recipe, or `wellread NAME`, as a shell does, but for the start of Python."""
    from wellread_hf.cli.wellread import main

    capfd.readouterr()
    _, command, subcommand = name.rpartition("wellread ")
    program = ["wellread", subcommand] if command else [recipe(name)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*program, *map(str, options)])
        status = 0
        try:
            if command:
                main()
            else:
                runpy.run_path(recipe(name), run_name="__main__")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    out, err = capfd.readouterr()
    return Ran(status, out, err)


def run_command(command: Sequence[object], timeout: float = 300, **environment: str) -> Ran:
    """Runs a command in the checkout, on one core."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def launch(processes: int, script: Path | str, *options: object) -> Ran:
    """Runs a script under `accelerate launch` in so many processes of this machine's CPU."""
    # `--cpu --num_processes 2` starts one process; two are started by what is named after GPUs, and join
    # over gloo because the package says that there is none.
    several = ["--multi_gpu", "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no"]
    kind = several if processes > 1 else ["--cpu"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *kind, "--num_processes", processes]
    return run_command([*command, "--main_process_port", 0, script, *options])
