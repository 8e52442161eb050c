"""What stages find in their input before anything runs, and that no folder is left of them."""

import json

import pytest

from wellread_hf.errors import WellreadError
from wellread_hf.settings import Corpus, Label, Objective, Running, Start, Task, Transfer, Tuning
from wellread_hf.stages import distill, finetune, label, pack, train_tokenizer
from wellread_hf.store.graph import check
from wellread_hf.store.stage import in_order


@pytest.fixture
def model(tmp_path):
    """A place that is looked at by its fingerprint alone: no model is loaded before anything runs."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


def rows(path, *labels, column="text"):
    text = f"a {path.stem} row"
    path.write_text("".join(json.dumps({column: text, "label": label}) + "\n" for label in labels))
    return str(path)


def refusal_of(stage, running):
    with pytest.raises(WellreadError) as refusal:
        check(in_order([stage]))
    assert not [path for path in running.runs.glob("*") if path.is_dir()]
    return str(refusal.value)


def sound(tmp_path, **changes):
    given = {
        "data": rows(tmp_path / "train.jsonl", "pos", "neg"),
        "validation": rows(tmp_path / "dev.jsonl", "neg", "pos"),
    }
    return Task(**({"name": "mine", "columns": ("text",)} | given | changes))


TASKS = [
    ({"columns": ("words",)}, "expected a text column 'words'"),
    ({"label": "stars"}, "expected a label column 'stars'"),
    ({"validation": None}, "expected a file of validation rows"),
    ({"validation": [("maybe",)]}, "validation row 1: expected a label among neg, pos, got 'maybe'"),
    ({"data": [("pos", "neg", None)]}, "training row 3: expected a label among neg, pos, got None"),
    ({"train_rows": 3}, "`task.train_rows` 3: there are 2 rows to draw from"),
]


@pytest.mark.parametrize(("changes", "said"), TASKS)
@pytest.mark.parametrize("kind", [finetune, label])
def test_a_task_that_cannot_be_used_is_refused_before_anything_runs(tmp_path, model, kind, changes, said):
    if kind is label and "train_rows" in changes:
        # It labels all rows, however many a student gets.
        return
    changes = {
        name: rows(tmp_path / f"bad-{name}.jsonl", *value[0]) if isinstance(value, list) else value
        for name, value in changes.items()
    }
    running, task = Running(runs=tmp_path / "runs"), sound(tmp_path, **changes)
    if kind is finetune:
        stage = finetune(Start(weights=model), task, Tuning(), running)
    else:
        stage = label(model, task, Transfer(), Label(), running)
    assert said in refusal_of(stage, running)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("pool.jsonl", "`transfer.rows` 4: there are 3 rows to draw from"),
        ("pool.jsonl,column=words", "expected a text column 'words'"),
        ("pool.jsonl,column=text+label", "the task has 1 text columns, the source 2"),
        ("bad.jsonl", "row 2: expected text in column 'text', got int 3"),
        ("bad.csv", "row 1 (line 2): expected 1 fields as in the header (text), got 2"),
    ],
)
def test_a_transfer_source_that_cannot_be_used_is_refused_before_anything_runs(tmp_path, model, source, said):
    rows(tmp_path / "pool.jsonl", 1)
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": 3}\n')
    (tmp_path / "bad.csv").write_text("text\na, b\n")
    running = Running(runs=tmp_path / "runs")
    transfer = Transfer(sources=("task", str(tmp_path / source)), rows=4)
    assert said in refusal_of(label(model, sound(tmp_path), transfer, Label(), running), running)


@pytest.mark.parametrize("kind", [pack, train_tokenizer])
def test_a_corpus_that_cannot_be_used_is_refused_before_anything_runs(tmp_path, model, kind):
    (tmp_path / "corpus.csv").write_text("title,text\na,b,c\n")
    running = Running(runs=tmp_path / "runs")
    corpus = Corpus(sources=(str(tmp_path / "corpus.csv"),), tokenizer=model)
    stage = pack(corpus, 32, 0.15, running) if kind is pack else train_tokenizer(corpus, 100, running)
    assert "row 1 (line 2): expected 2 fields" in refusal_of(stage, running)


@pytest.mark.parametrize(
    ("changes", "transfer", "said"),
    [
        ({"train_rows": 1}, {}, "`task.train_rows` allows 1 labels"),
        ({}, {"sources": ("task", "task")}, "this transfer set has text without labels"),
    ],
)
def test_hard_labels_that_are_not_there_are_refused_before_anything_runs(
    tmp_path, model, changes, transfer, said
):
    running, task = Running(runs=tmp_path / "runs"), sound(tmp_path, **changes)
    labels = label(model, task, Transfer(**transfer), Label(), running)
    objective = Objective(hard_label_share=0.5)
    stage = distill(Start(weights=model), task, labels, Transfer(**transfer), objective, Tuning(), running)
    assert said in refusal_of(stage, running)


def test_sound_input_passes_and_leaves_no_folder(tmp_path, model):
    running, task = Running(runs=tmp_path / "runs"), sound(tmp_path)
    check(in_order([label(model, task, Transfer(sources=("task", task.data)), Label(), running)]))
    assert not [path for path in running.runs.glob("*") if path.is_dir()]
