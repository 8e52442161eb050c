"""A step of distillation on stored labels beside a step of plain fine-tuning of the same student.

  python -m benchmarks --only distill-overhead

2-128, one epoch over the same rows in the same order (benchmarks/sst2.py), both through our trainers.
"""

import copy

import numpy as np

from benchmarks.figures import Figure, compared
from benchmarks.pairs import in_turn
from benchmarks.sst2 import classifier, encoded, our_training, rows

NAME = "distill-overhead"


def run(rounds: int, quick: bool) -> list[Figure]:
    """Trains on soft and on hard labels in turn."""
    import torch

    from wellread_hf.training.losses import hard_label_loss, soft_label_loss

    count = 160 if quick else 1600
    texts, labels = rows(count)
    data, student = encoded(texts), classifier("2-128")
    # A teacher that is as sure as labels are: then both losses are the same loss.
    logits = np.where(np.arange(2) == labels[:, None], 50.0, -50.0).astype(np.float32)
    with torch.no_grad():
        scores = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
        soft = soft_label_loss(scores, torch.from_numpy(logits))
        hard = hard_label_loss(scores, torch.from_numpy(labels))
    difference = float((soft - hard).abs().max())
    assert difference < 1e-4, f"losses differ by {difference}"
    ours, theirs = in_turn(
        lambda: count / our_training(copy.deepcopy(student), data, {"teacher_logits": logits}, 1),
        lambda: count / our_training(copy.deepcopy(student), data, {"labels": labels}, 1),
        rounds,
    )
    return [
        Figure(
            benchmark=NAME,
            case="2-128",
            ours="distillation on stored labels",
            theirs="fine-tuning on labels",
            unit="rows/s",
            ours_values=ours,
            theirs_values=theirs,
            ratios=compared(ours, theirs, "higher"),
            target=None if quick else 0.95,
            better="higher",
            same=f"with a teacher that is certain the losses differ by {difference:.0e}",
            note=f"{count} rows, batches of 32",
        )
    ]
