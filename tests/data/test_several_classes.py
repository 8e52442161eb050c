"""Rows of several classes, or none: lists in every format, and columns of 0 and 1."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wellread_hf.data.rows import report_classes
from wellread_hf.errors import LabelError
from wellread_hf.settings import Running, Task
from wellread_hf.stages.inputs import FoundTask

LISTS = [["sad", "angry"], [], ["glad"], ["angry"]]
MATRIX = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0]]


def write(path, rows):
    """Writes rows (dicts) as the file's ending says, lists in CSV as JSON text."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:

        def cell(value):
            text = value if isinstance(value, str) else json.dumps(value)
            return '"' + text.replace('"', '""') + '"'

        lines = [",".join(rows[0]), *(",".join(map(cell, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return str(path)


def load(tmp_path, rows, dev=None, ending=".jsonl", **changes):
    task = Task(
        name="moods",
        data=write(tmp_path / f"train{ending}", rows),
        validation=write(tmp_path / f"dev{ending}", dev or rows),
        columns=("text",),
        multi_label=True,
        **changes,
    )
    return FoundTask(task, Running(runs=tmp_path / "runs")).load()


def refusal_of(tmp_path, rows, dev=None, **changes):
    with pytest.raises(LabelError) as refusal:
        load(tmp_path, rows, dev, **changes)
    return str(refusal.value)


def listed(lists):
    return [{"text": f"text {number}", "label": label} for number, label in enumerate(lists)]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_lists_of_classes_are_read_alike_from_every_format(tmp_path, ending, capsys):
    loaded = load(tmp_path, listed(LISTS), ending=ending)
    assert loaded.facts.multi_label
    assert loaded.facts.labels == ("angry", "glad", "sad")
    assert loaded.facts.metrics == ("f1_micro", "f1_macro")
    assert loaded.train.labels.dtype == np.float32
    assert loaded.train.labels.tolist() == MATRIX
    counts = {"angry": 2, "glad": 1, "sad": 1}
    assert report_classes(loaded) == {"train": counts, "validation": counts}
    assert capsys.readouterr().out == "3 classes in 4 training rows: angry 2, glad 1, sad 1\n"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("write_one", [int, float, bool])
def test_columns_of_0_and_1_are_classes_of_their_names(tmp_path, ending, write_one):
    names = ("toxic", "insult", "threat")
    rows = [
        {"text": "x"} | {name: write_one(one) for name, one in zip(names, row, strict=True)} for row in MATRIX
    ]
    loaded = load(tmp_path, rows, ending=ending, label="toxic+insult+threat")
    assert loaded.facts.labels == names
    assert loaded.train.labels.tolist() == MATRIX


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_numbers_in_lists_are_classes_by_value(tmp_path, ending):
    loaded = load(tmp_path, listed([[10, 9], [9], [], [2]]), ending=ending)
    assert loaded.facts.labels == ("2", "9", "10")
    assert loaded.train.labels.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_class_names_of_the_data_set_are_those_of_its_lists(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Sequence, Value

    names = ["sad", "glad", "angry", "calm"]
    features = Features(text=Value("string"), label=Sequence(ClassLabel(names=names)))
    table = Dataset.from_dict({"text": ["a", "b"], "label": [[0, 2], []]}, features=features)
    for split in ("train", "validation"):
        table.to_parquet(tmp_path / "set" / f"{split}.parquet")
    task = Task(name="moods", data=str(tmp_path / "set"), columns=("text",), multi_label=True)
    loaded = FoundTask(task, Running(runs=tmp_path / "runs")).load()
    assert loaded.facts.labels == tuple(names)
    assert loaded.train.labels.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_given_classes_decide_the_order(tmp_path):
    loaded = load(tmp_path, listed(LISTS), labels=("sad", "glad", "angry"))
    assert loaded.train.labels[0].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("sad", "row 5: expected a list of classes as label, in CSV as JSON text"),
        ("['sad', 'angry']", "row 5: expected a list of classes as label, in CSV as JSON text"),
        (3, "row 5: expected a list of classes as label"),
        (None, "row 5: expected a list of classes, which may be empty, got none"),
        (["sad", "sad"], "row 5: expected each class once, got 'sad' twice"),
        (["sad", None], "row 5: expected a label among angry, glad, sad, got None"),
        ([["sad"]], "row 5: expected a label among angry, glad, sad, got ['sad']"),
    ],
)
def test_a_label_that_is_no_list_of_classes_is_refused_by_row(tmp_path, label, said):
    assert said in refusal_of(tmp_path, listed([*LISTS, label]))


def test_a_class_that_training_has_not_is_refused_by_row(tmp_path):
    said = refusal_of(tmp_path, listed(LISTS), listed([["sad"], ["bored"]]))
    assert "validation row 2: expected a label among angry, glad, sad, got 'bored'" in said


@pytest.mark.parametrize("value", [2, 0.3, "x", None])
def test_a_column_that_says_neither_0_nor_1_is_refused_by_row(tmp_path, value):
    rows = [{"text": "x", "a": 1, "b": 0}, {"text": "y", "a": 0, "b": value}]
    said = refusal_of(tmp_path, rows, label="a+b")
    assert f"row 2: expected 0 or 1 in column 'b', got {value!r}" in said


@pytest.mark.parametrize("lists", [[["a"], ["a"], []], [["a", "b"], ["a", "b"]]])
def test_labels_that_teach_nothing_are_refused(tmp_path, lists):
    refusal_of(tmp_path, listed(lists))
