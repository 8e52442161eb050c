"""A corpus is packed without the rows of validation and test sets."""

import json

import pytest

from wellread_hf.errors import DataError
from wellread_hf.settings import Corpus, Pretrain, Running, Task
from wellread_hf.stages import pack, pretrain
from wellread_hf.store.graph import carry_out, check
from wellread_hf.store.stage import in_order


@pytest.fixture
def given(toy_folder, tmp_path):
    """A corpus with a validation row in the middle of a text, and a task."""
    lines = (toy_folder / "corpus.txt").read_text().splitlines()[:40]
    validation = json.loads((toy_folder / "task/validation.jsonl").read_text().splitlines()[0])["sentence"]
    text = tmp_path / "corpus.txt"
    text.write_text(
        "\n".join([*lines[:20], f"{lines[0]} {validation.upper()}", validation, *lines[20:]]) + "\n"
    )
    without = tmp_path / "without.txt"
    without.write_text("\n".join(lines) + "\n")
    task = Task(
        name="mine",
        data=str(toy_folder / "task/train.jsonl"),
        validation=str(toy_folder / "task/validation.jsonl"),
        columns=("sentence",),
    )
    return text, without, task


def packed(text, tokenizer, running, *tasks, **corpus):
    stage = pack(
        Corpus(sources=(str(text),), tokenizer=str(tokenizer), **corpus), 16, 0.15, running, tasks=tasks
    )
    carry_out([stage])
    return stage


def blocks(stage):
    return {name: (stage.folder / name).read_bytes() for name in stage.record.outputs}


@pytest.mark.parametrize("named", ["task", "source"])
def test_it_is_packed_as_if_the_rows_were_not_there(named, given, toy_folder, tmp_path):
    text, without, task = given
    running, tokenizer = Running(runs=tmp_path / "runs"), toy_folder / "tokenizer"
    tasks, others = (task,), {}
    if named == "source":
        tasks, others = (), {"held_out": (f"{task.validation},column=sentence",)}
    guarded = packed(text, tokenizer, running, *tasks, **others)
    assert blocks(guarded) == blocks(packed(without, tokenizer, running))
    (guard,) = [stage for stage in in_order([guarded]) if stage.kind == "guard"]
    assert guard.record.outcome == {"rows": 42, "held_out_rows": guard.record.outcome["held_out_rows"]}
    assert sum(guard.record.outcome["held_out_rows"].values()) == 2
    everything = packed(text, tokenizer, running, task, guard=False)
    assert blocks(everything) != blocks(guarded)


def test_without_a_task_nothing_is_left_out_and_digests_are_those_of_before(given, toy_folder, tmp_path):
    text, _, task = given
    running = Running(runs=tmp_path / "runs")
    corpus = Corpus(sources=(str(text),), tokenizer=str(toy_folder / "tokenizer"))
    unguarded = Corpus(sources=corpus.sources, tokenizer=corpus.tokenizer, guard=False)
    plain = pretrain(Pretrain(steps=1), corpus, running)
    assert "guard" not in {stage.kind for stage in in_order([plain])}
    assert pretrain(Pretrain(steps=1), unguarded, running, tasks=(task,)).digest == plain.digest
    assert pretrain(Pretrain(steps=1), corpus, running, tasks=(task,)).digest != plain.digest


def test_a_source_of_held_out_rows_is_looked_at_before_anything_runs(given, toy_folder, tmp_path):
    text, _, task = given
    corpus = Corpus(
        sources=(str(text),),
        tokenizer=str(toy_folder / "tokenizer"),
        held_out=(f"{task.validation},column=no",),
    )
    stage = pack(corpus, 16, 0.15, Running(runs=tmp_path / "runs"))
    with pytest.raises(DataError, match="expected a text column 'no'"):
        check(in_order([stage]))
