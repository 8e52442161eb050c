"""Trains each of our trainers for a few steps, under however many processes there are.

accelerate launch ... trajectories.py FOLDER    writes FOLDER/KIND.npz: losses and final weights
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from tiny import (
    random_blocks,
    random_rows,
    random_tags,
    tiny_classifier,
    tiny_masked_lm,
    tiny_pretraining,
    tiny_tagger,
    weights_of,
    word_tokenizer,
)

from wellread_hf.data.documents import Windows
from wellread_hf.data.order import whole_run
from wellread_hf.data.packing import Blocks
from wellread_hf.models.encode import PadCollator
from wellread_hf.settings import Distil, Objective, Optim, Running
from wellread_hf.store.graph import processes
from wellread_hf.training.arguments import training_arguments
from wellread_hf.training.classifier import ClassifierTrainer
from wellread_hf.training.distilbert import LearntFromTeacher
from wellread_hf.training.distillation import DistillationTrainer
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.mlm_objectives import with_next_sentence
from wellread_hf.training.pretraining import MlmTrainer, RunBlocks
from wellread_hf.training.sentence_pairs import SentencePairs
from wellread_hf.training.tuning import TargetRows

KINDS = ("mlm", "next-sentence", "distilbert", "finetune", "distill", "patient", "multi-label", "some-labels")
KINDS += ("weighted", "weighted-labels", "tags", "taught-tags", "weighted-tags")
STEPS, BATCH = 6, 32


def trainer_parts(kind: str) -> tuple[type, dict[str, Any]]:
    """The trainer of a kind, with its model, data and collator."""
    if kind in ("mlm", "next-sentence", "distilbert"):
        blocks: Any = Blocks(random_blocks(120, 24))
        parts = {"model": tiny_masked_lm(), "data_collator": MlmCollator(word_tokenizer(), seed=3)}
        if kind == "next-sentence":
            windows = Windows(blocks.ids[:, 1:-2], np.arange(120, dtype=np.uint32))
            blocks = SentencePairs(windows, word_tokenizer(), seed=3)
            parts |= {"model": tiny_pretraining(), "objective": with_next_sentence}
        elif kind == "distilbert":
            teacher = tiny_masked_lm(1, num_hidden_layers=3)
            parts["objective"] = LearntFromTeacher(teacher, parts["model"], Distil(teacher="there"))
        return MlmTrainer, parts | {"train_dataset": RunBlocks([blocks], [STEPS], BATCH, seed=3)}
    if kind.endswith("tags"):
        return _tagging(kind)
    rows = random_rows(100)
    draw = np.random.default_rng(1)
    targets = {"labels": draw.integers(0, 3, size=len(rows))}
    if kind in ("distill", "patient"):
        targets = {"teacher_logits": draw.normal(size=(len(rows), 3)).astype(np.float32) * 2}
    model: dict[str, Any] = {"num_labels": 3}
    if kind in ("multi-label", "some-labels", "weighted-labels"):
        targets["teacher_logits"] = draw.normal(size=(len(rows), 3)).astype(np.float32) * 2
        # Rows without a label fall where they will; each step's mean is over the others.
        targets["labels"] = np.where(draw.random(len(rows)) < 0.5, -100, targets["labels"])
        if kind == "multi-label":
            targets["labels"] = (draw.random((len(rows), 3)) < 0.4).astype(np.float32)
            model["problem_type"] = "multi_label_classification"
    parts: dict[str, Any] = {
        "model": tiny_classifier(**model),
        "train_dataset": TargetRows(rows, targets, whole_run(rows.lengths, BATCH, STEPS, seed=3)),
        "data_collator": PadCollator(rows.pad_id),
    }
    if kind == "patient":
        targets["teacher_states"] = draw.normal(size=(len(rows), 1, 48)).astype(np.float16)
        # With a projection, whose gradients processes must share as well.
        parts["objective"] = Objective(method="patient", projection=True)
    if kind in ("multi-label", "some-labels", "weighted-labels"):
        parts |= {"temperature": 2.0, "hard_label_share": 0.4}
    if kind in ("weighted", "weighted-labels"):
        parts["class_weights"] = (0.2, 1.0, 5.0)
    return (ClassifierTrainer if kind in ("finetune", "weighted") else DistillationTrainer), parts


def _tagging(kind: str) -> tuple[type, dict[str, Any]]:
    """Rows of few and of many words; some have no tag, and a teacher does not see all."""
    rows, labels, logits = random_tags(100)
    targets: dict[str, Any] = {"labels": labels}
    parts: dict[str, Any] = {
        "model": tiny_tagger(num_labels=3),
        "train_dataset": TargetRows(rows, targets, whole_run(rows.lengths, BATCH, STEPS, seed=3)),
        "data_collator": PadCollator(rows.pad_id),
    }
    if kind == "weighted-tags":
        parts["class_weights"] = (0.2, 1.0, 5.0)
    if kind != "taught-tags":
        return ClassifierTrainer, parts
    targets["teacher_logits"] = logits
    return DistillationTrainer, parts | {"temperature": 2.0, "hard_label_share": 0.4}


def trajectory(kind: str, micro: int | None, folder: Path) -> dict[str, np.ndarray]:
    """Trains; returns the logged losses and gradient norms, and the final weights."""
    trainer_class, parts = trainer_parts(kind)
    optim = Optim(learning_rate=1e-2, batch_size=BATCH, precision="fp32")
    arguments = training_arguments(
        folder, optim, Running(micro_batch_size=micro), STEPS, seed=0, checkpoint_steps=1_000
    )
    if kind == "patient":
        # As in a user's script, where DDP looks for parameters that the model's forward does not use.
        arguments.ddp_find_unused_parameters = None
    trainer = trainer_class(args=arguments, **parts)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {
        "losses": np.array([entry["loss"] for entry in logged]),
        "grad_norms": np.array([entry["grad_norm"] for entry in logged]),
        **weights_of(trainer.accelerator.unwrap_model(trainer.model)),
    }


if __name__ == "__main__":
    state = processes()
    out = Path(sys.argv[1])
    for kind in KINDS:
        found = trajectory(kind, None, out / kind)
        if state.is_main_process:
            np.savez(out / f"{kind}.npz", processes=state.num_processes, **found)
