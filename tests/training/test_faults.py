"""What goes wrong in training ends with one sentence, status 2 and nothing half-written taken for whole."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launched import Recipes
from safetensors.numpy import load_file
from tiny import bits

from wellread_hf.errors import StoreError
from wellread_hf.training.checkpoints import find_checkpoint

pytestmark = pytest.mark.slow

MARK = "complete.json"


def _error(output: str) -> str:
    """The one sentence that a refused run printed."""
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if line.startswith("error:")]
    return line


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    recipes: Recipes, pretrain_options: list[object], tmp_path: Path
) -> None:
    options = [*pretrain_options, "--optim.learning-rate", "1e30", "--running.checkpoint-steps", 1]
    output = recipes.run("pretrain", *options, "--running.runs", tmp_path, status=2)
    error = _error(output)
    assert "became nan at step" in error or "became inf at step" in error
    step = int(error.partition(" at step ")[2].partition(";")[0])
    assert "--optim.learning-rate" in error
    (folder,) = tmp_path.glob("pretrain-*")
    assert not (folder / "stage.json").exists()
    assert not (folder / "model.safetensors").exists()
    marked = [int(path.parent.name.split("-")[1]) for path in folder.glob(f"checkpoints/*/{MARK}")]
    assert max(marked) == step - 1
    weights = load_file(folder / "checkpoints" / f"checkpoint-{max(marked)}" / "model.safetensors")
    assert all(abs(weight).max() < 10 for weight in weights.values())


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_lives(
    recipes: Recipes, pretrain_options: list[object], undisturbed_pretraining: Path, tmp_path: Path
) -> None:
    options = [*pretrain_options, "--running.runs", tmp_path]
    first = recipes.start("pretrain", *options)
    # Asleep, not dead: it holds its lock.
    marks = f"pretrain-*/checkpoints/checkpoint-4/{MARK}"
    _stop_when(first.process, tmp_path, marks)
    try:
        error = _error(recipes.run("pretrain", *options, status=2))
        assert f"is in use by process {first.process.pid}" in error
    finally:
        os.kill(first.process.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    # The dead one's lock is no lock.
    recipes.run("pretrain", *options)
    (folder,) = tmp_path.glob("pretrain-*")
    assert bits(folder) == bits(undisturbed_pretraining)


def _stop_when(process: object, runs: Path, pattern: str) -> None:
    import time

    while not any(runs.glob(pattern)):
        assert process.is_alive()
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGSTOP)


def test_checkpoints_of_another_run_are_refused(
    recipes: Recipes, pretrain_options: list[object], tmp_path: Path
) -> None:
    options = [*pretrain_options, "--running.runs", tmp_path]
    recipes.start("pretrain", *options).signal_when(
        lambda: any(tmp_path.glob(f"pretrain-*/checkpoints/checkpoint-4/{MARK}"))
    )
    (ours,) = tmp_path.glob("pretrain-*")
    plan = recipes.run("pretrain", *options, "--seed", 1, "--dry-run")
    other = Path(next(line.split()[-1] for line in plan.splitlines() if " pretrain " in line))
    assert other != ours
    shutil.copytree(ours / "checkpoints", other / "checkpoints")
    error = _error(recipes.run("pretrain", *options, "--seed", 1, status=2))
    assert "belongs to another run" in error
    assert str(other / "checkpoints") in error
    assert (other / "checkpoints" / "checkpoint-4" / MARK).is_file()  # nothing of a stranger's is deleted
    with pytest.raises(StoreError, match="belongs to another run"):
        find_checkpoint(other, "f" * 64)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    answer = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {answer.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_in_one_sentence_and_the_run_goes_on_once_there_is_room(
    recipes: Recipes, pretrain_options: list[object], undisturbed_pretraining: Path, small_disk: Path
) -> None:
    options = [*pretrain_options, "--running.runs", small_disk / "runs"]
    (small_disk / "runs").mkdir()
    ballast = small_disk / "ballast"
    # Not even the lock finds room; then not the packed corpus; then not the first checkpoint.
    for room in (0, 8_192, None):
        ballast.write_bytes(b"")
        free = shutil.disk_usage(small_disk).free
        if room is not None:
            ballast.write_bytes(b"x" * (free - room))
        error = _error(recipes.run("pretrain", *options, status=2))
        assert "is full; free some space" in error
        assert not list(small_disk.glob(f"runs/pretrain-*/checkpoints/*/{MARK}"))
        assert not list(small_disk.glob("runs/pretrain-*/stage.json"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    recipes.run("pretrain", *options)
    (folder,) = small_disk.glob("runs/pretrain-*")
    assert bits(folder) == bits(undisturbed_pretraining)
