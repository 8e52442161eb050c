"""Which checkpoint a run goes on from: the newest whose files are what they were when it was written."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from wellread_hf.training.checkpoints import MARK, MarkCheckpoints, find_checkpoint

RUN = "f" * 64
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def _write(folder: Path, step: int, best: int | None = None) -> Path:
    checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    for name in FILES:
        (checkpoint / name).write_text(f"{name} of step {step}")
    state = {"best_model_checkpoint": None if best is None else f"elsewhere/checkpoint-{best}"}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    arguments = TrainingArguments(output_dir=str(folder / "checkpoints"), use_cpu=True, report_to=[])
    marks = MarkCheckpoints(RUN, seconds_before=0.0)
    marks.on_save(arguments, TrainerState(global_step=step), TrainerControl())
    return checkpoint


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": _flip,
    "truncation": _cut,
    "nothing in it": lambda path: path.write_bytes(b""),
    "deep JSON": lambda path: path.write_text("[" * 100_000),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "another type": lambda path: path.write_text("[7]"),
    "no file": lambda path: path.unlink(),
    "a folder in its place": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [*FILES, MARK])
def test_a_damaged_checkpoint_counts_as_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    older, newer = _write(tmp_path, 4), _write(tmp_path, 12)
    DAMAGE[damage](newer / name)
    assert find_checkpoint(tmp_path, RUN)[0] == older
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / 'checkpoints'}: not whole: checkpoint-12 (")
    assert line.endswith("; the run goes on from checkpoint-4")
    assert not newer.exists()
    DAMAGE[damage](older / name)
    assert find_checkpoint(tmp_path, RUN) == (None, 0.0)
    assert capsys.readouterr().out.endswith("; the run starts afresh\n")
    assert not older.exists()


def test_whole_checkpoints_are_taken_and_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path, 4)
    # By number, not by name.
    newest = _write(tmp_path, 12, best=4)
    (tmp_path / "checkpoints" / "checkpoint-99").write_text("a file")
    assert find_checkpoint(tmp_path, RUN)[0] == newest
    # Another place and another time are no damage.
    moved = shutil.copytree(tmp_path / "checkpoints", tmp_path / "moved" / "checkpoints")
    os.utime(moved / "checkpoint-12" / "optimizer.pt", ns=(1, 1))
    assert find_checkpoint(moved.parent, RUN)[0] == moved / "checkpoint-12"
    assert capsys.readouterr().out == ""


def test_a_checkpoint_whose_best_is_damaged_is_none(tmp_path: Path) -> None:
    best, newest = _write(tmp_path, 4), _write(tmp_path, 12, best=4)
    _flip(best / "model.safetensors")
    assert find_checkpoint(tmp_path, RUN)[0] is None
    assert not newest.exists()
