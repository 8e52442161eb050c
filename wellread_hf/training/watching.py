"""What is seen and kept while a trainer runs: a progress bar, the NaN check, marked checkpoints."""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as Arguments
from transformers.trainer import TRAINER_STATE_NAME

from wellread_hf.errors import StoreError
from wellread_hf.progress import bar
from wellread_hf.records import write_atomically
from wellread_hf.training.arguments import CHECKPOINTS
from wellread_hf.training.row_mean import not_finite
from wellread_hf.training.time_budget import ENDLESS

MARK = "complete.json"
# Hears of evaluations on dev before the last: the number, from 1, and the scores (0 to 1). A sweep that stops
# poor trials early sets it.
ON_EVALUATION: ContextVar[Callable[[int, Mapping[str, float]], None] | None] = ContextVar(
    "ON_EVALUATION", default=None
)


class Progress(TrainerCallback):
    """A bar over the optimizer steps with the latest loss and score."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: Any = None

    def on_train_begin(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Opens the bar."""
        # By the clock there is no number of steps to come to.
        steps = state.max_steps if state.max_steps < ENDLESS else None
        self.bar = bar(self.name, "steps", steps, initial=state.global_step, delay=0)

    def on_step_end(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Moves it."""
        self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self,
        args: Arguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Shows the latest losses."""
        shown = {key: value for key, value in (logs or {}).items() if key in ("loss", "eval_loss")}
        if shown and self.bar is not None:
            self.bar.set_postfix({key: f"{value:.3f}" for key, value in shown.items()}, refresh=False)

    def on_train_end(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Closes it."""
        self.bar.close()


class FiniteOnly(TrainerCallback):
    """Refuses to save a checkpoint, or to go on after a log, when loss or weights are not finite."""

    def on_step_end(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Looks at the weights before they are saved."""
        if control.should_save:
            # Logging comes before saving, so the loss is looked at first.
            control.should_log = True
            if not all(bool(torch.isfinite(weight).all()) for weight in kwargs["model"].parameters()):
                raise not_finite(float("nan"), state.global_step)

    def on_log(
        self,
        args: Arguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Looks at the loss."""
        # Evaluation comes before saving too.
        for name in ("loss", "eval_loss"):
            loss = (logs or {}).get(name)
            if loss is not None and not isfinite(loss):
                raise not_finite(loss, state.global_step)


class Announce(TrainerCallback):
    """Tells of evaluations, once the checkpoint of the same step is written."""

    def __init__(self, hears: Callable[[int, Mapping[str, float]], None]) -> None:
        self.hears = hears
        self.scores: Mapping[str, float] | None = None

    def on_evaluate(
        self,
        args: Arguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keeps the scores."""
        self.scores = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}

    def on_save(self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Passes them on, but for the last: whoever ends the run here can go on from here."""
        if self.scores is not None and state.global_step < state.max_steps:
            self.hears(state.global_step // max(1, state.eval_steps), self.scores)


class MarkCheckpoints(TrainerCallback):
    """Marks a checkpoint as whole, last, with its run's digest, file sizes and the seconds used so far."""

    def __init__(self, run: str, seconds_before: float) -> None:
        self.run = run
        self.seconds_before = seconds_before
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of this run in seconds, earlier sittings included."""
        return self.seconds_before + time.monotonic() - self.started

    def on_save(self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Marks the checkpoint that was just written."""
        # Every process writes its own random state.
        PartialState().wait_for_everyone()
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        sizes = {}
        for file in sorted(folder.iterdir()):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            sizes[file.name] = file.stat().st_size
        mark = {"run": self.run, "seconds": self.seconds, "sizes": sizes}
        write_atomically(folder / MARK, json.dumps(mark))


def find_checkpoint(folder: Path, run: str) -> tuple[Path | None, float]:
    """Finds the newest usable checkpoint of a run, and clears away those that were cut off.

    Args:
        folder: The stage's folder.
        run: The stage's digest.

    Returns:
        The checkpoint (None: start afresh) and the seconds used up to it.

    Raises:
        StoreError: The checkpoints belong to another run.
    """
    found: tuple[Path | None, float] = (None, 0.0)
    checkpoints = sorted(
        (folder / CHECKPOINTS).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])
    )
    useless = []
    for checkpoint in checkpoints:
        mark = _mark(checkpoint)
        if mark is None or _best_is_lost(checkpoint):
            useless.append(checkpoint)
        elif mark["run"] != run:
            raise StoreError(
                f"{checkpoint} belongs to another run ({mark['run'][:12]}, expected {run[:12]}); "
                f"delete {folder / CHECKPOINTS} or move it away, and run again"
            )
        else:
            found = (checkpoint, mark["seconds"])
    state = PartialState()
    # Nothing goes before everyone has looked.
    state.wait_for_everyone()
    if state.is_main_process:
        for checkpoint in useless:
            shutil.rmtree(checkpoint)
    state.wait_for_everyone()
    return found


def _mark(checkpoint: Path) -> dict[str, Any] | None:
    """Reads a checkpoint's mark; None if it has none or lacks a file."""
    try:
        mark: dict[str, Any] = json.loads((checkpoint / MARK).read_text())
    except FileNotFoundError:
        return None
    whole = all(
        (checkpoint / name).is_file() and (checkpoint / name).stat().st_size == size
        for name, size in mark["sizes"].items()
    )
    return mark if whole else None


def _best_is_lost(checkpoint: Path) -> bool:
    """Tells whether the best checkpoint so far, whose weights the run may end with, is not whole any more."""
    best = _trainer_state(checkpoint)["best_model_checkpoint"]
    # By its name: the folder may have been moved, or named from elsewhere, since.
    return best is not None and _mark(checkpoint.parent / Path(best).name) is None


def steps_if_over(checkpoint: Path | None) -> int | None:
    """Returns the steps of a run that was over when this checkpoint was saved, early stopping included.

    Resumed as it is, such a run would make another step: a trainer forgets that it was told to stop.
    """
    if checkpoint is None:
        return None
    state = _trainer_state(checkpoint)
    over = state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]
    return int(state["global_step"]) if over else None


def _trainer_state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / TRAINER_STATE_NAME).read_text())
    return state


def watch(trainer: Trainer, folder: str, run: str, seconds_before: float) -> MarkCheckpoints:
    """Adds the callbacks above to a trainer working in `folder`; returns the one that keeps time."""
    trainer.remove_callback(PrinterCallback)
    marks = MarkCheckpoints(run, seconds_before)
    for callback in (FiniteOnly(), marks, Progress(folder.rpartition("-")[0])):
        trainer.add_callback(callback)
    hears = ON_EVALUATION.get()
    if hears is not None:
        trainer.add_callback(Announce(hears))
    return marks
