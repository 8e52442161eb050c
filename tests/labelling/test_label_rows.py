"""One pass over a transfer set, in stretches, streamed."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from row_encoders import label_with, of_bert

from wellread_hf.data.draws import draw_rows
from wellread_hf.data.rows import Rows
from wellread_hf.labelling import classifier_labeller
from wellread_hf.labelling import label_rows as module
from wellread_hf.labelling.soft_labels import SoftLabels
from wellread_hf.models.load import new_classifier
from wellread_hf.settings import Label, Running, Transfer
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.students import Student
from wellread_hf.tasks import TaskFacts

LABEL = Label(max_length=32, batch_tokens=512, shard_rows=8)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*.safetensors")}


@pytest.fixture(scope="module")
def texts(toy_folder):
    lines = (toy_folder / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    return [(json.loads(line)["sentence"],) for line in lines][:100]


@pytest.fixture(scope="module")
def teacher(toy_tokenizer):
    return new_classifier(Student(2, 128), len(toy_tokenizer), ("a", "b"), seed=0).eval()


def test_rows_in_several_stretches_are_labelled_as_in_one(
    teacher, toy_tokenizer, texts, tmp_path, monkeypatch
):
    encoder, folders = of_bert(toy_tokenizer, 32), (tmp_path / "one", tmp_path / "several")
    longest = []
    encode = classifier_labeller.encode
    monkeypatch.setattr(
        classifier_labeller, "encode", lambda texts, *more: longest.append(len(texts)) or encode(texts, *more)
    )
    for folder, stretch in zip(folders, (1 << 16, 30), strict=True):
        monkeypatch.setattr(module, "_STRETCH", stretch)
        assert label_with(teacher, encoder, texts, [0, 1], LABEL, folder) == 0
    # Whole shards: three in a stretch.
    assert longest == [100, 24, 24, 24, 24, 4]
    one, several = map(SoftLabels.open, folders)
    several.check_belongs(texts)
    np.testing.assert_allclose(several.logits, one.logits, atol=1e-5)
    # A shard of the one cut is none of the other's, even where all its rows are of one stretch.
    whole = shards(folders[1])
    for name in whole:
        (folders[1] / name).write_bytes(shards(folders[0])[name])
    assert label_with(teacher, encoder, texts, [0, 1], LABEL, folders[1]) == 0
    assert shards(folders[1]) == whole
    assert label_with(None, encoder, iter_only(texts), [0, 1], LABEL, folders[1]) == len(whole)


def iter_only(texts):
    """A transfer set that has no list of its rows."""

    class Streamed:
        def __len__(self):
            return len(texts)

        def __iter__(self):
            return iter(texts)

    return Streamed()


@pytest.mark.parametrize("rows", [None, 50])
def test_a_transfer_set_streams_the_rows_that_it_has(rows, texts, toy_folder, tmp_path):
    running = Running(runs=tmp_path)
    sources = ("task", f"{toy_folder}/pool.jsonl,column=sentence")
    task = SimpleNamespace(
        train=SimpleNamespace(texts=texts[:10], labels=None),
        facts=TaskFacts(columns=("sentence",), labels=()),
        held_out=[texts[0], *texts[-10:]],
    )
    transfer = TransferSet(Transfer(sources=sources, rows=rows, seed=3), running)
    every = TransferSet(Transfer(sources=sources, guard=False), running).rows(task).texts
    dropped = {number for number, text in enumerate(every) if text in task.held_out}
    expected = draw_rows(Rows(every, None), transfer.transfer, dropped).texts
    streamed = transfer.stream(task)
    assert dropped
    assert len(streamed) == len(expected) == (rows or len(every) - len(dropped))
    assert [*streamed] == [*streamed] == transfer.rows(task).texts == expected
