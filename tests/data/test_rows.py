"""Rows of tasks: GLUE's and one's own, labels by name and number, and every label that is none."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wellread_hf.data.draws import draw_rows
from wellread_hf.data.rows import Rows, load_task
from wellread_hf.data.task_facts import task_home
from wellread_hf.errors import DataError, LabelError
from wellread_hf.settings import Running, Task
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.store.places import locate
from wellread_hf.tasks import GLUE_TASKS

TRAIN = [("good", 1), ("bad", 0), ("fine", 1)]


def load(task, tmp_path):
    return FoundTask(task, Running(runs=tmp_path / "runs")).load()


def write(path, rows):
    """Writes rows (dicts) as the file's ending says."""
    match path.suffix:
        case ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def own(tmp_path, train, validation=None, ending=".jsonl", **changes):
    """A task of one's own with text column `words` and label column `label`, in files."""

    def rows(pairs):
        return [{"words": text, "label": label} for text, label in pairs]

    tmp_path.mkdir(exist_ok=True)
    fields = {
        "name": "mine",
        "data": write(tmp_path / f"train{ending}", rows(train)),
        "validation": write(tmp_path / f"dev{ending}", rows(validation or train)),
        "columns": ("words",),
    }
    return Task(**(fields | changes))


def refused(task, tmp_path, error=LabelError):
    with pytest.raises(error) as refusal:
        load(task, tmp_path)
    return str(refusal.value)


@pytest.mark.parametrize(("name", "train", "validation"), [("sst2", 67_349, 872), ("mrpc", 3_668, 408)])
def test_glue_classification_is_read_as_it_lies(shared, tmp_path, name, train, validation):
    folder = shared / "data" / "glue"
    loaded = load(Task(name=name, data=str(folder)), tmp_path)
    assert loaded.facts == GLUE_TASKS[name]
    assert (len(loaded.train.texts), len(loaded.validation.texts)) == (train, validation)
    # GLUE withholds its test labels: all are -1.
    assert loaded.test is None
    table = pq.read_table(folder / name / "validation-00000-of-00001.parquet")
    columns = [table[column].to_pylist() for column in GLUE_TASKS[name].columns]
    assert loaded.validation.texts == list(zip(*columns, strict=True))
    assert loaded.validation.labels.tolist() == table["label"].to_pylist()
    assert loaded.validation.labels.dtype == np.int64


def test_glue_regression_is_read_as_it_lies(shared, tmp_path):
    folder = shared / "data" / "glue"
    loaded = load(Task(name="stsb", data=str(folder)), tmp_path)
    table = pq.read_table(folder / "stsb" / "train-00000-of-00001.parquet")
    assert loaded.train.labels.dtype == np.float32
    assert np.array_equal(loaded.train.labels, table["label"].to_numpy().astype(np.float32))
    assert (len(loaded.train.texts), len(loaded.validation.texts)) == (5_749, 1_500)
    assert all(len(row) == 2 for row in loaded.train.texts)
    assert loaded.test is None


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_ones_own_files_are_read_alike(tmp_path, ending):
    loaded = load(own(tmp_path, TRAIN, [('well, "so"', 0), ("ü\n2", 1)], ending), tmp_path)
    assert loaded.facts.columns == ("words",)
    assert loaded.facts.labels == ("0", "1")
    assert loaded.train.texts == [("good",), ("bad",), ("fine",)]
    assert loaded.train.labels.tolist() == [1, 0, 1]
    assert loaded.validation.texts == [('well, "so"',), ("ü\n2",)]
    assert loaded.test is None


def test_labels_are_taken_by_name_and_by_number(tmp_path):
    rows = [("a", "bad"), ("b", 1), ("c", "0"), ("d", "good")]
    loaded = load(own(tmp_path, rows, labels=("bad", "good")), tmp_path)
    assert loaded.train.labels.tolist() == [0, 1, 0, 1]


def test_pairs_have_two_texts_a_row(tmp_path):
    rows = [{"q": "who", "a": "me", "y": 0}, {"q": "what", "a": "this", "y": 1}]
    task = Task(
        name="mine",
        data=write(tmp_path / "train.jsonl", rows),
        validation=write(tmp_path / "dev.jsonl", rows),
        columns=("q", "a"),
        label="y",
    )
    assert load(task, tmp_path).train.texts == [("who", "me"), ("what", "this")]


def test_regression_takes_numbers_however_they_are_written(tmp_path):
    loaded = load(own(tmp_path, [("a", 1), ("b", "2.5"), ("c", -0.25)], regression=True), tmp_path)
    assert loaded.facts.labels == ()
    assert loaded.facts.metrics == ("pearson", "spearman")
    assert loaded.train.labels.tolist() == [1.0, 2.5, -0.25]


def test_a_labelled_test_file_is_read(tmp_path):
    test = write(tmp_path / "test.jsonl", [{"words": "x", "label": 1}])
    loaded = load(own(tmp_path, TRAIN, test=test), tmp_path)
    assert loaded.test.texts == [("x",)]
    assert loaded.test.labels.tolist() == [1]


@pytest.mark.parametrize("withheld", [-1, None])
def test_withheld_test_labels_mean_no_test(tmp_path, withheld):
    rows = [{"words": "x", "label": withheld}] * 2
    loaded = load(own(tmp_path, TRAIN, test=write(tmp_path / "test.jsonl", rows)), tmp_path)
    assert loaded.test is None


def test_a_test_split_may_have_no_column_of_labels(tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "validation", "test"):
        rows = [{"words": f"{split} {n}"} | ({} if split == "test" else {"label": n}) for n in range(2)]
        write(tmp_path / "data" / f"{split}.jsonl", rows)
    assert load(Task(name="mine", data=str(tmp_path / "data"), columns=("words",)), tmp_path).test is None


def test_a_test_set_with_only_some_labels_is_refused(tmp_path):
    rows = [{"words": "x", "label": 1}, {"words": "y", "label": -1}]
    task = own(tmp_path, TRAIN, test=write(tmp_path / "test.jsonl", rows))
    assert "test row 2: expected a label among 0, 1" in refused(task, tmp_path)


def test_every_task_of_glue_takes_files_of_ones_own(tmp_path):
    for name, facts in GLUE_TASKS.items():
        folder = tmp_path / name
        folder.mkdir()
        texts = dict.fromkeys(facts.columns, "text")
        rows = [texts | {"label": 0}, texts | {"label": 1}]
        files = {split: write(folder / f"{split}.jsonl", rows) for split in ("train", "validation", "test")}
        task = Task(name=name, data=files["train"], validation=files["validation"], test=files["test"])
        loaded = load(task, tmp_path)
        assert loaded.facts.labels == facts.labels
        assert [len(split.texts) for split in (loaded.train, loaded.validation, loaded.test)] == [2, 2, 2]


@pytest.mark.parametrize("label", [2, -1, "2", "fair", None, "", math.nan, 0.5, True])
def test_a_label_outside_the_classes_is_refused_by_row(tmp_path, label):
    message = refused(own(tmp_path, [*TRAIN, ("x", label)], labels=("bad", "good")), tmp_path)
    assert "training row 4: expected a label among bad, good (or 0 to 1)" in message
    assert f"got {label!r}" in message
    assert "correct or leave out the row" in message


@pytest.mark.parametrize("label", [-1, None, "", math.nan, 0.5, "nan", "-1"])
def test_a_bad_label_does_not_become_a_class_of_its_own(tmp_path, label):
    message = refused(own(tmp_path, [*TRAIN, ("x", label)]), tmp_path)
    assert f"training row 4: expected a label among 0, 1, got {label!r}" in message


@pytest.mark.parametrize("labels", [(None, None), (0.5, 1.5), (-1, -1), ([1], [0])])
def test_labels_that_are_no_classes_are_refused_with_the_way_out(tmp_path, labels):
    message = refused(own(tmp_path, list(zip("ab", labels, strict=True))), tmp_path)
    assert "expected classes" in message
    assert f"got {labels[0]!r}" in message
    assert "`task.label`" in message
    assert "`task.regression`" in message


@pytest.mark.parametrize("label", [None, math.nan, math.inf, "much", "nan", "", [1]])
def test_a_regression_label_that_is_no_number_is_refused_by_row(tmp_path, label):
    message = refused(own(tmp_path, [("a", 1.0), ("b", label)], regression=True), tmp_path)
    assert f"training row 2: expected a number as label, got {label!r}" in message


@pytest.mark.parametrize(
    ("changes", "shown"), [({}, "'0'"), ({"labels": ("bad", "good")}, "'bad'"), ({"regression": True}, "0.0")]
)
def test_one_class_only_is_refused(tmp_path, changes, shown):
    message = refused(own(tmp_path, [("a", 0), ("b", 0)], [("a", 0)], **changes), tmp_path)
    assert "at least two kinds" in message
    assert f"got {shown} in all 2 rows" in message


def test_a_missing_split_of_a_folder_is_refused_with_the_nearest(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "test"):
        write(folder / f"{split}.jsonl", [{"words": "a", "label": 1}])
    message = refused(Task(name="mine", data=str(folder), columns=("words",)), tmp_path, DataError)
    assert "expected a split 'validation', found train, test" in message
    assert "`task.validation` FILE" in message


def test_a_folder_in_hub_layout_is_read_by_its_splits(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        write(folder / f"{split}.jsonl", [{"words": f"{split} {n}", "label": n} for n in range(2)])
    loaded = load(Task(name="mine", data=str(folder), columns=("words",)), tmp_path)
    assert loaded.train.texts == [("train 0",), ("train 1",)]
    assert loaded.validation.texts == [("validation 0",), ("validation 1",)]
    assert loaded.test.labels.tolist() == [0, 1]


def test_a_folder_has_splits_of_its_own(tmp_path):
    task = own(tmp_path / "data", TRAIN)
    task = Task(name="mine", data=str(tmp_path / "data"), validation=task.validation, columns=("words",))
    message = refused(task, tmp_path, DataError)
    assert "data: expected a file, as `task.validation` and `task.test` name others" in message
    file = replace(own(tmp_path, TRAIN), validation=str(tmp_path / "data"))
    assert f"{tmp_path / 'data'}: expected a file, as {file.data} is one" in refused(
        file, tmp_path, DataError
    )


def test_no_text_column_is_proposed_as_the_label(tmp_path):
    rows = [{"sentence": "a", "idx": 0}, {"sentence": "b", "idx": 1}]
    task = Task(
        name="mine",
        data=write(tmp_path / "train.jsonl", rows),
        validation=write(tmp_path / "dev.jsonl", rows),
        columns=("sentence",),
    )
    message = refused(task, tmp_path, DataError)
    assert "expected a label column 'label', found 'sentence', 'idx'; add it" in message
    rows = [row | {"verdict": 1} for row in rows]
    write(tmp_path / "train.jsonl", rows)
    assert "`task.label` verdict" in refused(task, tmp_path, DataError)


def test_an_error_in_labels_names_task_and_file(tmp_path):
    for train, words in (
        ([("a", 0), ("b", -1), ("c", 1)], ": training row 2: expected a label"),
        ([("a", None)], ": training: expected classes"),
        ([("a", 0), ("b", 0)], ": training: expected training labels of at least two kinds"),
    ):
        task = own(tmp_path, train)
        assert f"mine, {task.data}{words}" in refused(task, tmp_path)
    task = own(tmp_path, TRAIN, [("x", 7)])
    assert f"mine, {task.validation}: validation row 1: expected a label" in refused(task, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'words,label\n"open,1\n', ": cannot be read as UTF-8 CSV (row 1, line 2: unexpected end of data)"),
        (b'words,label\na,1\n"b" c,1\n', ": cannot be read as UTF-8 CSV (row 2, line 3: "),
        (b"words,label\ncaf\xe9,1\n", ", line 2: expected UTF-8, got byte 0xe9 at position 3; convert"),
        (
            b"words,label\na,1\nb, c,0\n",
            ", row 2 (line 3): expected 2 fields as in the header",
        ),
        (
            b"words,label\n\na,1\n\nb\n",
            ", row 2 (line 5): expected 2 fields as in the header",
        ),
        (b"words,label,label\na,1,0\n", ": expected a name of its own for every column, got 'label' twice"),
    ],
)
def test_a_broken_csv_is_refused(tmp_path, content, said):
    task = own(tmp_path, TRAIN, ending=".csv")
    (tmp_path / "train.csv").write_bytes(content)
    message = refused(task, tmp_path, DataError)
    assert f"train.csv{said}" in message


def test_glues_home_is_the_hub_unless_named():
    assert task_home(Task(name="mrpc")) == "nyu-mll/glue"
    assert task_home(Task(name="mrpc", data="/data/glue")) == "/data/glue"


def drawing(rows, seed):
    return Task(train_rows=rows, train_seed=seed)


def test_a_draw_keeps_the_order_and_depends_on_the_seed_alone():
    rows = Rows([(str(n),) for n in range(100)], np.arange(100))
    drawn = draw_rows(rows, drawing(30, 1))
    assert drawn.labels.tolist() == sorted(set(drawn.labels.tolist()))
    assert len(drawn.texts) == 30
    assert drawn.texts == [(str(n),) for n in drawn.labels]
    assert draw_rows(rows, drawing(30, 1)).texts == drawn.texts != draw_rows(rows, drawing(30, 2)).texts
    # A larger draw with the same seed holds the smaller one: learning curves are nested.
    assert set(drawn.labels) < set(draw_rows(rows, drawing(60, 1)).labels)
    assert draw_rows(rows, drawing(None, 1)) is rows
    assert draw_rows(Rows(rows.texts, None), drawing(3, 0)).labels is None


@pytest.mark.parametrize("write", [str, int])
def test_a_number_is_a_class_of_that_name_before_it_is_a_place(tmp_path: Path, write: Any) -> None:
    rows = [{"text": f"row {number}", "label": write(number % 2)} for number in range(4)]
    for split in ("train", "dev"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    task = Task(
        name="mine",
        data=str(tmp_path / "train.jsonl"),
        validation=str(tmp_path / "dev.jsonl"),
        columns=("text",),
        labels=("1", "0"),
    )
    places = [locate(str(tmp_path / f"{split}.jsonl"), "dataset", "task.data") for split in ("train", "dev")]
    assert load_task(task, places).train.labels.tolist() == [1, 0, 1, 0]
