"""Masked-LM pre-training on packed blocks (Devlin et al. 2019; Turc et al. 2019, Algorithm 1, step 1)."""

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wellread_hf.data.order import shuffled
from wellread_hf.data.tokens import Blocks
from wellread_hf.models.masked_lm import masked_lm_loss, scoring_only
from wellread_hf.records import write_atomically
from wellread_hf.settings import Pretrain, Running
from wellread_hf.training.arguments import training_arguments
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.row_mean import RowMeanTrainer
from wellread_hf.training.watching import find_checkpoint, watch

# An epoch that training never reaches: the held-out blocks always carry the same masks.
_HELD_OUT_EPOCH = 1 << 32
_EVALUATIONS = 20
_PLAN = "plan.json"
# Steps timed to plan a run of so many minutes, after one that warms the machine up.
_TIMED_STEPS = 5
# The plan is made a little too long: the clock ends the run, not a lucky estimate.
_OPTIMISM = 1.1


class MlmTrainer(RowMeanTrainer):
    """Trains any `AutoModelForMaskedLM`, scoring the masked positions only.

    Its batches are those of `MlmCollator`. With a `time_budget`, the learning rate follows the clock.
    """

    def __init__(self, *args: Any, time_budget: "TimeBudget | None" = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.time_budget = time_budget
        if time_budget is not None:
            self.add_callback(time_budget)

    def row_losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Returns each block's mean loss over its masked positions."""
        with scoring_only(self.accelerator.unwrap_model(model), inputs["positions"]):
            outputs = model(input_ids=inputs["input_ids"])
        return masked_lm_loss(outputs.logits, inputs["labels"]), outputs

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Builds the parent's schedule, or one over the time budget."""
        if self.time_budget is not None and self.lr_scheduler is None:
            budget = self.time_budget
            chosen: Any = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = LambdaLR(
                chosen,
                lambda step: budget.factor(step / num_training_steps),
            )
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)


class TimeBudget(TrainerCallback):
    """Ends training on time, and shapes the learning rate so that it has come down by then.

    Progress is the larger of the share of the planned steps and the share of the minutes, so a
    machine that slows down costs steps, not the end of the schedule. One process's clock counts.
    """

    def __init__(self, minutes: float, warmup: float, schedule: str, seconds_before: float) -> None:
        self.seconds = minutes * 60
        self.warmup = warmup
        self.schedule = schedule
        self.started = time.monotonic() - seconds_before

    def factor(self, planned: float) -> float:
        """Returns the share of the peak learning rate after a share `planned` of the steps."""
        self.spent = max(planned, self._clock())
        if self.spent < self.warmup:
            return self.spent / self.warmup
        rest = min(1.0, (self.spent - self.warmup) / (1 - self.warmup))
        return 1 - rest if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * rest))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stops when the time is up."""
        if self.spent >= 1:
            control.should_training_stop = True

    def _clock(self) -> float:
        share = [(time.monotonic() - self.started) / self.seconds]
        broadcast_object_list(share)
        return share[0]


class RunBlocks(Dataset[dict[str, Any]]):
    """The blocks of a whole run in order, phase after phase, epoch after epoch.

    Args:
        phases: The packed corpus of each phase.
        steps: Optimizer steps of each phase.
        batch_size: Blocks a step.
        seed: Seed of the order.
    """

    def __init__(self, phases: Sequence[Blocks], steps: Sequence[int], batch_size: int, seed: int) -> None:
        self.phases = [(blocks.ids, blocks.train) for blocks in phases]
        self.ends = np.cumsum(np.array(steps) * batch_size)
        self._permutation = lru_cache(maxsize=2)(lambda rows, epoch: shuffled(rows, seed, epoch))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        phase = int(np.searchsorted(self.ends, index, side="right"))
        ids, train = self.phases[phase]
        epoch, position = divmod(index - (int(self.ends[phase - 1]) if phase else 0), len(train))
        block = int(train[self._permutation(len(train), epoch)[position]])
        return {"input_ids": ids[block], "epoch": epoch, "block": block}


class HeldOutBlocks(Dataset[dict[str, Any]]):
    """The held-out blocks of a packed corpus, always with the same masks."""

    def __init__(self, blocks: Blocks) -> None:
        self.ids = blocks.ids
        self.indices = blocks.held_out

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        block = int(self.indices[index])
        return {"input_ids": self.ids[block], "epoch": _HELD_OUT_EPOCH, "block": block}


def pretrain(
    model: PreTrainedModel,
    tokenizer: Any,
    phases: Sequence[Blocks],
    settings: Pretrain,
    running: Running,
    folder: Path,
    run: str,
) -> dict[str, Any]:
    """Trains a masked LM in place, from its last checkpoint if there is one.

    Args:
        model: The masked LM; changed.
        tokenizer: Its tokenizer.
        phases: The packed corpus of each phase, in the order of `settings.block_lengths`.
        settings: What to do.
        running: How to carry it out.
        folder: Receives `checkpoints/`, `plan.json` and `log.json`.
        run: Digest that the checkpoints must carry.

    Returns:
        Losses in nats (held-out, and of the unigram model for comparison), steps, tokens, seconds.

    Raises:
        NotFiniteError: The loss became NaN or infinite.
    """
    collator = MlmCollator(tokenizer, settings.mask_share, settings.whole_word, settings.seed)
    checkpoint, seconds = find_checkpoint(folder, run)
    steps = _planned_steps(model, phases, collator, settings, folder)
    total = sum(steps)
    budget = None
    if settings.minutes is not None:
        optim = settings.optim
        budget = TimeBudget(settings.minutes, optim.warmup, optim.schedule, seconds)
    trainer = MlmTrainer(
        model=model,
        args=training_arguments(
            folder,
            settings.optim,
            running,
            total,
            settings.seed,
            checkpoint_steps=running.checkpoint_steps,
            evaluation_steps=max(1, total // _EVALUATIONS),
        ),
        train_dataset=RunBlocks(phases, steps, settings.optim.batch_size, settings.seed),
        eval_dataset=HeldOutBlocks(phases[-1]),
        data_collator=collator,
        time_budget=budget,
    )
    marks = watch(trainer, folder.name, run, seconds)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    loss = trainer.evaluate()["eval_loss"]
    if trainer.is_world_process_zero():
        write_atomically(folder / "log.json", json.dumps(trainer.state.log_history, indent=1))
    done = trainer.state.global_step
    return {
        "held_out_loss": loss,
        "unigram_loss": unigram_loss(phases[-1], len(tokenizer)),
        "steps": done,
        "tokens": _tokens(steps, settings, done),
        "seconds_training": marks.seconds,
        "train_blocks": [len(blocks.train) for blocks in phases],
        "held_out_blocks": len(phases[-1].held_out),
    }


def unigram_loss(blocks: Blocks, vocabulary: int) -> float:
    """Returns the held-out cross-entropy in nats of the training text's word frequencies (add-one).

    A masked LM at this loss has learnt how frequent words are and nothing about their company.
    """
    counts = np.ones(vocabulary)
    for start in range(0, len(blocks.ids), 4096):
        counts += np.bincount(blocks.ids[start : start + 4096, 1:-1].ravel(), minlength=vocabulary)
    held_out = np.bincount(blocks.ids[blocks.held_out, 1:-1].ravel(), minlength=vocabulary)
    train = counts - held_out
    return float(-(held_out / held_out.sum()) @ np.log(train / train.sum()))


def _tokens(steps: Sequence[int], settings: Pretrain, done: int) -> int:
    """Counts the tokens that `done` steps saw."""
    seen = 0
    for phase, length in zip(steps, settings.block_lengths, strict=True):
        seen += min(phase, done) * settings.optim.batch_size * length
        done -= min(phase, done)
    return seen


def _planned_steps(
    model: PreTrainedModel,
    phases: Sequence[Blocks],
    collator: MlmCollator,
    settings: Pretrain,
    folder: Path,
) -> list[int]:
    """Returns the optimizer steps of each phase; for `minutes` timed once and written to plan.json."""
    shares = settings.phase_shares
    batch = settings.optim.batch_size
    if settings.steps is not None:
        return _shared_out(settings.steps, shares)
    if settings.minutes is None:
        rows = [len(blocks.train) for blocks in phases]
        return [
            max(1, round(settings.epochs * share * count / batch))
            for share, count in zip(shares, rows, strict=True)
        ]
    plan = folder / _PLAN
    if not plan.is_file():
        seconds = sum(
            share * _seconds_a_step(model, blocks, collator, batch)
            for share, blocks in zip(shares, phases, strict=True)
        )
        total = round(settings.minutes * 60 / seconds * _OPTIMISM)
        # The processes' clocks differ; the first one's plan is everybody's.
        planned = [_shared_out(max(1, total), shares)]
        broadcast_object_list(planned)
        write_atomically(plan, json.dumps(planned[0]))
    steps: list[int] = json.loads(plan.read_text())
    return steps


def _shared_out(steps: int, shares: Sequence[float]) -> list[int]:
    """Cuts `steps` into phases by `shares`; each gets at least one, the last takes the rounding."""
    phases = [max(1, round(share * steps)) for share in shares[:-1]]
    return [*phases, max(1, steps - sum(phases))]


def _seconds_a_step(model: PreTrainedModel, blocks: Blocks, collator: MlmCollator, batch: int) -> float:
    """Times optimizer steps on a copy of the model; the model and the random state stay as they are."""
    from accelerate import PartialState

    state = PartialState()
    twin = copy.deepcopy(model).to(state.device).train()
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.0)
    rows = [
        {"input_ids": blocks.ids[index % len(blocks.ids)], "epoch": 0, "block": 0}
        for index in range(max(1, batch // state.num_processes))
    ]

    def step() -> None:
        inputs = {key: value.to(state.device) for key, value in collator(rows).items()}
        with scoring_only(twin, inputs["positions"]):
            logits = twin(input_ids=inputs["input_ids"]).logits
        loss: Any = masked_lm_loss(logits, inputs["labels"]).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    with torch.random.fork_rng():
        return _median_seconds(step)


def _median_seconds(step: Callable[[], None]) -> float:
    step()
    times = []
    for _ in range(_TIMED_STEPS):
        started = time.monotonic()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.monotonic() - started)
    return float(np.median(times))
