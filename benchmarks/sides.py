"""Pre-training in three ways, each in a process of its own that trains so many steps on request.

A side keeps its model, optimizer and memory between its turns, as a run does, and does nothing in the
other's. All have the same random weights, the same blocks and the same settings: dropout 0.1, AdamW,
gradients clipped, fp32. Blocks are random: what a step costs does not depend on what they say.
"""

import contextlib
import io
import math
import multiprocessing
import tempfile
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    BertTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from benchmarks.pairs import Peak
from wellread_hf.data.packing import Blocks
from wellread_hf.models.masked_lm import new_masked_lm, scoring_only
from wellread_hf.settings import Pretrain, Running
from wellread_hf.students import BERT_DROPOUT, VOCABULARY, Student
from wellread_hf.training.arguments import training_arguments
from wellread_hf.training.callbacks import watch
from wellread_hf.training.fast_cpu import cheap_dropout, freed_memory_kept, giving_losses
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.pretraining import HeldOutBlocks, MlmTrainer, RunBlocks

LENGTH, BATCH, BLOCKS = 128, 32, 1_600
# More than any benchmark asks for, so that no schedule ends within one.
STEPS = 10_000
SMALLEST = Student(2, 128)


def tokenizer(size: int = VOCABULARY) -> BertTokenizer:
    """A tokenizer with so many words; as many as BERT's, unless said otherwise."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"w{number}" for number in range(size - len(words))]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


def random_blocks(rows: int = BLOCKS, length: int = LENGTH, words: int = VOCABULARY) -> np.ndarray:
    """Packed blocks of random words."""
    blocks = np.random.default_rng(0).integers(5, words, size=(rows, length)).astype(np.uint16)
    blocks[:, 0], blocks[:, -1] = 2, 3
    return blocks


def settings() -> Pretrain:
    """The settings of both sides: those of `recipes/pretrain.py`, but for the number of steps."""
    return Pretrain(steps=STEPS)


def our_trainer(
    student: Student, folder: Path, length: int = LENGTH, batch: int = BATCH, words: int = VOCABULARY
) -> Trainer:
    """Our trainer, as `training/pretraining.py` makes it."""
    given, blocks = settings(), Blocks(random_blocks(length=length, words=words))
    optim = replace(given.optim, batch_size=batch)
    trainer = MlmTrainer(
        model=new_masked_lm(student, words, BERT_DROPOUT, seed=0),
        args=training_arguments(folder, optim, Running(checkpoint_steps=STEPS), STEPS, 0, STEPS, STEPS),
        train_dataset=RunBlocks([blocks], [STEPS], batch, seed=0),
        eval_dataset=HeldOutBlocks(blocks),
        data_collator=MlmCollator(tokenizer(words), given.mask_share),
    )
    watch(trainer, "benchmark-", "", 0.0)
    return trainer


def stock_trainer(student: Student, folder: Path) -> Trainer:
    """Stock `Trainer` and collator on the columns that `run_mlm.py` of transformers leaves in a data set."""
    from datasets import Dataset

    optim = settings().optim
    ids = random_blocks().astype(np.int64)
    special = np.isin(ids, (2, 3)).astype(np.int64)
    columns = {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": np.ones_like(ids)}
    columns["special_tokens_mask"] = special
    words = tokenizer()
    return Trainer(
        model=new_masked_lm(student, VOCABULARY, BERT_DROPOUT, seed=0),
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            learning_rate=optim.learning_rate,
            warmup_steps=optim.warmup,
            weight_decay=optim.weight_decay,
            adam_beta2=optim.beta2,
            adam_epsilon=optim.epsilon,
            max_grad_norm=optim.max_grad_norm,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=Dataset.from_dict(columns),
        data_collator=DataCollatorForLanguageModeling(words, mlm_probability=settings().mask_share),
        processing_class=words,
    )


class BareLoop:
    """Our model, data and loss, and nothing else of a trainer: the least that a user would write."""

    def __init__(self, student: Student) -> None:
        self.model = new_masked_lm(student, VOCABULARY, BERT_DROPOUT, seed=0)
        self.optim = settings().optim

    def train(self, turns: "Turns") -> None:
        """Trains until there are no more turns."""
        # Not a trainer's doing: so both sides have it.
        with freed_memory_kept(), cheap_dropout(self.model):
            self._train(turns)

    def _train(self, turns: "Turns") -> None:
        optim, model = self.optim, self.model.train()
        data = RunBlocks([Blocks(random_blocks())], [STEPS], BATCH, seed=0)
        collator = MlmCollator(tokenizer(), settings().mask_share)
        optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=optim.learning_rate,
            betas=(0.9, optim.beta2),
            eps=optim.epsilon,
            weight_decay=optim.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, step / (optim.warmup * STEPS))
        )
        going = turns.wait()
        for batch in DataLoader(data, batch_size=BATCH, collate_fn=collator):
            if not going:
                return
            bare_loss(model, batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), optim.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            going = turns.step_done()


def bare_loss(model: Any, batch: Any) -> torch.Tensor:
    """Returns the loss of a masked batch as our trainer computes it."""
    with scoring_only(model, batch["positions"]), giving_losses(model, batch["labels"]):
        losses: torch.Tensor = model(input_ids=batch["input_ids"]).logits
    return losses.mean()


class Turns(TrainerCallback):
    """Lets a trainer do so many steps on request, and reports how many seconds they took."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.left = 0
        self.started = 0.0

    def wait(self) -> bool:
        """Waits for the next turn; returns whether there is one."""
        steps = self.pipe.recv()
        self.left = steps or 0
        self.started = time.perf_counter()
        return steps is not None

    def step_done(self) -> bool:
        """Counts a step; at the end of a turn, reports its seconds and waits for the next one."""
        self.left -= 1
        if self.left:
            return True
        self.pipe.send(time.perf_counter() - self.started)
        return self.wait()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.wait()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.step_done():
            control.should_training_stop = True
            control.should_save = control.should_evaluate = False


class Side:
    """One way of training, in a process of its own: `ours`, `stock` or `bare`."""

    def __init__(self, way: str, student: Student) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(there, way, student, torch.get_num_threads()), daemon=True
        )
        self.process.start()
        there.close()

    def steps(self, count: int) -> float:
        """Trains so many steps; returns tokens a second."""
        self.pipe.send(count)
        return count * BATCH * LENGTH / float(self.pipe.recv())

    def loss(self) -> tuple[float, float]:
        """Returns loss and norm of the gradients on one fixed batch with fixed masks, without dropout."""
        self.pipe.send("loss")
        found: tuple[float, float] = self.pipe.recv()
        return found

    def train(self) -> None:
        """Begins training: from here on there are turns."""
        self.pipe.send("train")

    def close(self) -> float:
        """Ends the process; returns its peak memory in MB above that of a tiny run."""
        self.pipe.send(None)
        peak = float(self.pipe.recv())
        self.process.join()
        return peak


def _serve(pipe: Connection, way: str, student: Student, threads: int) -> None:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        _touch_everything(way, Path(folder) / "tiny")
        peak = Peak()
        made: Any = BareLoop(student) if way == "bare" else _trainer(way, student, Path(folder))
        while pipe.recv() == "loss":
            pipe.send(_loss_and_norm(made, way))
        turns = Turns(pipe)
        if way == "bare":
            made.train(turns)
        else:
            made.add_callback(turns)
            # The last checkpoint is no part of a step.
            made.args.save_strategy = "no"
            # Progress bars and logs of two sides would cross.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                made.train()
        pipe.send(peak.megabytes)


def _trainer(way: str, student: Student, folder: Path) -> Trainer:
    return (our_trainer if way == "ours" else stock_trainer)(student, folder)


def _touch_everything(way: str, folder: Path) -> None:
    """Loads what is loaded on first use, so that the peak that is measured is that of training."""
    model = new_masked_lm(SMALLEST, 100, BERT_DROPOUT, seed=0)
    ids = torch.ones(2, 16, dtype=torch.long)
    model(input_ids=ids, labels=ids).loss.backward()
    torch.optim.AdamW(model.parameters(), fused=True).step()
    if way == "stock":
        import datasets  # noqa: F401


def _loss_and_norm(made: Any, way: str) -> tuple[float, float]:
    model = made.model.train()
    rates = {module: module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    for module in rates:
        module.p = 0.0
    blocks = random_blocks(BATCH)
    batch = MlmCollator(tokenizer())(
        [{"input_ids": row, "epoch": 0, "block": number} for number, row in enumerate(blocks)]
    )
    if way == "stock":
        dense = torch.full_like(batch["input_ids"], -100).scatter_(1, batch["positions"], batch["labels"])
        loss = made.compute_loss(model, {"input_ids": batch["input_ids"], "labels": dense})
    elif way == "ours":
        loss = made.compute_loss(model, batch)
    else:
        loss = bare_loss(model, batch)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), math.inf)
    found = loss.item(), norm.item()
    model.zero_grad()
    for module, rate in rates.items():
        module.p = rate
    return found


def same_loss(ours: Side, theirs: Side) -> str:
    """Says by how much loss and gradients of two sides differ on the same batch.

    Raises:
        SystemExit: By more than 1e-4: they compute different things.
    """
    (loss, norm), (other, other_norm) = ours.loss(), theirs.loss()
    by, norms = abs(loss - other), abs(norm / other_norm - 1)
    if not (by < 1e-4 and norms < 1e-4):
        raise SystemExit(f"the sides differ: losses {loss} and {other}, gradients {norm} and {other_norm}")
    return f"loss on one batch differs by {by:.0e}, the gradients' norm by {norms:.0e} of itself"
