"""Checkpoints: each is marked as whole, last, and checked against its mark before it is used."""

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as Arguments
from transformers.trainer import TRAINER_STATE_NAME

from wellread_hf.errors import StoreError, library_errors_as
from wellread_hf.store.progress import log
from wellread_hf.store.records import digest, file_digest, write_atomically
from wellread_hf.training.arguments import CHECKPOINTS

MARK = "complete.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class MarkCheckpoints(TrainerCallback):
    """Marks a checkpoint as whole, last: its run, its files' sizes and SHA-256, the seconds used so far."""

    def __init__(self, run: str, seconds_before: float) -> None:
        self.run = run
        self.seconds_before = seconds_before
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of this run in seconds, before and after every resume."""
        return self.seconds_before + time.monotonic() - self.started

    def on_save(self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Marks the checkpoint that was just written."""
        # Every process writes its own random state.
        PartialState().wait_for_everyone()
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        files = sorted(folder.iterdir())
        for file in files:
            # Or the mark could reach the disk before the files do.
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        mark = {
            "run": self.run,
            "seconds": self.seconds,
            "sizes": {file.name: file.stat().st_size for file in files},
            "sha256": {file.name: file_digest(file) for file in files},
        }
        # With a hash of itself, since a mark may be damaged like any file.
        write_atomically(folder / MARK, json.dumps(mark | {"check": digest(mark)}))


def find_checkpoint(folder: Path, run: str) -> tuple[Path | None, float]:
    """Finds the newest whole checkpoint of a run, and deletes newer ones that are cut off or damaged.

    Args:
        folder: The stage's folder.
        run: The stage's digest.

    Returns:
        The checkpoint (None: start afresh) and the seconds used up to it.

    Raises:
        StoreError: The checkpoints belong to another run.
    """
    below = folder / CHECKPOINTS
    steps = {int(match[1]): path for path in below.glob("*/") if (match := _CHECKPOINT.fullmatch(path.name))}
    found: tuple[Path | None, float] = (None, 0.0)
    useless: dict[Path, str] = {}
    for _, path in sorted(steps.items(), reverse=True):
        try:
            mark = _whole(path)
            _check_best(path)
        except StoreError as error:
            useless[path] = str(error)
            continue
        if mark["run"] != run:
            raise StoreError(
                f"{path} belongs to another run ({mark['run'][:12]}, expected {run[:12]}); "
                f"delete {below} or move it away, and run again"
            )
        found = (path, mark["seconds"])
        break
    state = PartialState()
    # Nothing is deleted before all processes have looked.
    state.wait_for_everyone()
    if state.is_main_process and useless:
        goes_on = "starts afresh" if found[0] is None else f"goes on from {found[0].name}"
        why = ", ".join(f"{path.name} ({reason})" for path, reason in useless.items())
        log(f"{below}: not whole: {why}; the run {goes_on}")
        for path in useless:
            shutil.rmtree(path)
    state.wait_for_everyone()
    return found


def _whole(checkpoint: Path) -> dict[str, Any]:
    """Returns the mark of a checkpoint whose files are what they were when it was written.

    Raises:
        StoreError: They are not, or it has no mark; the message says so in a few words.
    """
    if not (checkpoint / MARK).is_file():
        raise StoreError("cut off")
    with library_errors_as(StoreError, "cannot be read"):
        mark: dict[str, Any] = json.loads((checkpoint / MARK).read_bytes())
        if mark.pop("check") != digest(mark):
            raise StoreError(f"{MARK} is damaged")
        for name, size in mark["sizes"].items():
            file = checkpoint / name
            if not file.is_file():
                raise StoreError(f"{name} is missing")
            # The size first: it costs nothing.
            if file.stat().st_size != size or file_digest(file) != mark["sha256"][name]:
                raise StoreError(f"{name} is damaged")
        return mark


def _check_best(checkpoint: Path) -> None:
    """Checks the best checkpoint so far, whose weights the run may end with.

    Raises:
        StoreError: It is not whole any more.
    """
    with library_errors_as(StoreError, f"{TRAINER_STATE_NAME} is damaged"):
        best = _trainer_state(checkpoint)["best_model_checkpoint"]
        # By its name: the folder may have been moved, or named from elsewhere, since.
        beside = checkpoint if best is None else checkpoint.parent / Path(best).name
    if beside != checkpoint:
        try:
            _whole(beside)
        except StoreError as error:
            raise StoreError(f"{beside.name}, the best so far, is lost: {error}") from error


def steps_if_over(checkpoint: Path | None) -> int | None:
    """Returns the steps of a run that was over when this checkpoint was saved, early stopping included.

    Resumed without them, such a run would make another step: a trainer forgets that it had to stop.
    """
    if checkpoint is None:
        return None
    state = _trainer_state(checkpoint)
    over = state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]
    return int(state["global_step"]) if over else None


def _trainer_state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / TRAINER_STATE_NAME).read_text())
    return state
