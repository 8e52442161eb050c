"""GLUE's dev and test rows with their numbers; a folder of its layout with one thing wrong is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from wellread_hf.data.glue_rows import load_glue_rows
from wellread_hf.data.rows import load_task
from wellread_hf.data.toy.glue import write_toy_glue
from wellread_hf.errors import DataError, LabelError
from wellread_hf.settings import Task
from wellread_hf.store.places import locate
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS


def at(folder):
    return locate(str(folder), "dataset", "data")


@pytest.fixture(scope="module")
def toy_glue(tmp_path_factory, toy_folder):
    folder = tmp_path_factory.mktemp("glue")
    write_toy_glue(folder, toy_folder / "task")
    return folder


@pytest.mark.parametrize("name", ["cola", "sst2", "mrpc", "stsb"])
def test_real_rows_carry_glues_own_numbers(shared, name):
    rows = GLUE_SETS[name]
    folder = at(shared / "data/glue")
    test = load_glue_rows(name, rows.test, folder)
    # What a submission is checked against.
    assert test.index.tolist() == list(range(rows.test_rows))
    assert test.labels is None
    dev = load_glue_rows(name, rows.dev, folder)
    table = pq.read_table(shared / "data/glue" / name / f"{rows.dev}-00000-of-00001.parquet")
    assert dev.index.tolist() == table["idx"].to_pylist()
    assert dev.labels.tolist() == table["label"].to_pylist()
    columns = [table[column].to_pylist() for column in GLUE_TASKS[name].columns]
    assert dev.texts == list(zip(*columns, strict=True))
    # The fact that a missing task is filled with.
    train = np.array(pq.read_table(shared / "data/glue" / name / "train-00000-of-00001.parquet")["label"])
    common = np.bincount(train).argmax() if GLUE_TASKS[name].labels else round(float(train.mean()), 1)
    assert common == rows.commonest


@pytest.mark.parametrize("name", GLUE_TASKS)
def test_every_task_of_the_layout_is_read_with_all_its_sets(toy_glue, name):
    loaded = load_task(Task(name=name, data=str(toy_glue)), [at(toy_glue)])
    assert len(loaded.train.texts) == 48
    assert loaded.test is None
    for set_name, rows in GLUE_SETS.items():
        if rows.task == name:
            for split in filter(None, (rows.dev, rows.test)):
                found = load_glue_rows(set_name, split, at(toy_glue))
                assert found.index.tolist() == list(range(16))
                assert (found.labels is None) == (split == rows.test)
                assert len(found.texts[0]) == len(GLUE_TASKS[name].columns)


def folder_of(tmp_path, splits, config="rte"):
    """A folder of GLUE's layout; rows (dicts) by split."""
    (tmp_path / config).mkdir()
    files = []
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / config / f"{split}-00000.parquet")
        files.append({"split": split, "path": f"{config}/{split}-*"})
    head = yaml.safe_dump({"configs": [{"config_name": config, "data_files": files}]})
    (tmp_path / "README.md").write_text(f"---\n{head}---\n")
    return at(tmp_path)


def rows(*labels, **changes):
    return [
        {"sentence1": f"one {n}", "sentence2": "two", "label": label, "idx": n} | changes
        for n, label in enumerate(labels)
    ]


def test_a_missing_split_is_refused_with_the_nearest(tmp_path):
    place = folder_of(tmp_path, {"train": rows(0, 1), "validation": rows(0, 1)})
    with pytest.raises(DataError, match="expected a split 'test' of rte, which RTE is predicted from, found"):
        load_glue_rows("rte", "test", place)


def test_a_missing_configuration_is_refused(tmp_path):
    place = folder_of(tmp_path, {"train": rows(0, 1)})
    with pytest.raises(DataError, match=r"cannot be read: .*ax"):
        load_glue_rows("ax", "test", place)


def test_a_folder_without_its_readme_is_refused_with_what_is_missing(tmp_path):
    place = folder_of(tmp_path, {"train": rows(0, 1), "validation": rows(0, 1)})
    (tmp_path / "README.md").unlink()
    with pytest.raises(DataError, match=r"'rte' not found.* the folder needs a README.md"):
        load_task(Task(name="rte", data=place.name), [place])


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_without_rows_is_refused_by_name(tmp_path, split):
    place = folder_of(tmp_path, {name: rows(0, 1) for name in ("train", "validation", "test")})
    path = tmp_path / "rte" / f"{split}-00000.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(DataError, match=rf"\(rte, {split}\): expected rows, found none"):
        load_glue_rows("rte", split, place)
    with pytest.raises(DataError, match=rf"\({split}\): expected rows, found none"):
        load_task(Task(name="rte", data=place.name), [place])


def test_numbers_that_one_split_alone_lacks_are_asked_for(tmp_path):
    bare = [{key: value for key, value in row.items() if key != "idx"} for row in rows(-1, -1)]
    place = folder_of(tmp_path, {"validation": rows(0, 1), "test": bare})
    with pytest.raises(DataError, match=r"\(rte, test\).*(expected a column 'idx'|add the column where)"):
        load_glue_rows("rte", "test", place)


@pytest.mark.parametrize("column", ["sentence2", "label", "idx"])
def test_a_missing_column_is_refused_by_name(tmp_path, column):
    short = [{key: value for key, value in row.items() if key != column} for row in rows(0, 1)]
    with pytest.raises(DataError, match=f"expected a (text )?column '{column}'"):
        load_glue_rows("rte", "validation", folder_of(tmp_path, {"validation": short}))


def test_a_number_twice_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected one number \(idx\) a row, got 7 twice"):
        load_glue_rows("rte", "test", folder_of(tmp_path, {"test": rows(-1, -1, idx=7)}))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"row 1: .* as idx, got None; .*add the column where this split has"):
        load_glue_rows("rte", "test", folder_of(tmp_path / "none", {"test": rows(-1, -1, idx=None)}))


@pytest.mark.parametrize("label", [-1, 2, None])
def test_a_dev_label_that_is_none_is_refused_by_row(tmp_path, label):
    place = folder_of(tmp_path, {"validation": rows(0, label)})
    with pytest.raises(LabelError, match="row 2: expected a label among entailment, not_entailment"):
        load_glue_rows("rte", "validation", place)


def test_minus_one_among_training_labels_is_refused_by_row(tmp_path):
    place = folder_of(tmp_path, {"train": rows(0, 1, -1), "validation": rows(0, 1)})
    with pytest.raises(LabelError, match=r"training row 3: expected a label among .* got -1"):
        load_task(Task(name="rte", data=place.name), [place])


def test_labels_by_name_are_taken_and_other_words_refused(tmp_path):
    words = rows("entailment", "not_entailment")
    place = folder_of(tmp_path, {"train": words, "validation": words})
    assert load_task(Task(name="rte", data=place.name), [place]).train.labels.tolist() == [0, 1]
    assert load_glue_rows("rte", "validation", place).labels.tolist() == [0, 1]
    (tmp_path / "odd").mkdir()
    odd = folder_of(tmp_path / "odd", {"train": rows("yes", "no"), "validation": words})
    with pytest.raises(LabelError, match=r"training row 1: expected a label among .* got 'yes'"):
        load_task(Task(name="rte", data=odd.name), [odd])


def test_the_toy_folder_says_which_file_is_which_split(toy_glue):
    head = yaml.safe_load((toy_glue / "README.md").read_text().strip("-\n"))
    assert {config["config_name"] for config in head["configs"]} == {*GLUE_TASKS, "ax"}
    assert json.dumps(head)
