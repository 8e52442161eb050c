"""A mistake of the user is answered by one sentence and status 2, and leaves nothing that looks finished."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_input.lines import BASES, merged, message_in
from recipe_runs import launch, recipe, run_command, run_here

from wellread_hf.cli.exits import report_errors
from wellread_hf.errors import StoreError


@pytest.mark.parametrize(
    "changes",
    [
        "--objective.layers 3:1",
        "--label.states 1 2 --objective.layers 1:3",
        "--start.weights None --start.student 4-128 --start.tokenizer tokenizer",
        "--start.weights None --start.student 2-256 --start.tokenizer tokenizer",
    ],
    ids=["layer of the student", "layer of the teacher", "shallow teacher", "width"],
)
def test_states_that_cannot_be_compared_are_refused_before_anything_is_labelled(
    changes: str,
    place: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    base = " ".join(merged(BASES["distill"], "--objective.method patient --label.states 1"))
    ran = run_here(capfd, "distill", *merged(base, changes), "--running.runs", tmp_path / "runs")
    message_in(ran)
    assert not list((tmp_path / "runs").glob("label-*"))


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (
            PermissionError(13, "Permission denied", "x.txt"),
            2,
            "error: x.txt: Permission denied; give a place",
        ),
        (OSError(36, "File name too long", "x" * 5000), 2, "File name too long; give a shorter name"),
        (OSError(28, "No space left on device", "x"), 2, "error: the disk is full"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (MemoryError(), 2, "the memory is full"),
        (UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed"), 2, "expected text in UTF-8"),
        (StoreError("a\x1b[31m name\nin two lines"), 2, "error: a [31m name in two lines"),
        (TypeError("a defect"), 70, "internal error: this is a defect of wellread_hf"),
        (KeyError("name"), 70, "KeyError: KeyError 'name'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_ends_in_one_line(
    raised: Exception, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, report_errors(False, str):
        raise raised
    assert end.value.code == status
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert len(line) < 700
    with pytest.raises(type(raised)), report_errors(True, str):
        raise raised


def test_a_reader_that_has_gone_gets_no_message() -> None:
    ran = run_command(["bash", "-c", ".venv/bin/wellread students | true; echo ${PIPESTATUS[0]}"])
    assert (ran.out.strip(), ran.err) in (("141", ""), ("0", ""))


def test_debug_shows_the_traceback(place: Path, tmp_path: Path) -> None:
    options = ["--corpus.sources", place / "empty.txt", "--corpus.tokenizer", place / "tokenizer"]
    command = [sys.executable, recipe("tokenizer"), *options, "--running.runs", tmp_path / "runs"]
    quiet = run_command(command)
    assert "the corpus is empty" in message_in(quiet)
    as_command = [sys.executable, "-m", "wellread_hf.cli.wellread", "tokenizer", *command[2:]]
    for each in (command, as_command):
        loud = run_command([*each, "--debug"])
        assert loud.status == 1
        assert "Traceback" in loud.err
        assert "DataError: the corpus is empty" in loud.err


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink], ids=["flipped", "truncated", "missing"])
def test_a_damaged_shard_of_soft_labels_is_refused_and_made_again(
    damage: Callable[[Path], None],
    place: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    runs = ("--running.runs", tmp_path / "runs")
    shards = "--label.shard-rows 4"
    labelled = run_here(capfd, "label", *merged(BASES["label"], shards), *runs)
    assert labelled.status == 0, labelled.err
    (store,) = (tmp_path / "runs").glob("label-*")
    shard = sorted(store.glob("shard-*"))[1]
    damage(shard)
    distil = merged(BASES["distill"], f"{shards} --tuning.optim.batch-size 4")
    message = message_in(run_here(capfd, "distill", *distil, *runs))
    assert "shard" in message
    assert "recipes/label.py" in message
    # What the sentence says helps.
    (store / "stage.json").unlink()
    shard.unlink(missing_ok=True)
    assert run_here(capfd, "label", *merged(BASES["label"], shards), *runs).status == 0
    assert run_here(capfd, "distill", *distil, *runs).status == 0
    assert json.loads((store / "stage.json").read_text())["outcome"]["shards_reused"] == 2


def test_of_two_processes_one_reports_and_both_end(place: Path, tmp_path: Path) -> None:
    options = ("--corpus.sources", place / "empty.txt", "--corpus.tokenizer", place / "tokenizer")
    ran = launch(2, recipe("pretrain"), *options, "--running.runs", tmp_path / "runs")
    assert ran.status != 0
    assert ran.err.count("error: the corpus") == 1, ran.err
    # The launcher has a report of its own; no process of ours may add a traceback of a broken connection.
    assert "gloo" not in ran.err.lower()
    assert not list((tmp_path / "runs").rglob(".lock"))
