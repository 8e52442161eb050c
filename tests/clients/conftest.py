"""Node and Chromium, and finished runs for them to show."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wellread_hf import stages
from wellread_hf.settings import Label, Objective, Running, Start, Task
from wellread_hf.settings.export import Export
from wellread_hf.stages.presets import SMOKE_ENCODER, SMOKE_TEACHER, SMOKE_TRANSFER, SMOKE_TUNING
from wellread_hf.store.graph import carry_out
from wellread_hf.store.stage import Stage

HERE = Path(__file__).parent
# A row may be anything; this one would run, and close the elements around it.
HOSTILE = "</td></script><script>window.taken=1</script><img src=x onerror='window.taken=1'> & \"kibesu\""


@pytest.fixture(scope="session")
def node() -> Callable[..., Any]:
    """Runs a script of this folder under Node; returns what it prints as JSON."""
    program = shutil.which("node")
    if program is None or not (HERE / "node_modules").is_dir():
        pytest.skip("expected Node and what `make clients` installs")

    def run(script: str, *words: object, given: object = None) -> Any:
        done = subprocess.run(
            [program, HERE / script, *map(str, words)],
            input=json.dumps(given), capture_output=True, text=True, timeout=300, check=False,
            env=os.environ | {"CHROMIUM": os.environ.get("CHROMIUM", "")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def browse(node: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a script that drives Chromium."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("expected Chromium or Chrome")
    os.environ["CHROMIUM"] = found
    return node


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory, toy_folder: Path) -> Task:
    """The toy world's task, with a hostile row."""
    folder = tmp_path_factory.mktemp("task")
    train, validation = (
        (toy_folder / "task" / f"{split}.jsonl").read_text() for split in ("train", "validation")
    )
    (folder / "train.jsonl").write_text(train)
    # An export wants a hundred rows.
    hostile = json.dumps({"sentence": HOSTILE, "label": 0}) + "\n"
    (folder / "validation.jsonl").write_text(validation + train + hostile)
    return Task(name="mine", data=str(folder), columns=("sentence",), labels=("negative", "positive"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, task: Task) -> Stage:
    """A student that is exported, beside one of another seed, one of another method, and their teacher."""
    running = Running(runs=tmp_path_factory.mktemp("runs"))
    labels = stages.label(SMOKE_TEACHER, task, SMOKE_TRANSFER, Label(), running)
    start, tuning = Start(weights=SMOKE_ENCODER), [replace(SMOKE_TUNING, seed=seed) for seed in (0, 1)]
    students = [
        *(stages.distill(start, task, labels, SMOKE_TRANSFER, Objective(), each, running) for each in tuning),
        stages.finetune(start, task, tuning[0], running),
    ]
    export = stages.export(students[0], task, Export(), running)
    models = [*students, SMOKE_TEACHER]
    carry_out([export, *(stages.evaluate(model, task, None, running) for model in models)])
    return export
