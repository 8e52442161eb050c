"""Stages as folders: what decides a digest, what is skipped, what a dry run leaves alone."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wellread_hf import stages
from wellread_hf.errors import DataError, StoreError
from wellread_hf.settings import Corpus, Optim, Pretrain, Running, Task, Tuning
from wellread_hf.stages.inputs import find
from wellread_hf.store.graph import carry_out
from wellread_hf.store.places import locate
from wellread_hf.store.stage import Stage, in_order


def _stage(root: Path, name: str, after: list[Stage] | None = None, calls: list[str] | None = None) -> Stage:
    def work(stage: Stage) -> Mapping[str, Any]:
        if calls is not None:
            calls.append(name)
        (stage.folder / "result").write_text(name)
        return {"name": name}

    return Stage(kind="test", name=name, root=root, identity={"name": name}, inputs=after or [], work=work)


def test_needs_come_first_and_each_stage_once(tmp_path: Path) -> None:
    first = _stage(tmp_path, "first")
    left, right = _stage(tmp_path, "left", [first]), _stage(tmp_path, "right", [first])
    twin = _stage(tmp_path, "left", [_stage(tmp_path, "first")])  # planned twice, one and the same stage
    last = _stage(tmp_path, "last", [right, left])
    assert [stage.name for stage in in_order([last, twin])] == ["first", "right", "left", "last"]


def test_finished_stages_are_skipped_and_half_done_ones_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    first = _stage(tmp_path, "first", calls=calls)
    second = _stage(tmp_path, "second", [first], calls)
    assert (first.state, second.state) == ("to do", "to do")
    carry_out([second])
    assert calls == ["first", "second"]
    assert second.record.outcome == {"name": "second"}
    assert second.record.inputs == {first.folder.name: first.digest}
    assert (first.state, second.state) == ("done", "done")
    carry_out([second])
    assert calls == ["first", "second"]
    assert "second: done already" in capsys.readouterr().out
    (second.folder / "stage.json").unlink()
    assert second.state == "half done"
    carry_out([second])
    assert calls == ["first", "second", "second"]
    assert not (second.folder / ".lock").exists()


def test_a_stage_that_fails_leaves_no_record_and_what_was_done_before_stays(tmp_path: Path) -> None:
    first = _stage(tmp_path, "first")

    def fail(stage: Stage) -> Mapping[str, Any]:
        (stage.folder / "half").write_text("a half")
        raise StoreError("no")

    second = Stage(kind="test", name="second", root=tmp_path, identity={}, inputs=[first], work=fail)
    with pytest.raises(StoreError):
        carry_out([second])
    assert (first.state, second.state) == ("done", "half done")
    with pytest.raises(StoreError, match="run the stage again"):
        _ = second.record


def test_a_record_shows_the_version_of_its_stage_and_what_it_wrote(tmp_path: Path) -> None:
    stage = replace(_stage(tmp_path, "first"), version=3)
    carry_out([stage])
    assert stage.record.version == 3
    outputs = stage.record.outputs or {}
    assert list(outputs) == ["result"]
    assert outputs["result"]["sha256"] == hashlib.sha256(b"first").hexdigest()
    assert outputs["result"]["size"] == 5
    assert _stage(tmp_path, "first").digest != stage.digest


CHANGES: dict[str, Callable[[Path], object]] = {
    "changed": lambda path: path.write_text("other"),
    "of the same size": lambda path: path.write_text("tsrif"),
    "cut off": lambda path: path.write_text("fir"),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_stage_wrote_is_not_used_once_it_was_changed(tmp_path: Path, change: str) -> None:
    first, calls = _stage(tmp_path, "first"), list[str]()
    carry_out([first])
    path = first.folder / "result"
    CHANGES[change](path)
    sentence = rf"^{path} (was changed since its stage wrote it|is missing); delete {first.folder}/stage.json"
    for use in (
        # As an input, as a result that is asked for, and by its place.
        lambda: carry_out([_stage(tmp_path, "second", [first], calls)]),
        lambda: carry_out([first]),
        lambda: locate(str(first.folder), "model", "start.weights"),
    ):
        with pytest.raises(StoreError, match=sentence):
            use()
    assert calls == []
    (first.folder / "stage.json").unlink()
    if path.is_dir():
        path.rmdir()
    carry_out([_stage(tmp_path, "second", [first], calls)])
    assert calls == ["second"]


def test_what_was_copied_or_added_since_and_older_records_are_taken(tmp_path: Path) -> None:
    runs, calls = tmp_path / "runs", list[str]()
    carry_out([_stage(runs, "first")])
    shutil.copytree(runs, tmp_path / "copied", copy_function=shutil.copyfile)
    first = _stage(tmp_path / "copied", "first")
    for name in ("README.md", "curve.png", "notes.txt"):
        (first.folder / name).write_text("added")
    carry_out([first, _stage(first.root, "second", [first], calls)])
    # A record of before there were hashes.
    record = json.loads((first.folder / "stage.json").read_text())
    (first.folder / "stage.json").write_text(json.dumps({**record, "outputs": None}))
    (first.folder / "result").write_text("changed")
    carry_out([first, _stage(first.root, "third", [first], calls)])
    assert calls == ["second", "third"]


def test_what_nobody_needs_any_more_may_be_deleted(tmp_path: Path) -> None:
    first = _stage(tmp_path, "first")
    second = _stage(tmp_path, "second", [first])
    carry_out([second])
    (first.folder / "result").unlink()
    carry_out([second])


def test_an_input_that_is_rewritten_while_a_stage_works_is_noticed(tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("one")
    calls: list[str] = []

    def work(stage: Stage) -> Mapping[str, Any]:
        calls.append(data.read_text())
        if len(calls) == 1:
            data.write_text("two")
        return {}

    def stage() -> Stage:
        found = find(str(data), "dataset", "data", Running(runs=tmp_path / "runs"))
        return Stage(
            kind="test",
            name="x",
            root=tmp_path / "runs",
            identity={"data": found.fingerprint},
            inputs=[found],
            work=work,
        )

    planned = stage()
    with pytest.raises(DataError, match=f"{data} was changed after this run had looked at it"):
        carry_out([planned])
    assert planned.state == "to do"
    # Before it starts, too.
    with pytest.raises(DataError, match="was changed"):
        carry_out([planned])
    assert calls == ["one"]
    carry_out([stage()])
    assert calls == ["one", "two"]


def test_a_kill_before_the_tidying_leaves_nothing_that_the_next_run_keeps(tmp_path: Path) -> None:
    stage = _stage(tmp_path, "first")
    carry_out([stage])
    (stage.folder / "checkpoints" / "checkpoint-7").mkdir(parents=True)
    carry_out([stage])
    assert not (stage.folder / "checkpoints").exists()


def _folder_in_place_of_the_lock(root: Path) -> Stage:
    stage = _stage(root, "first")
    (stage.folder / ".lock").mkdir(parents=True)
    return stage


def _file_in_place_of_the_folder(root: Path) -> Stage:
    stage = _stage(root, "first")
    root.mkdir()
    stage.folder.write_text("")
    return stage


def _cannot_read(root: Path) -> Stage:
    def work(stage: Stage) -> Mapping[str, Any]:
        raise PermissionError(13, "Permission denied", "data.csv")

    return Stage(kind="test", name="x", root=root, identity={}, work=work)


BAD_PLACES: dict[str, Callable[[Path], Stage]] = {
    "below a file": lambda root: _stage(Path("/dev/null/runs"), "first"),
    "where nothing can be made": lambda root: _stage(Path("/proc/runs"), "first"),
    "a name too long": lambda root: _stage(root, "a" * 300),
    "a folder in place of the lock": _folder_in_place_of_the_lock,
    "a file in place of the folder": _file_in_place_of_the_folder,
    "a file that cannot be read": _cannot_read,
}


@pytest.mark.parametrize("place", BAD_PLACES)
def test_folders_and_files_that_cannot_be_used_end_in_one_sentence(tmp_path: Path, place: str) -> None:
    stage = BAD_PLACES[place](tmp_path / "runs")
    with pytest.raises(StoreError) as refusal:
        carry_out([stage])
    assert str(refusal.value).startswith(str(stage.folder))
    assert "\n" not in str(refusal.value)


@pytest.fixture
def corpus(toy_folder: Path, tmp_path: Path) -> Corpus:
    shutil.copy(toy_folder / "corpus.txt", tmp_path / "corpus.txt")
    return Corpus(sources=(str(tmp_path / "corpus.txt"),), tokenizer=str(toy_folder / "tokenizer"))


def test_a_digest_changes_with_settings_and_content_and_with_nothing_else(
    corpus: Corpus, tmp_path: Path
) -> None:
    settings, running = Pretrain(steps=5), Running(runs=tmp_path / "runs")

    def digest(**changes: Any) -> str:
        given = {"settings": settings, "corpus": corpus, "running": running} | changes
        return stages.pretrain(**given).digest

    before = digest()
    assert digest() == before
    other_runs = Running(runs=tmp_path / "other", checkpoint_steps=7, report_to=("tensorboard",), workers=2)
    assert digest(running=other_runs) == before
    moved = tmp_path / "moved" / "corpus.txt"
    moved.parent.mkdir()
    shutil.copy(tmp_path / "corpus.txt", moved)
    assert digest(corpus=replace(corpus, sources=(str(moved),))) == before
    changed = [
        replace(settings, seed=1),
        replace(settings, steps=6),
        replace(settings, student="4-256"),
        replace(settings, block_lengths=(64,)),
        replace(settings, optim=Optim(learning_rate=2e-3)),
    ]
    digests = [digest(settings=one) for one in changed]
    moved.write_text(moved.read_text() + "one more line\n")
    digests.append(digest(corpus=replace(corpus, sources=(str(moved),))))
    assert len({before, *digests}) == len(changed) + 2


def test_a_digest_follows_the_stages_before_it(toy_folder: Path, corpus: Corpus, tmp_path: Path) -> None:
    running = Running(runs=tmp_path / "runs")
    task = Task(
        name="mine",
        data=f"{toy_folder}/task/train.jsonl",
        validation=f"{toy_folder}/task/validation.jsonl",
        columns=("sentence",),
    )

    def tuned(seed: int) -> Stage:
        encoder = stages.pretrain(Pretrain(steps=5, seed=seed), corpus, running)
        return stages.finetune(encoder, task, Tuning(), running)

    assert tuned(0).digest == tuned(0).digest != tuned(1).digest
    assert tuned(0).folder.name.startswith("finetune-bert-2-128-mine-seed0-")
