"""What a run prints at its end: scores beside the commonest class, and a next command that works."""

import runpy
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recipe_runs import recipe, run_here

from wellread_hf.cli.summary import show_result, words_of
from wellread_hf.settings import Corpus, Init, Running, Start, Task, Transfer
from wellread_hf.store.records import INVOKED_AS, StageRecord
from wellread_hf.students import Student

COUNTS = {
    "train": {"bad": 30, "good": 10},
    "validation": {"bad": 15, "good": 5},
    "test": {"bad": 1, "good": 1},
}
TUNED = {
    "metric": "accuracy",
    "validation": {"accuracy": 0.9},
    "validation_rows": 20,
    "test": {"accuracy": 0.5},
    "test_rows": 2,
    "class_counts": COUNTS,
}
OUTCOMES: dict[str, Mapping[str, Any]] = {
    "finetune": TUNED,
    "distill": TUNED,
    "label": {
        "rows": 40,
        "labels": ["bad", "good"],
        "metric": "accuracy",
        "teacher_validation": {"accuracy": 0.9},
        "class_counts": COUNTS,
    },
    "pretrain": {"held_out_loss": 3.0, "unigram_loss": 5.0, "tokens": 1_000},
}


@pytest.fixture(autouse=True)
def invoked() -> Iterator[None]:
    before = INVOKED_AS.get()
    yield
    INVOKED_AS.set(before)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A task in files of awkward names, a model, and what settings of recipes have in common."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my data's"
    folder.mkdir()
    for split in ("train", "dev"):
        rows = "text,the label\n" + "".join(
            f"{split} {row},{'good' if row % 4 == 0 else 'bad'}\n" for row in range(40)
        )
        (folder / f"{split} (1).csv").write_text(rows)
    (folder / "text.txt").write_text("a line of text\n" * 50)
    task = Task(
        name="mine",
        data=str(folder / "train (1).csv"),
        validation=str(folder / "dev (1).csv"),
        columns=("text",),
        label="the label",
        train_rows=30,
    )
    config = Student.parse("2-128").fresh_config(30)
    config.architectures = ["BertForMaskedLM"]
    config.save_pretrained(tmp_path / "model")
    return {
        "task": task,
        "corpus": Corpus(sources=(str(folder / "text.txt"),), tokenizer="model"),
        "transfer": Transfer(sources=("task", f"{folder / 'train (1).csv'},column=text"), rows=50),
        "start": Start(weights="model"),
        "init": Init(source="model", student="2-128"),
        "running": Running(runs=tmp_path / "my runs"),
        "sources": ("model",),
        "weights": "model",
    }


@pytest.mark.parametrize(
    ("name", "goes_on"),
    [
        ("tokenizer", "pretrain"),
        ("pretrain", "pf"),
        ("adopt", "pf"),
        ("init", "pf"),
        ("teacher", "label"),
        ("label", "distill"),
        ("distill", "pf"),
        ("pf", "pf"),
    ],
)
def test_the_next_command_works_as_it_is_printed(
    name: str, goes_on: str, inputs: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    made = runpy.run_path(recipe(name))
    given = {key: inputs[key] for key in made["Settings"].__dataclass_fields__ if key in inputs}
    if name in ("label", "distill"):
        given["teacher"] = "model" if name == "distill" else ("model",)
    settings = made["Settings"](**given)
    stages = made["plan"](settings)
    for stage in stages:
        stage.folder.mkdir(parents=True)
        (stage.folder / "config.json").write_text(Path("model/config.json").read_text())
        StageRecord(
            kind=stage.kind, name=stage.name, digest=stage.digest, settings=stage.identity, inputs={},
            outcome=OUTCOMES.get(stage.kind, {}), seconds=1.0, versions={}, command="", version=stage.version,
        ).write(stage.folder)  # fmt: skip
    INVOKED_AS.set((recipe(name),))
    # What a person without the Hub has: the recipes' own defaults lie there.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    show_result(settings, stages)
    *lines, place, last = capfd.readouterr().out.splitlines()
    if stages[-1].kind in ("finetune", "distill"):
        assert lines == [
            "accuracy 90.0 % on validation, 20 rows; the commonest class, 'bad', has 75.0 %",
            "accuracy 50.0 % on test, 2 rows; the commonest class, 'bad', has 50.0 %",
        ]
    if name == "label":
        assert lines == [
            "the teacher's accuracy 90.0 % on validation, 20 rows; the commonest class, 'bad', has 75.0 %"
        ]
    assert place.endswith(str(stages[-1].folder))
    _, script, *words = shlex.split(last.removeprefix("next: "))
    assert (Path(script).stem, Path(script).is_file()) == (goes_on, True)
    if name in ("pretrain", "adopt", "init"):
        # Which task comes next nobody has said yet; GLUE's lies on the Hub.
        place_of_task = words.index("--task")
        assert words[place_of_task + 1] == "sst2"
        words[place_of_task : place_of_task + 2] = words_of(inputs["task"], Task(), "task.")
    ran = run_here(capfd, goes_on, *words, "--dry-run")
    assert ran.status == 0, ran.err
    assert str(stages[-1].folder) in ran.out or name == "pf"
    assert str(inputs["running"].runs) in ran.out


def test_it_names_a_student_that_was_pretrained_in_the_same_runs(
    inputs: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runpy.run_path(recipe("label"))
    settings = made["Settings"](
        teacher=("model",), task=replace(inputs["task"], train_rows=None), running=Running(runs=Path("runs"))
    )
    (stage,) = made["plan"](settings)
    for folder, kind in ((stage.folder, "label"), (Path("runs/pretrain-x-0a1b"), "pretrain")):
        folder.mkdir(parents=True)
        StageRecord(
            kind=kind, name="x", digest="0a1b", settings={}, inputs={}, outcome=OUTCOMES[kind], seconds=1.0,
            versions={}, command="",
        ).write(folder)  # fmt: skip
    INVOKED_AS.set(("wellread", "label"))
    show_result(settings, [stage])
    shown = capfd.readouterr().out
    assert "--weights runs/pretrain-x-0a1b" in shown
    # Called through wellread, so is what comes next.
    assert shlex.split(shown.splitlines()[-1])[2] == "distill"
