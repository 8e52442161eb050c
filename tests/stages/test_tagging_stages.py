"""Classifiers of words from a teacher to an export, by commands alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipe_runs import run_here
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.data.toy.tags import TAG_NAMES, write_toy_tags
from wellread_hf.data.toy.world import ToyWorldSettings, write_toy_world
from wellread_hf.hub.cards.labels_card import soft_labels_card
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.store.records import StageRecord

WORLD = ToyWorldSettings(
    corpus_texts=100, train_rows=400, validation_rows=120, test_rows=60, pool_rows=300, things=10, verbs=5
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_toy_world(folder, WORLD)
    write_toy_tags(folder / "tags", WORLD)
    return folder


def _task(world: Path) -> list[object]:
    data, tags = "--task.data", world / "tags"
    files = [data, tags / "train.conll", "--task.validation", tags / "validation.conll"]
    return ["--task", "names", "--task.tagging", *files]


def _only(runs: Path, kind: str) -> Path:
    (folder,) = runs.glob(f"{kind}-*")
    return folder


def test_words_are_learnt_from_tags_and_from_a_teacher_and_exported(
    world: Path, tmp_path: Path, capfd: Any
) -> None:
    runs, task = tmp_path / "runs", _task(world)
    fresh = ["--weights", "None", "--student", "2-128", "--tokenizer", world / "tokenizer"]
    tuning = ["--max-length", 32, "--learning-rate", 1e-3, "--batch-size", 16, "--runs", runs]
    taught = run_here(capfd, "teacher", *task, *fresh, "--epochs", 8, *tuning)
    assert taught.status == 0, taught.err
    teacher = _only(runs, "finetune")
    # One answer throughout finds no name.
    assert StageRecord.read(teacher).outcome["validation"]["entity_f1"] > 0.6
    pool = ["--transfer", "task", world / "tags/pool.txt"]
    learnt = run_here(capfd, "distill", *task, *fresh, "--teacher", teacher, *pool, "--epochs", 4, *tuning)
    assert learnt.status == 0, learnt.err
    student, labels = _only(runs, "distill"), StageRecord.read(_only(runs, "label"))
    assert labels.outcome["rows"] == 700
    card = soft_labels_card(labels, "someone/labels")
    assert "the teacher's logits of each word" in card
    assert "| words of each class, train |" in card
    assert "--task.name names --task.tagging" in card
    assert StageRecord.read(student).outcome["validation"]["entity_f1"] > 0.4
    scored = run_here(capfd, "eval", student, teacher, *task, "--runs", runs)
    assert scored.status == 0, scored.err
    assert "entity_f1" in scored.out
    gate = ["--agreement", 0.5, "--tolerance", 50, "--runs", runs]
    exported = run_here(capfd, "export", student, *task, *gate)
    assert exported.status == 0, exported.err
    export = _only(runs, "export")
    _answers_as_the_stock_pipeline(export, student, capfd)
    quick = ["--lengths", 16, "--threads", 1, "--seconds", 0.1, "--starts", 1, "--runs", runs]
    for rows, formats in (([], ["onnx-fp32"]), (task, ["torch", "onnx-int8"])):
        timed = run_here(capfd, "measure", student, *rows, *quick, "--formats", *formats)
        assert timed.status == 0, timed.err
        assert all(form in timed.out for form in formats)
    picked = run_here(capfd, "wellread pick", runs, "--max-mb", 5, "--json")
    assert picked.status == 0, picked.err
    assert json.loads(picked.out)["metric"] == "entity_f1"


def _answers_as_the_stock_pipeline(export: Path, student: Path, capfd: Any) -> None:
    assert json.loads((export / "onnx/export.json").read_text())["kind"] == "tagging"
    stored = EvaluatedRows.read(next(student.parent.glob("evaluate-*")))
    assert isinstance(stored.logits, PerWord)
    assert set(stored.labels.names) == set(TAG_NAMES)
    text = " ".join(stored.texts[0])
    found = run_here(capfd, "wellread predict", export, text, "--json", "--file", "fp32")
    assert found.status == 0, found.err
    ours = json.loads(found.out)["entities"]
    stock = pipeline(
        "token-classification",
        model=AutoModelForTokenClassification.from_pretrained(student),
        tokenizer=AutoTokenizer.from_pretrained(student),
    )(text)
    tags = {(each["start"], each["end"]): each["entity"] for each in stock}
    for each in ours:
        begins = [tag for (start, _), tag in tags.items() if start == each["start"]]
        assert begins
        assert begins[0].endswith(each["label"])
    assert len(tags) == sum(len(each["text"].split()) for each in ours)
    assert np.isfinite([each["score"] for each in ours]).all()
