"""Fine-tuning on SST-2 beside the stock Trainer, padded to 128 and with dynamic padding.

  python -m benchmarks --only finetune

2-128 over rows of SST-2's lengths (benchmarks/sst2.py), batches of 32; one epoch, of ours several, so that
all sides are measured for seconds. All start from tokenised rows; timed from the start of training to the end
of its last step, without evaluations and checkpoints.
"""

import copy
import tempfile
from itertools import chain
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.figures import Figure, compared
from benchmarks.sides import SMALLEST
from benchmarks.sst2 import classifier, encoded, in_turns, our_training, rows, step_clock, tokenizer
from wellread_hf.data.order import whole_run
from wellread_hf.training.operations import classifier_products

NAME = "finetune"
_BATCH = 32


def run(rounds: int, quick: bool) -> list[Figure]:
    """Trains by all three ways in turn."""
    import datasets

    count, epochs = (160, 1) if quick else (1600, 4)
    texts, labels = rows(count)
    data, student = encoded(texts), classifier("2-128")
    plain = datasets.Dataset.from_dict({"text": [text for (text,) in texts], "labels": labels})
    tables = {
        name: plain.map(
            lambda batch, padding=padding: tokenizer()(
                batch["text"], truncation=True, max_length=128, padding=padding
            ),
            batched=True,
            remove_columns=["text"],
        )
        for name, padding in (("padded to 128", "max_length"), ("dynamic padding", False))
    }
    differences = {name: _loss_difference(student, data, labels, table) for name, table in tables.items()}
    for name, difference in differences.items():
        assert difference < 1e-4, f"losses of ours and of stock, {name}, differ by {difference}"
    sides = {
        "ours": lambda: our_training(copy.deepcopy(student), data, {"labels": labels}, epochs),
        **{name: lambda table=table: _stock(copy.deepcopy(student), table) for name, table in tables.items()},
    }
    for side in sides.values():
        side()
    seconds = in_turns(sides, rounds)
    passes = dict.fromkeys(sides, 1) | {"ours": epochs}
    per_row = {
        name: tuple(passes[name] * count / value for value in values) for name, values in seconds.items()
    }
    order = whole_run(data.lengths, _BATCH, epochs * count // _BATCH, 0)
    widths = data.lengths[order].reshape(-1, _BATCH).max(axis=1)
    utilisation = limits.utilisation(
        NAME,
        "2-128",
        chain.from_iterable(classifier_products(SMALLEST.shape, _BATCH, int(width)) for width in widths),
        lambda: 1 / sides["ours"](),
        rounds,
        None,
    )
    speeds = [
        Figure(
            benchmark=NAME,
            case=f"2-128, {name}",
            ours="PF, length-grouped",
            theirs=f"Trainer, {name}",
            unit="rows/s",
            ours_values=per_row["ours"],
            theirs_values=per_row[name],
            ratios=compared(per_row["ours"], per_row[name], "higher"),
            target=None if quick else target,
            better="higher",
            same=f"loss on one batch differs by {differences[name]:.0e}",
            note=f"{count} rows, batches of {_BATCH}; ours {epochs} epochs, theirs one",
        )
        for name, target in (("padded to 128", 7.0), ("dynamic padding", 2.5))
    ]
    return [*speeds, utilisation]


def _trainer(model: Any, table: Any, folder: str, steps: int, callbacks: Any = None) -> Any:
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    return Trainer(
        model=model,
        args=TrainingArguments(
            folder,
            per_device_train_batch_size=_BATCH,
            max_steps=steps,
            learning_rate=5e-4,
            weight_decay=0.01,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=table,
        # Rows padded already stay as long as they are.
        data_collator=DataCollatorWithPadding(tokenizer()),
        callbacks=callbacks,
    )


def _stock(model: Any, table: Any) -> float:
    clock = step_clock()
    with tempfile.TemporaryDirectory() as folder:
        _trainer(model, table, folder, len(table) // _BATCH, [clock]).train()
    return float(clock.seconds)


def _loss_difference(student: Any, data: Any, labels: Any, table: Any) -> float:
    """Returns how far the losses of both trainers on the first rows are apart, without dropout."""
    import torch
    from transformers import TrainingArguments

    from wellread_hf.models.encode import PadCollator
    from wellread_hf.models.last_layer import first_position_only
    from wellread_hf.training.classifier import ClassifierTrainer

    silent = copy.deepcopy(student).eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        ours = ClassifierTrainer(model=silent, args=TrainingArguments(folder, use_cpu=True))
        batch = PadCollator(data.pad_id)(
            [data.row(row) | {"labels": np.int64(labels[row])} for row in range(_BATCH)]
        )
        stock = _trainer(silent, table, folder, 1)
        theirs = stock.data_collator([table[row] for row in range(_BATCH)])
        with first_position_only(silent):
            loss = float(ours.compute_loss(silent, batch))
        return abs(loss - float(stock.compute_loss(silent, theirs)))
