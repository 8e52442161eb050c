"""What is seen and kept while a trainer runs: a progress bar, the NaN check, marked checkpoints."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as Arguments
from transformers.trainer import TRAINER_STATE_NAME

from wellread_hf.errors import StoreError, Terminated, library_errors_as
from wellread_hf.progress import bar, tell
from wellread_hf.records import digest, file_digest, write_atomically
from wellread_hf.training.arguments import CHECKPOINTS
from wellread_hf.training.row_mean import RowMeanTrainer, not_finite
from wellread_hf.training.stopping import after_a_checkpoint, signal_heard
from wellread_hf.training.time_budget import ENDLESS, TimeBudget

MARK = "complete.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
# Hears of evaluations on dev before the last: the number, from 1, and the scores (0 to 1). A sweep that stops
# poor trials early sets it.
ON_EVALUATION: ContextVar[Callable[[int, Mapping[str, float]], None] | None] = ContextVar(
    "ON_EVALUATION", default=None
)


class Progress(TrainerCallback):
    """A bar over the optimizer steps with the latest loss and score; by the clock, with the time left."""

    def __init__(self, name: str, budget: TimeBudget | None = None) -> None:
        self.name = name
        self.budget = budget
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
        if self.budget is not None:
            left = self.bar.format_interval(self.budget.left)
            self.bar.set_description_str(f"{self.name}, {left} left", refresh=False)
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


class EndWhenAsked(TrainerCallback):
    """Saves a checkpoint and ends the training when a signal asks for it."""

    def __init__(self, trainer: RowMeanTrainer) -> None:
        self.trainer = trainer

    def on_step_end(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Lets this step be saved."""
        # On a GPU a look would stall every step, so it comes where losses are looked at anyway.
        if (args.device.type == "cpu" or control.should_log) and self.trainer.asked_to_end:
            control.should_save = True

    def on_evaluate(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Lets a step be saved that was evaluated meanwhile."""
        if self.trainer.asked_to_end:
            control.should_save = True

    def on_save(self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ends the training; not before, or the checkpoint would be that of a run that is over."""
        if self.trainer.asked_to_end:
            control.should_training_stop = True


class MarkCheckpoints(TrainerCallback):
    """Marks a checkpoint as whole, last: its run, its files' sizes and SHA-256, the seconds used so far."""

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
        files = sorted(folder.iterdir())
        for file in files:
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        mark = {
            "run": self.run,
            "seconds": self.seconds,
            "sizes": {file.name: file.stat().st_size for file in files},
            "sha256": {file.name: file_digest(file) for file in files},
        }
        write_atomically(folder / MARK, json.dumps(mark | {"check": digest(mark)}))


def find_checkpoint(folder: Path, run: str) -> tuple[Path | None, float]:
    """Finds the newest whole checkpoint of a run, and clears away newer ones, cut off or damaged.

    Args:
        folder: The stage's folder.
        run: The stage's digest.

    Returns:
        The checkpoint (None: start afresh) and the seconds used up to it.

    Raises:
        StoreError: The checkpoints belong to another run.
    """
    steps = {
        int(match[1]): path
        for path in (folder / CHECKPOINTS).glob("*/")
        if (match := _CHECKPOINT.fullmatch(path.name))
    }
    found: tuple[Path | None, float] = (None, 0.0)
    useless: dict[Path, str] = {}
    for step in sorted(steps, reverse=True):
        try:
            mark = _whole(steps[step])
            _check_best(steps[step])
        except StoreError as error:
            useless[steps[step]] = str(error)
            continue
        if mark["run"] != run:
            raise StoreError(
                f"{steps[step]} belongs to another run ({mark['run'][:12]}, expected {run[:12]}); "
                f"delete {folder / CHECKPOINTS} or move it away, and run again"
            )
        found = (steps[step], mark["seconds"])
        break
    state = PartialState()
    # Nothing goes before everyone has looked.
    state.wait_for_everyone()
    if state.is_main_process and useless:
        goes_on = "starts afresh" if found[0] is None else f"goes on from {found[0].name}"
        why = ", ".join(f"{path.name} ({reason})" for path, reason in useless.items())
        tell(f"{folder / CHECKPOINTS}: not whole: {why}; the run {goes_on}")
        for checkpoint in useless:
            shutil.rmtree(checkpoint)
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
        # Marks of before there were hashes have sizes alone.
        if mark.pop("check", None) not in (None, digest(mark)):
            raise StoreError(f"{MARK} is damaged")
        for name, size in mark["sizes"].items():
            if not (checkpoint / name).is_file():
                raise StoreError(f"{name} is missing")
            hashed = mark.get("sha256", {}).get(name)
            same = (checkpoint / name).stat().st_size == size
            if not same or (hashed is not None and file_digest(checkpoint / name) != hashed):
                raise StoreError(f"{name} is damaged")
        return {"run": str(mark["run"]), "seconds": float(mark["seconds"])}


def _check_best(checkpoint: Path) -> None:
    """Makes sure of the best checkpoint so far, whose weights the run may end with.

    Raises:
        StoreError: It is not whole any more.
    """
    with library_errors_as(StoreError, f"{TRAINER_STATE_NAME} is damaged"):
        best = _trainer_state(checkpoint)["best_model_checkpoint"]
        # By its name: the folder may have been moved, or named from elsewhere, since.
        beside = None if best is None else checkpoint.parent / Path(best).name
    if beside is None or beside == checkpoint:
        return
    try:
        _whole(beside)
    except StoreError as error:
        raise StoreError(f"{beside.name}, the best so far, is lost: {error}") from error


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


def watch(trainer: RowMeanTrainer, folder: str, run: str, seconds_before: float) -> MarkCheckpoints:
    """Adds the callbacks above to a trainer working in `folder`; returns the one that keeps time."""
    trainer.remove_callback(PrinterCallback)
    marks = MarkCheckpoints(run, seconds_before)
    progress = Progress(folder.rpartition("-")[0], getattr(trainer, "time_budget", None))
    for callback in (EndWhenAsked(trainer), FiniteOnly(), marks, progress):
        trainer.add_callback(callback)
    hears = ON_EVALUATION.get()
    if hears is not None:
        trainer.add_callback(Announce(hears))
    return marks


def train_from(trainer: RowMeanTrainer, checkpoint: Path | None) -> None:
    """Trains, from a checkpoint if there is one.

    Raises:
        Terminated: A signal asked for the end; a checkpoint of the last step is written.
    """
    with after_a_checkpoint():
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if trainer.asked_to_end:
            raise Terminated(signal_heard() or signal.SIGTERM, f"step {trainer.state.global_step}")
