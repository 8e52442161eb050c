"""Transfer sets without the rows of validation and test sets."""

import json
from dataclasses import replace

import numpy as np
import pytest

from wellread_hf.data.rows import LoadedTask, Rows
from wellread_hf.errors import DataError
from wellread_hf.settings import Label, Running, Task, Transfer
from wellread_hf.stages import guarding, label
from wellread_hf.stages.guarding import Guarded
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.stages.transfer_set import TransferSet

LONG = "a gripping , clever film that does n't let you go"
TRAIN = [("good", 1), ("bad", 0), ("Dull!", 0), ("fine", 1)]
DEV = [("a film", 1), ("dull", 0)]
TEST = [(LONG, 1), ("bad film", 0)]
POOL = ["A film.", "another film", f"In short: {LONG.replace(' ,', ',')}, she said.", "BAD FILM", "good film"]

# The digest of the labels that were stored before there was a guard.
UNGUARDED = "fe7e2e4fa240a175af60f13154248b19b7d258a46862ef9c9e3e55851a3ccfd9"


def write(path, rows):
    path.write_text(
        "".join(json.dumps(dict(zip(("text", "label"), row, strict=False))) + "\n" for row in rows)
    )
    return str(path)


@pytest.fixture
def task(tmp_path):
    write(tmp_path / "pool.jsonl", [(text,) for text in POOL])
    return Task(
        name="mine",
        data=write(tmp_path / "train.jsonl", TRAIN),
        validation=write(tmp_path / "dev.jsonl", DEV),
        test=write(tmp_path / "test.jsonl", TEST),
        columns=("text",),
    )


@pytest.fixture
def running(tmp_path):
    return Running(runs=tmp_path / "runs")


def transfer_set(tmp_path, running, *sources, **settings):
    named = [source if source == "task" else str(tmp_path / source) for source in sources]
    return TransferSet(Transfer(sources=tuple(named), **settings), running)


def test_rows_of_validation_and_test_sets_are_left_out_and_counted(tmp_path, task, running):
    found = FoundTask(task, running).load()
    guarded = transfer_set(tmp_path, running, "task", "pool.jsonl")
    left = ["good", "bad", "fine", "another film", "good film"]
    assert [text for (text,) in guarded.rows(found).texts] == left
    streamed = guarded.stream(found)
    assert [text for (text,) in streamed] == left
    assert len(streamed) == len(left)
    assert streamed.found.counts == {"exact": 3, "near": 1}
    every = transfer_set(tmp_path, running, "task", "pool.jsonl", guard=False)
    assert len(every.rows(found).texts) == len(every.stream(found)) == len(TRAIN) + len(POOL)


def test_the_labels_of_a_tasks_own_rows_stay_with_them(tmp_path, task, running):
    found = FoundTask(task, running).load()
    assert isinstance(found, LoadedTask)
    for rows in (None, 2):
        drawn = transfer_set(tmp_path, running, "task", rows=rows).rows(found)
        said = dict(TRAIN)
        assert [said[text] for (text,) in drawn.texts] == drawn.labels.tolist()
        assert "Dull!" not in {text for (text,) in drawn.texts}


@pytest.mark.parametrize("few", [1, 2, 3, 4])
def test_the_others_are_drawn_as_they_are_without_a_guard(tmp_path, task, running, few):
    """In the same order, and a larger draw contains a smaller one."""
    found = FoundTask(task, running).load()

    def drawn(rows, **settings):
        texts = transfer_set(tmp_path, running, "task", "pool.jsonl", rows=rows, **settings).rows(found).texts
        return {text for (text,) in texts}

    out = {"Dull!", "A film.", POOL[2], "BAD FILM"}
    for seed in range(5):
        assert drawn(few, seed=seed) < drawn(few + 1, seed=seed)
        unguarded = [drawn(rows, seed=seed, guard=False) - out for rows in range(1, 10)]
        assert drawn(few, seed=seed) in unguarded


def test_what_was_found_is_remembered_until_a_text_changes(tmp_path, task, running, monkeypatch):
    monkeypatch.setattr(guarding, "_WORTH_SECONDS", 0)
    looked = []

    def find(held_out, name):
        def texts():
            looked.append(name)
            return iter([("a film",), ("another",)])

        return Guarded(name, texts, held_out).find_once(running.runs).exact

    assert find([("A film",)], "one") == find([("A film",)], "one") == (0,)
    assert looked == ["one"]
    (path,) = (running.runs / ".held-out").glob("*.json")
    path.write_text('{"rows": 2')
    # Damaged, it is made again.
    assert find([("A film",)], "one") == (0,)
    assert json.loads(path.read_text())["exact"] == [0]
    found = FoundTask(task, running).load()
    transfer = transfer_set(tmp_path, running, "task")
    assert len(transfer.rows(found).texts) == 3
    assert len(transfer.rows(replace(found, held_out=[("bad",), ("fine",)])).texts) == 2


def test_too_few_rows_are_refused_before_anything_runs(tmp_path, task, running):
    found = FoundTask(task, running)
    transfer_set(tmp_path, running, "pool.jsonl", rows=2).check(found)
    with pytest.raises(
        DataError, match="there are 2 rows to draw from, besides 3 of the validation and test"
    ):
        transfer_set(tmp_path, running, "pool.jsonl", rows=3).check(found)
    write(tmp_path / "dev-again.jsonl", DEV)
    again = transfer_set(tmp_path, running, "dev-again.jsonl")
    with pytest.raises(DataError, match=r"got 2, all of them found there; .* switch off `transfer.guard`"):
        again.check(found)
    # Checks write nothing.
    assert not (running.runs / ".held-out").exists()
    with pytest.raises(DataError, match="all of them found there"):
        again.rows(found.load())


def test_a_guarded_transfer_set_is_another_one(tmp_path, task, running):
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher/config.json").write_text("{}")

    def digest(**settings):
        return label(str(tmp_path / "teacher"), task, Transfer(**settings), Label(), running).digest

    assert digest(guard=False) == UNGUARDED != digest()


def test_all_validation_and_test_splits_are_held_out(tmp_path, running):
    """MNLI has two of each, and a split of another name, such as IMDB's unsupervised rows, is none."""
    splits = ("train", "validation_matched", "validation_mismatched", "test_matched", "unsupervised")
    for split in splits:
        labels = (0, 1, 2)
        rows = [{"premise": f"p {split} {n}", "hypothesis": "h", "label": n} for n in labels]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = "\n".join(f"  - split: {split}\n    path: {split}.jsonl" for split in splits)
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: mnli\n  data_files:\n{files}\n---\n")
    task = FoundTask(Task(name="mnli", data=str(tmp_path)), running)
    texts = {premise.split()[1] for premise, _ in task.load().held_out}
    assert texts == {*splits[1:4]}
    rows = TransferSet(Transfer(), running).rows(task.load())
    assert isinstance(rows, Rows)
    assert np.array_equal(rows.labels, [0, 1, 2])
