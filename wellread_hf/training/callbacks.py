"""What happens while a trainer runs: a progress bar, the NaN check, evaluations reported, an orderly end."""

import json
import signal
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback
from transformers import TrainerControl as Control
from transformers import TrainerState as State
from transformers import TrainingArguments as Arguments

from wellread_hf.errors import Terminated
from wellread_hf.store.progress import bar
from wellread_hf.store.records import write_atomically
from wellread_hf.store.signals import after_a_checkpoint, signal_heard
from wellread_hf.training.checkpoints import MarkCheckpoints
from wellread_hf.training.row_mean import RowMeanTrainer, not_finite
from wellread_hf.training.time_budget import ENDLESS, TimeBudget

# Receives evaluations on dev before the last: the number, from 1, and the scores (0 to 1). A sweep that stops
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

    def on_train_begin(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Opens the bar."""
        # By the clock there is no number of steps to come to.
        steps = state.max_steps if state.max_steps < ENDLESS else None
        # At once: other bars wait two seconds, so that a short wait shows none.
        self.bar = bar(self.name, "steps", steps, initial=state.global_step, delay=0)

    def on_step_end(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Moves it."""
        if self.budget is not None:
            left = self.bar.format_interval(self.budget.left)
            # Drawn by `update`.
            self.bar.set_description_str(f"{self.name}, {left} left", refresh=False)
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Shows the latest losses."""
        shown = _losses(kwargs)
        if shown and self.bar is not None:
            self.bar.set_postfix({name: f"{loss:.3f}" for name, loss in shown.items()}, refresh=False)

    def on_train_end(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Closes it."""
        self.bar.close()


class FiniteOnly(TrainerCallback):
    """Refuses to save a checkpoint, or to go on after a log, when loss or weights are not finite."""

    def on_step_end(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Looks at the weights before they are saved."""
        if control.should_save:
            # Logging comes before saving, so the loss is looked at first.
            control.should_log = True
            if not all(bool(torch.isfinite(weight).all()) for weight in kwargs["model"].parameters()):
                raise not_finite(float("nan"), state.global_step)

    def on_log(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Looks at the losses; evaluation comes before saving too."""
        for loss in _losses(kwargs).values():
            if not isfinite(loss):
                raise not_finite(loss, state.global_step)


def _losses(logged: Mapping[str, Any]) -> dict[str, float]:
    logs = logged.get("logs") or {}
    return {name: logs[name] for name in ("loss", "eval_loss") if name in logs}


class ReportEvaluations(TrainerCallback):
    """Reports evaluations, once the checkpoint of the same step is written."""

    def __init__(self, report: Callable[[int, Mapping[str, float]], None]) -> None:
        self.report = report
        self.scores: Mapping[str, float] | None = None

    def on_evaluate(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Keeps the scores."""
        self.scores = {name.removeprefix("eval_"): value for name, value in kwargs["metrics"].items()}

    def on_save(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Passes them on, but for the last: a run that is ended here can go on from here."""
        if self.scores is not None and state.global_step < state.max_steps:
            self.report(state.global_step // max(1, state.eval_steps), self.scores)


class EndWhenAsked(TrainerCallback):
    """Saves a checkpoint and ends the training when a signal asks for it."""

    def __init__(self, trainer: RowMeanTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Lets this step be saved."""
        # On a GPU a look would stall every step, so it comes where losses are looked at anyway.
        if (args.device.type == "cpu" or control.should_log) and self.trainer.asked_to_end:
            control.should_save = True

    def on_evaluate(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Lets a step be saved that was evaluated meanwhile."""
        if self.trainer.asked_to_end:
            control.should_save = True

    def on_save(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Ends the training; not before, or the checkpoint would be that of a run that is over."""
        if self.trainer.asked_to_end:
            control.should_training_stop = True


def watch(trainer: RowMeanTrainer, folder: str, run: str, seconds_before: float) -> MarkCheckpoints:
    """Adds the callbacks above to a trainer working in `folder`; returns the one that keeps time."""
    # Without bars of its own the Trainer prints each log, which would break ours.
    trainer.remove_callback(PrinterCallback)
    marks = MarkCheckpoints(run, seconds_before)
    # A stage's folder is its name and a digest, which says nothing to a person.
    progress = Progress(folder.rpartition("-")[0], getattr(trainer, "time_budget", None))
    # What asks for a checkpoint comes before what looks at the weights that go into it.
    for callback in (EndWhenAsked(trainer), FiniteOnly(), marks, progress):
        trainer.add_callback(callback)
    if (report := ON_EVALUATION.get()) is not None:
        trainer.add_callback(ReportEvaluations(report))
    return marks


def train_and_evaluate(
    trainer: RowMeanTrainer, folder: Path, run: str, checkpoint: Path | None, seconds_before: float
) -> tuple[dict[str, float], float]:
    """Trains, from a checkpoint if there is one, evaluates what was kept, and writes `log.json`.

    Args:
        trainer: Any of ours.
        folder: The stage's folder.
        run: Digest that the checkpoints carry.
        checkpoint: As from `find_checkpoint`.
        seconds_before: As from `find_checkpoint`.

    Returns:
        The evaluation's metrics, and the seconds of training, earlier runs included.

    Raises:
        Terminated: A signal asked for the end; a checkpoint of the last step is written.
    """
    marks = watch(trainer, folder.name, run, seconds_before)
    # In here a signal waits for the end of the step; anywhere else it ends the run at once.
    with after_a_checkpoint():
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if trainer.asked_to_end:
            raise Terminated(signal_heard() or signal.SIGTERM, f"step {trainer.state.global_step}")
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        # From this `wellread losses` draws its picture.
        write_atomically(folder / "log.json", json.dumps(trainer.state.log_history, indent=1))
    return metrics, marks.seconds
