"""Imported soft labels: the same store and the same student, bit for bit, from whatever table they come."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipe_runs import run_here
from scipy.special import softmax

from wellread_hf.data.toy.world import LABEL_NAMES
from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.hub.cards.facts import Facts
from wellread_hf.hub.cards.labels_card import soft_labels_card
from wellread_hf.labelling.distributions import single_label
from wellread_hf.labelling.soft_labels import SoftLabels, text_hashes, write_rows
from wellread_hf.settings import Imported, Label, Objective, Optim, Running, Start, Task, Transfer, Tuning
from wellread_hf.stages import distill, import_labels
from wellread_hf.store.graph import carry_out, check
from wellread_hf.store.records import StageRecord
from wellread_hf.store.stage import Stage

ROWS = 48
TUNING = Tuning(epochs=1, evaluations=1, max_length=32, optim=Optim(learning_rate=1e-3, batch_size=8))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, toy_folder: Path) -> dict[str, Any]:
    """A task of few rows, texts, a teacher's logits of these, and tables of them."""
    folder = tmp_path_factory.mktemp("imported")
    for split in ("train", "validation"):
        lines = (toy_folder / f"task/{split}.jsonl").read_text().splitlines()[:ROWS]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    found = [json.loads(line) for line in (toy_folder / "pool.jsonl").read_text().splitlines()[:ROWS]]
    texts = [row["sentence"] for row in found]
    logits = np.random.default_rng(0).normal(scale=4, size=(ROWS, len(LABEL_NAMES))).astype(np.float32)
    chances = softmax(logits.astype(np.float64), axis=1)
    for name, values in (("logits", logits), ("chances", chances)):
        table = [
            {
                "sentence": text,
                **{f"{name}_{label}": float(x) for label, x in zip(LABEL_NAMES, row, strict=True)},
            }
            for text, row in zip(texts, values, strict=True)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    task = Task(
        name="mine",
        data=str(folder / "train.jsonl"),
        validation=str(folder / "validation.jsonl"),
        columns=("sentence",),
        labels=LABEL_NAMES,
    )
    return {"folder": folder, "task": task, "texts": texts, "logits": logits}


def spec(world: dict[str, Any], name: str) -> str:
    return f"{world['folder'] / name}.jsonl,column=sentence"


def imported(world: dict[str, Any], runs: Path, name: str = "chances", **how: Any) -> Stage:
    transfer = how.pop("transfer", Transfer())
    label = how.pop("label", Label())
    task = how.pop("task", world["task"])
    given = Imported(source=spec(world, name), **how)
    return import_labels(given, task, transfer, label, Running(runs=runs))


def written(world: dict[str, Any], runs: Path, transfer: Transfer) -> Stage:
    """The same logits as a store that nobody imported."""

    def work(stage: Stage) -> dict[str, Any]:
        logits = single_label(world["logits"].astype(np.float64), 1, 0)
        write_rows(stage.folder, logits, text_hashes([(text,) for text in world["texts"]]), 7)
        return {"labels": LABEL_NAMES, "rows": ROWS}

    transfer_set = imported(world, runs).identity["transfer"]
    identity = {"teacher": "x", "task": {}, "transfer": transfer_set, "settings": {"max_length": 8}}
    return Stage(kind="label", name="mine", root=runs, identity=identity, work=work)


def test_a_student_is_the_same_bit_for_bit_from_probabilities_logits_and_a_store_of_them(
    world: dict[str, Any], toy_folder: Path, tmp_path: Path
) -> None:
    transfer = Transfer(sources=(spec(world, "chances"),))
    stores = [
        imported(world, tmp_path),
        imported(world, tmp_path, "logits", kind="logits", label=Label(shard_rows=10)),
        written(world, tmp_path, transfer),
    ]
    start = Start(weights=None, student="2-128", tokenizer=str(toy_folder / "tokenizer"))
    students = [
        distill(start, world["task"], store, transfer, Objective(), TUNING, Running(runs=tmp_path))
        for store in stores
    ]
    carry_out(students)
    expected = SoftLabels.open(stores[2].folder)
    for store in stores[:2]:
        found = SoftLabels.open(store.folder)
        assert found.logits.tobytes() == expected.logits.tobytes()
        assert found.hashes.tobytes() == expected.hashes.tobytes()
    weights = {(student.folder / "model.safetensors").read_bytes() for student in students}
    assert len(weights) == 1
    assert len({student.digest for student in students}) == 3


def test_the_recipe_imports_and_the_printed_command_distils(
    world: dict[str, Any], toy_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task, folder = world["task"], world["folder"]
    options = ("--task", "mine", "--task.data", task.data, "--task.validation", task.validation)
    options += ("--task.columns", "sentence", "--task.labels", *LABEL_NAMES, "--runs", tmp_path)
    ran = run_here(capfd, "label", "--from", spec(world, "chances"), *options)
    assert ran.status == 0, ran.err
    assert re.search(rf"{ROWS} rows with soft labels: .*; mean entropy 0\.\d+ nats", ran.out)
    (line,) = (line for line in ran.out.splitlines() if line.startswith("next: "))
    _, _, words = line.partition("distill")
    assert f"--transfer {folder}/chances.jsonl,column=sentence" in words
    student = ("--weights", "None", "--student", "2-128", "--tokenizer", toy_folder / "tokenizer")
    tuning = ("--epochs", 1, "--tuning.evaluations", 1, "--batch-size", 8, "--max-length", 32)
    ran = run_here(capfd, "distill", *shlex.split(words.removeprefix(".py")), *student, *tuning)
    assert ran.status == 0, ran.err
    (labels,), (made,) = tmp_path.glob("label-*"), tmp_path.glob("distill-*")
    # The transfer set is the one of the labels, so their digest stands for it.
    assert "transfer" not in StageRecord.read(made).settings
    assert [stage.name for stage in tmp_path.iterdir() if stage.name.startswith("label")] == [labels.name]
    _reads(tmp_path, labels, made, capfd)


def _reads(runs: Path, labels: Path, made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Cards and the report say that the labels were imported, and name no teacher."""
    from wellread_hf.hub.cards import facts_of_run, render

    record = StageRecord.read(labels)
    card = soft_labels_card(record, "someone/labels")
    assert "| teacher | imported soft labels (probabilities), local files, SHA-256" in card
    assert f"what a table held of {ROWS} texts" in card
    assert "rows of each class, transfer" in card
    assert "tokens a row for the teacher" not in card
    facts: Facts = facts_of_run(made, None, None)
    text = render(facts, picture=False).markdown
    assert "| teacher | imported soft labels (probabilities), local files, SHA-256" in text
    assert "from random weights, on imported soft labels" in text
    assert "the teacher's own" not in text
    # What a teacher of another task scored is no score of this one.
    outcome = {**record.outcome, "teacher_validation": {"accuracy": 0.123}}
    (runs / "label-other").mkdir()
    other = replace(record, name="other", settings={}, outcome=outcome, digest="0" * 64)
    other.write(runs / "label-other")
    ran = run_here(capfd, "wellread report", runs, "--out", runs / "report.html")
    assert ran.status == 0, ran.err
    page = (runs / "report.html").read_text()
    assert "Soft labels were imported." in page
    assert "TEACHER" not in page


def test_the_outcome_says_how_far_true_labels_agree(world: dict[str, Any], tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (world["folder"] / "validation.jsonl").read_text().splitlines()]
    # Three in four of the validation rows are right. The transfer set has the others alone.
    table = [{"sentence": row["sentence"], "votes": [row["label"] if number % 4 else 1 - row["label"]]}
             for number, row in enumerate(rows)]  # fmt: skip
    table += [{"sentence": text, "votes": [1, 0, 1]} for text in world["texts"]]
    path = world["folder"] / "votes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    stage = imported(world, tmp_path, "votes", kind="votes", smoothing=0.1)
    carry_out([stage])
    outcome = stage.record.outcome
    assert outcome["agreement"]["validation"] == {"rows": ROWS, "agreement": 0.75}
    assert outcome["teacher_validation"] == {"accuracy": 0.75}
    assert outcome["teacher_validation_rows"] == ROWS
    assert outcome["rows"] == sum(outcome["class_counts"]["transfer"].values()) == ROWS
    assert outcome["held_out_rows"]["exact"] == ROWS
    assert "| rows left out, which are in a validation or test set | " in soft_labels_card(
        stage.record, "a/b"
    )
    assert 0 < outcome["mean_entropy"] < np.log(2)


def test_a_transfer_set_of_its_own_is_looked_up_by_text(world: dict[str, Any], tmp_path: Path) -> None:
    rows = [*world["texts"][10:20][::-1], world["texts"][12]]
    some = tmp_path / "some.jsonl"
    some.write_text("".join(json.dumps({"body": text}) + "\n" for text in rows))
    stage = imported(world, tmp_path, transfer=Transfer(sources=(f"{some},column=body",)))
    drawn = imported(world, tmp_path, transfer=Transfer(rows=5, seed=3))
    carry_out([stage, drawn])
    everything = single_label(world["logits"].astype(np.float64), 1, 0)
    places = [world["texts"].index(text) for text in rows]
    np.testing.assert_array_equal(SoftLabels.open(stage.folder).logits, everything[places])
    assert len(SoftLabels.open(drawn.folder).logits) == 5
    some.write_text(json.dumps({"body": "nobody has labelled this"}) + "\n")
    lacking = imported(world, tmp_path, transfer=Transfer(sources=(f"{some},column=body",)))
    # Before anything runs, in a dry run too.
    with pytest.raises(
        LabelError, match=r"every text in .*chances.jsonl, got something else in 1 row: 1 \(none\)"
    ):
        check([lacking])
    assert not lacking.folder.exists()


def test_regressions_and_independent_classes_come_in_like_this_too(tmp_path: Path) -> None:
    table = [{"text": f"text {n}", "score": n / 4, "a": 0.9, "b": n / 16, "labels": ["a"] * (n % 2)}
             for n in range(16)]  # fmt: skip
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    files = {"data": str(path), "validation": str(path), "columns": ("text",)}
    value = Task(name="mine", label="score", regression=True, **files)
    several = Task(name="mine", label="labels", multi_label=True, labels=("b", "a"), **files)
    made = [
        import_labels(
            Imported(source=str(path), columns=columns),
            task,
            Transfer(guard=False),
            Label(),
            Running(runs=tmp_path),
        )
        for columns, task in (((), value), (("a", "b"), several))
    ]
    carry_out(made)
    scores, classes = (SoftLabels.open(stage.folder).logits for stage in made)
    assert scores[:, 0].tolist() == [n / 4 for n in range(16)]
    assert classes[8].tolist() == [0, np.float32(np.log(9))]
    assert made[0].record.outcome["agreement"]["train"] == {"rows": 16, "mean_difference": 0.0}
    assert made[0].record.outcome["teacher_validation"]["pearson"] == pytest.approx(1)
    assert made[1].record.outcome["multi_label"]
    assert made[1].record.outcome["class_counts"]["transfer"] == {"b": 7, "a": 16}


def test_what_decides_the_labels_is_in_the_digest(world: dict[str, Any], tmp_path: Path) -> None:
    first = imported(world, tmp_path)
    others = [
        imported(world, tmp_path, "logits"),
        *(
            imported(world, tmp_path, **how)
            for how in ({"kind": "logits"}, {"temperature": 2}, {"smoothing": 0.1})
        ),
        imported(world, tmp_path, label=Label(teacher_labels=LABEL_NAMES)),
        imported(world, tmp_path, transfer=Transfer(rows=3)),
    ]
    assert len({stage.digest for stage in (first, *others)}) == 7
    # Where the table lies decides nothing, nor how many rows a shard has.
    moved = dict(world, folder=tmp_path)
    (tmp_path / "chances.jsonl").write_bytes((world["folder"] / "chances.jsonl").read_bytes())
    assert imported(moved, tmp_path, label=Label(shard_rows=3)).digest == first.digest
    fewer = replace(world["task"], train_rows=5)
    assert imported(world, tmp_path, task=fewer).digest == first.digest


def test_a_table_alone_has_settings_of_a_table() -> None:
    for how in ({"kind": "votes"}, {"columns": ("a",)}, {"temperature": 2}, {"smoothing": 0.1}):
        with pytest.raises(SettingsError, match="expected the table of soft labels as well"):
            Imported(**how)
    with pytest.raises(SettingsError, match="each column once"):
        Imported(source="x.csv", columns=("a", "a"))
