"""Training by the clock: so many minutes, with a schedule that has come down by then."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wellread_hf.errors import StoreError, library_errors_as
from wellread_hf.settings import Pretrain
from wellread_hf.store.records import write_atomically

# More steps than any budget allows: the clock ends the run.
ENDLESS = 10**8
_SWITCHES = "switches.json"


class Phased(Protocol):
    """A data set that can end its current phase."""

    def end_phase(self, phase: int, position: int | None = None) -> int:
        """Lets the next phase begin at `position` (default: as soon as may be); returns the position."""
        ...


class TimeBudget(TrainerCallback):
    """Ends training when the minutes are over; learning rate, phases and evaluations follow the clock.

    A machine that slows down costs steps, not the end of the schedule. The main process's clock counts
    for all. Where a phase ended is kept in the folder, so that a resumed run sees the same blocks.

    Args:
        settings: With `minutes`.
        data: The blocks of the run.
        folder: The stage's folder.
        seconds_before: What earlier runs have used up.
        evaluations: Evaluations over the whole run.
    """

    def __init__(
        self, settings: Pretrain, data: Phased, folder: Path, seconds_before: float, evaluations: int
    ) -> None:
        assert settings.minutes is not None  # the caller's reason to be here
        self.seconds = settings.minutes * 60
        self.warmup = settings.optim.warmup
        self.schedule = settings.optim.schedule
        # Monotonic: a clock that is set while a run goes on would end it early or late.
        self.started = time.monotonic() - seconds_before
        self.evaluations = evaluations
        self.data = data
        self.path = folder / _SWITCHES
        self.phase_ends = [sum(settings.phase_shares[:end]) for end in range(1, len(settings.phase_shares))]
        self.switches: list[int] = []
        # A run that starts afresh has ended no phase.
        if seconds_before and self.path.is_file():
            remedy = f"delete {folder} and run again"
            with library_errors_as(StoreError, f"{self.path} cannot be read", remedy):
                self.switches = [int(position) for position in json.loads(self.path.read_bytes())]
        for phase, position in enumerate(self.switches):
            data.end_phase(phase, position)
        self.spent = 0.0
        self.evaluated = int(seconds_before / self.seconds * evaluations)

    @property
    def left(self) -> float:
        """Seconds until the end, as of the last look at the clock."""
        return max(0.0, 1 - self.spent) * self.seconds

    def factor(self, step: int) -> float:
        """Looks at the clock and returns the share of the peak learning rate that is due now."""
        share = [(time.monotonic() - self.started) / self.seconds]
        broadcast_object_list(share)
        self.spent = share[0]
        if self.spent < self.warmup:
            return self.spent / self.warmup
        rest = min(1.0, (self.spent - self.warmup) / (1 - self.warmup))
        return 1 - rest if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * rest))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stops, evaluates or begins the next phase when it is time to."""
        if self.spent >= 1:
            control.should_training_stop = True
        elif int(self.spent * self.evaluations) > self.evaluated:
            self.evaluated = int(self.spent * self.evaluations)
            control.should_evaluate = True
        over = len(self.switches)
        if over < len(self.phase_ends) and self.spent >= self.phase_ends[over]:
            self.switches.append(self.data.end_phase(over))
            if state.is_world_process_zero:
                write_atomically(self.path, json.dumps(self.switches))


def steps_of(settings: Pretrain, rows: Sequence[int]) -> list[int]:
    """Returns the optimizer steps of each phase.

    Args:
        settings: With `steps`, `minutes` (endless, the clock ends them) or `epochs`.
        rows: Training blocks of each phase.
    """
    shares = settings.phase_shares
    if settings.minutes is not None:
        return [ENDLESS] * len(shares)
    if settings.steps is not None:
        phases = [max(1, round(share * settings.steps)) for share in shares[:-1]]
        return [*phases, max(1, settings.steps - sum(phases))]
    wanted = [settings.epochs * share * count for share, count in zip(shares, rows, strict=True)]
    return [max(1, round(blocks / settings.optim.batch_size)) for blocks in wanted]
