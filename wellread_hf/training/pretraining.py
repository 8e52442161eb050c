"""Masked-LM pre-training on packed blocks (Devlin et al. 2019; Turc et al. 2019, Algorithm 1, step 1)."""

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
from wellread_hf.data.packing import Blocks
from wellread_hf.settings import Pretrain, Running
from wellread_hf.training.arguments import training_arguments
from wellread_hf.training.callbacks import train_and_evaluate
from wellread_hf.training.checkpoints import find_checkpoint
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.mlm_objectives import MlmObjective, masked_words
from wellread_hf.training.row_mean import RowMeanTrainer
from wellread_hf.training.sentence_pairs import SentencePairs
from wellread_hf.training.time_budget import TimeBudget, steps_of

# An epoch that training never reaches: the held-out blocks always carry the same masks.
_HELD_OUT_EPOCH = 1 << 32
# Enough to see a curve, few enough to cost little beside the training.
_EVALUATIONS = 20

# A packed corpus, as rows of a model's input.
Rows = Blocks | SentencePairs


class MlmTrainer(RowMeanTrainer):
    """Trains any `AutoModelForMaskedLM`, scoring the masked positions only.

    Its batches are those of `MlmCollator`. With a `time_budget`, the learning rate follows the clock. The
    `objective` says what is minimised; its parts' means come into the metrics of an evaluation.
    """

    def __init__(
        self,
        *args: Any,
        time_budget: TimeBudget | None = None,
        objective: MlmObjective = masked_words,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.objective: MlmObjective = objective
        # Names of the parts that the last batch had.
        self.parts: list[str] = []
        self.time_budget = time_budget
        if time_budget is not None:
            self.add_callback(time_budget)

    def row_losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Returns each row's loss and its parts, as the objective says."""
        stock = self.accelerator.unwrap_model(model)
        # Accelerate puts the student's forward under autocast, but not a teacher's in the objective.
        with self.accelerator.autocast():
            losses, parts = self.objective(model, stock, inputs, self.fast_cpu)
        self.parts = list(parts)
        if not model.training:
            self.keep_rows(**parts)
        return losses, parts

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Builds the parent's schedule, or one over the time budget."""
        if self.time_budget is not None and self.lr_scheduler is None:
            budget = self.time_budget
            chosen: Any = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = LambdaLR(chosen, lambda step: budget.factor(step))
            # Or a second call of `train` would keep this schedule, as if the user had given it.
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

    def __init__(self, phases: Sequence[Rows], steps: Sequence[int], batch_size: int, seed: int) -> None:
        self.phases = [(blocks, blocks.train) for blocks in phases]
        self.batch_size = batch_size
        self.ends = np.cumsum(np.array(steps) * batch_size)
        self.newest = -1
        self.seed = seed

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.newest = max(self.newest, index)
        phase = int(np.searchsorted(self.ends, index, side="right"))
        blocks, train = self.phases[phase]
        epoch, position = divmod(index - (int(self.ends[phase - 1]) if phase else 0), len(train))
        return _example(blocks, train[_permutation(len(train), self.seed, epoch)[position]], epoch)

    def end_phase(self, phase: int, position: int | None = None) -> int:
        """Ends a phase at `position`, or with the batch that was fetched last; returns the position."""
        if position is None:
            position = (self.newest // self.batch_size + 1) * self.batch_size
        self.ends[phase] = position
        return position

    def tokens(self, steps: int) -> int:
        """Counts the tokens of the first `steps` steps."""
        seen = np.diff(np.minimum(self.ends, steps * self.batch_size), prepend=0)
        return int(seen @ [blocks.length for blocks, _ in self.phases])


# An epoch is drawn once, and the one before it is still there for batches that straddle the two.
_permutation = lru_cache(maxsize=2)(shuffled)


class HeldOutBlocks(Dataset[dict[str, Any]]):
    """The held-out blocks of a packed corpus, always with the same masks."""

    def __init__(self, blocks: Rows) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks.held_out)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return _example(self.blocks, self.blocks.held_out[index], _HELD_OUT_EPOCH)


def _example(blocks: Rows, block: int, epoch: int) -> dict[str, Any]:
    return {**blocks.row(int(block), epoch), "epoch": epoch, "block": int(block)}


def pretrain(
    model: PreTrainedModel,
    tokenizer: Any,
    phases: Sequence[Rows],
    settings: Pretrain,
    running: Running,
    folder: Path,
    run: str,
    objective: MlmObjective = masked_words,
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
        objective: What is minimised.

    Returns:
        Losses in nats (of held-out masked words, and of the unigram model for comparison), steps, tokens,
        seconds; held-out means of the objective's other parts.

    Raises:
        NotFiniteError: The loss became NaN or infinite.
    """
    checkpoint, seconds = find_checkpoint(folder, run)
    steps = steps_of(settings, [len(blocks.train) for blocks in phases])
    data = RunBlocks(phases, steps, settings.optim.batch_size, settings.seed)
    budget = None
    if settings.minutes is not None:
        # The clock ends a phase of the data set, so that has to be here, not in a worker.
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
        data_collator=MlmCollator(tokenizer, settings.mask_share, settings.whole_word, settings.seed),
        time_budget=budget,
        objective=objective,
    )
    metrics, seconds = train_and_evaluate(trainer, folder, run, checkpoint, seconds)
    parts = {name: metrics[f"eval_{name}"] for name in trainer.parts}
    return {
        # Whatever else is minimised, this is the loss that pre-trained students are compared by.
        "held_out_loss": parts.pop("mlm_loss", metrics["eval_loss"]),
        **{f"held_out_{name}": mean for name, mean in parts.items()},
        "unigram_loss": unigram_loss(phases[-1], tokenizer),
        "steps": trainer.state.global_step,
        "tokens": data.tokens(trainer.state.global_step),
        "seconds_training": seconds,
        "train_blocks": [len(blocks.train) for blocks in phases],
        "held_out_blocks": len(phases[-1].held_out),
    }


def unigram_loss(blocks: Rows, tokenizer: Any) -> float:
    """Returns the held-out cross-entropy in nats of the training text's word frequencies (add-one).

    A masked LM at this loss has learnt how frequent words are and nothing about their context. Special
    tokens, which are never predicted, do not count.
    """
    counts = np.zeros(len(tokenizer))
    # In parts, since the blocks are a file that may be larger than the memory.
    for start in range(0, len(blocks.ids), 4096):
        counts += np.bincount(blocks.ids[start : start + 4096].ravel(), minlength=len(counts))
    held_out = np.bincount(blocks.ids[blocks.held_out].ravel(), minlength=len(counts))
    ordinary = np.setdiff1d(np.arange(len(counts)), tokenizer.all_special_ids)
    train, held_out = (counts - held_out + 1)[ordinary], held_out[ordinary]
    return float(-(held_out / held_out.sum()) @ np.log(train / train.sum()))
