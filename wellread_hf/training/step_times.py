"""How long a training step takes here: the ordinary trainer, for seconds, on random blocks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from transformers import PrinterCallback, TrainerCallback
from transformers import TrainerControl as Control
from transformers import TrainerState as State
from transformers import TrainingArguments as Arguments

from wellread_hf.data.packing import Blocks
from wellread_hf.data.tokens import id_dtype
from wellread_hf.models.masked_lm import new_masked_lm
from wellread_hf.settings import Pretrain, Running
from wellread_hf.students import BERT_DROPOUT, Student
from wellread_hf.training.arguments import training_arguments
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.pretraining import MlmTrainer, RunBlocks

# More than any measurement takes.
_STEPS = 100_000
# Epochs of so many steps: what a step costs does not depend on what its blocks say.
_STEPS_OF_BLOCKS = 8
_TIMED_AT_LEAST = 2


class StepTimes(TrainerCallback):
    """Keeps the end of each step, and ends the training after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.ends: list[float] = []
        self.seconds = seconds

    def on_step_end(self, args: Arguments, state: State, control: Control, **kwargs: Any) -> None:
        """Keeps the time; on a GPU what was launched is waited for."""
        if args.device.type == "cuda":
            import torch

            torch.cuda.synchronize()
        self.ends.append(perf_counter())
        enough = self.ends[-1] - self.ends[0] >= self.seconds and len(self.ends) > _TIMED_AT_LEAST
        control.should_training_stop = enough

    @property
    def steps(self) -> Sequence[float]:
        """Seconds of each step but the first, in which memory is allocated."""
        return [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]


def seconds_a_step(
    student: Student, tokenizer: Any, settings: Pretrain, running: Running, folder: Path, seconds: float
) -> float:
    """Trains a student with random weights on random blocks, and returns the median of its steps in seconds.

    Args:
        student: Which of the 24.
        tokenizer: Its tokenizer, which has a mask token.
        settings: The batch, the first phase's blocks, and the optimizer.
        running: How it is carried out.
        folder: For what a trainer writes.
        seconds: Of steps that are timed; two at least.
    """
    length, batch = settings.block_lengths[0], settings.optim.batch_size
    words = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
    draw = np.random.default_rng(0)
    blocks = Blocks(draw.choice(words, (_STEPS_OF_BLOCKS * batch, length)).astype(id_dtype(tokenizer)))
    times, dropout = StepTimes(seconds), BERT_DROPOUT if settings.dropout is None else settings.dropout
    trainer = MlmTrainer(
        model=new_masked_lm(student, len(tokenizer), dropout, seed=0),
        args=training_arguments(
            folder, settings.optim, replace(running, report_to=()), _STEPS, 0, checkpoint_steps=_STEPS
        ),
        train_dataset=RunBlocks([blocks], [_STEPS], batch, seed=0),
        data_collator=MlmCollator(tokenizer, settings.mask_share, settings.whole_word),
        callbacks=[times],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return median(times.steps)
