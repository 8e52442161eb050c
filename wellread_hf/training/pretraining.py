"""Masked-LM pre-training on packed blocks (Devlin et al. 2019; Turc et al. 2019, Algorithm 1, step 1)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset
from transformers import PreTrainedModel

from wellread_hf.data.order import shuffled
from wellread_hf.data.tokens import Blocks
from wellread_hf.models.masked_lm import gives_losses, giving_losses, masked_lm_loss, scoring_only
from wellread_hf.records import write_atomically
from wellread_hf.settings import Pretrain, Running
from wellread_hf.training.arguments import training_arguments
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.row_mean import RowMeanTrainer
from wellread_hf.training.time_budget import TimeBudget, steps_of
from wellread_hf.training.watching import find_checkpoint, watch

# An epoch that training never reaches: the held-out blocks always carry the same masks.
_HELD_OUT_EPOCH = 1 << 32
_EVALUATIONS = 20


class MlmTrainer(RowMeanTrainer):
    """Trains any `AutoModelForMaskedLM`, scoring the masked positions only.

    Its batches are those of `MlmCollator`. With a `time_budget`, the learning rate follows the clock.
    """

    def __init__(self, *args: Any, time_budget: TimeBudget | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.time_budget = time_budget
        if time_budget is not None:
            self.add_callback(time_budget)

    def row_losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Returns each block's mean loss over its masked positions."""
        labels = inputs["labels"]
        stock: Any = self.accelerator.unwrap_model(model)
        with scoring_only(stock, inputs["positions"]):
            if not (model.training and gives_losses(stock)):
                outputs = model(input_ids=inputs["input_ids"])
                return masked_lm_loss(outputs.logits, labels), outputs
            with giving_losses(stock, labels):
                losses = model(input_ids=inputs["input_ids"]).logits
        return losses.mean(dim=1), {}

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Builds the parent's schedule, or one over the time budget."""
        if self.time_budget is not None and self.lr_scheduler is None:
            budget = self.time_budget
            chosen: Any = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = LambdaLR(chosen, lambda step: budget.factor(step))
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)


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
        self.batch_size = batch_size
        self.ends = np.cumsum(np.array(steps) * batch_size)
        self.newest = -1
        self.seed = seed

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.newest = max(self.newest, index)
        phase = int(np.searchsorted(self.ends, index, side="right"))
        ids, train = self.phases[phase]
        epoch, position = divmod(index - (int(self.ends[phase - 1]) if phase else 0), len(train))
        block = int(train[_permutation(len(train), self.seed, epoch)[position]])
        return {"input_ids": ids[block], "epoch": epoch, "block": block}

    def end_phase(self, phase: int, position: int | None = None) -> int:
        """Ends a phase at `position`, or with the batch that was fetched last; returns the position."""
        if position is None:
            position = (self.newest // self.batch_size + 1) * self.batch_size
        self.ends[phase] = position
        return position

    def tokens(self, steps: int) -> int:
        """Counts the tokens of the first `steps` steps."""
        seen = np.diff(np.minimum(self.ends, steps * self.batch_size), prepend=0)
        return int(seen @ [ids.shape[1] for ids, _ in self.phases])


# An epoch is drawn once, and the one before it is still there for batches that straddle the two.
_permutation = lru_cache(maxsize=2)(shuffled)


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
        folder: Receives `checkpoints/` and `log.json`.
        run: Digest that the checkpoints must carry.

    Returns:
        Losses in nats (held-out, and of the unigram model for comparison), steps, tokens, seconds.

    Raises:
        NotFiniteError: The loss became NaN or infinite.
    """
    collator = MlmCollator(tokenizer, settings.mask_share, settings.whole_word, settings.seed)
    checkpoint, seconds = find_checkpoint(folder, run)
    steps = steps_of(settings, [len(blocks.train) for blocks in phases])
    data = RunBlocks(phases, steps, settings.optim.batch_size, settings.seed)
    budget = None
    if settings.minutes is not None:
        # The data set is told of a phase's end by the clock, so it has to be here, not in a worker.
        running = replace(running, workers=0)
        budget = TimeBudget(settings, data, folder, seconds, _EVALUATIONS)
    trainer = MlmTrainer(
        model=model,
        args=training_arguments(
            folder,
            settings.optim,
            running,
            sum(steps),
            settings.seed,
            checkpoint_steps=running.checkpoint_steps,
            evaluation_steps=max(1, sum(steps) // _EVALUATIONS),
        ),
        train_dataset=data,
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
        "unigram_loss": unigram_loss(phases[-1], tokenizer),
        "steps": done,
        "tokens": data.tokens(done),
        "seconds_training": marks.seconds,
        "train_blocks": [len(blocks.train) for blocks in phases],
        "held_out_blocks": len(phases[-1].held_out),
    }


def unigram_loss(blocks: Blocks, tokenizer: Any) -> float:
    """Returns the held-out cross-entropy in nats of the training text's word frequencies (add-one).

    A masked LM at this loss has learnt how frequent words are and nothing about their company. Special
    tokens, which are never predicted, do not count.
    """
    counts = np.zeros(len(tokenizer))
    for start in range(0, len(blocks.ids), 4096):
        counts += np.bincount(blocks.ids[start : start + 4096].ravel(), minlength=len(counts))
    held_out = np.bincount(blocks.ids[blocks.held_out].ravel(), minlength=len(counts))
    ordinary = np.setdiff1d(np.arange(len(counts)), tokenizer.all_special_ids)
    train, held_out = (counts - held_out + 1)[ordinary], held_out[ordinary]
    return float(-(held_out / held_out.sum()) @ np.log(train / train.sum()))
