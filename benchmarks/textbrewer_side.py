"""TextBrewer's side of `benchmarks/distill.py`: needs textbrewer, torch and transformers, nothing of ours.

  python benchmarks/textbrewer_side.py FOLDER train|loss

`train` prints the seconds of 3 epochs of GeneralDistiller, `loss` its loss on the first 32 rows without
dropout.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig
from torch.utils.data import DataLoader
from transformers import BertForSequenceClassification

EPOCHS = 3
BATCH = 32


def collate(rows):
    """Pads to the longest row of the batch; id 0 is the padding."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.from_numpy(row.astype(np.int64))
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def adaptor(batch, outputs):
    return {"logits": outputs.logits}


def main(folder: Path, what: str) -> None:
    teacher = BertForSequenceClassification.from_pretrained(folder / "teacher").eval()
    student = BertForSequenceClassification.from_pretrained(folder / "student").train()
    with np.load(folder / "rows.npz") as arrays:
        rows = np.split(arrays["ids"], arrays["offsets"][1:-1])
    loader = DataLoader(rows, batch_size=BATCH, collate_fn=collate)
    with tempfile.TemporaryDirectory() as out:
        distiller = GeneralDistiller(
            # One checkpoint, at the end; no TensorBoard.
            TrainingConfig(output_dir=out, log_dir=None, device="cpu", ckpt_epoch_frequency=EPOCHS),
            DistillationConfig(temperature=1, kd_loss_type="ce", kd_loss_weight=1, hard_label_weight=0),
            teacher,
            student,
            adaptor,
            adaptor,
        )
        if what == "loss":
            student.eval()
            loss, _ = distiller.train_on_batch(next(iter(loader)), {})
            print(float(loss))
            return
        optimizer = torch.optim.AdamW(student.parameters(), lr=5e-4, weight_decay=0.01, eps=1e-6)
        # So that neither side pays for what only a first batch costs.
        with torch.no_grad():
            teacher(**collate(rows[:BATCH]))
        started = time.perf_counter()
        with distiller:
            distiller.train(optimizer, loader, num_epochs=EPOCHS, max_grad_norm=1.0)
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
