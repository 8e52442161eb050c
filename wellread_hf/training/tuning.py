"""Supervised training of a classifier: fine-tuning on labels, or distillation on soft labels.

One function serves teachers, Basic, PF, Distillation, PD and the last step of PD-F; what differs is
where the weights come from and whether an `Objective` with soft labels is given.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, EvalPrediction, PreTrainedModel

from wellread_hf.data.order import whole_run
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.metrics.scores import per_class, scores
from wellread_hf.models.encode import EncodedRows, PadCollator
from wellread_hf.models.infer import longest_first
from wellread_hf.settings import Objective, Running, Tuning
from wellread_hf.training.arguments import training_arguments
from wellread_hf.training.callbacks import train_and_evaluate
from wellread_hf.training.checkpoints import find_checkpoint, steps_if_over
from wellread_hf.training.classifier import ClassifierTrainer
from wellread_hf.training.distillation import DistillationTrainer

Targets = Mapping[str, npt.NDArray[Any] | PerWord]


class TargetRows(Dataset[dict[str, Any]]):
    """Tokenised rows with their targets, in a given order.

    Args:
        encoded: The rows.
        targets: Arrays [rows, ...] by name, e.g. `labels`, `teacher_logits`; of words as `PerWord`,
            which come out at the words' first pieces.
        order: Row index at each position.
    """

    def __init__(self, encoded: EncodedRows, targets: Targets, order: npt.NDArray[np.int64]) -> None:
        self.encoded = encoded
        self.targets = targets
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row, words = int(self.order[index]), self.encoded.words
        encoded = self.encoded.row(row)
        targets = {name: values[row] for name, values in self.targets.items()}
        if words is not None:
            length = len(encoded["input_ids"])
            targets = {name: words.at_pieces(row, values, length) for name, values in targets.items()}
        return encoded | targets


def tune(
    model: PreTrainedModel,
    train: tuple[EncodedRows, Targets],
    validation: tuple[EncodedRows, Targets],
    metrics: tuple[str, ...],
    settings: Tuning,
    objective: Objective | None,
    running: Running,
    folder: Path,
    run: str,
    classes: Sequence[str] = (),
    class_weights: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Trains a classifier in place, from its last checkpoint if there is one; keeps the best weights.

    Args:
        model: The classifier; changed.
        train: Rows with `labels`, or with `teacher_logits` (and `labels` for a hard-label share,
            `teacher_states` for a method that compares states).
        validation: Rows with `labels`.
        metrics: Metric names; the first one decides which evaluation is best.
        settings: What to do.
        objective: The distillation objective; None trains on labels.
        running: How to carry it out.
        folder: Receives `checkpoints/` and `log.json`.
        run: Digest that the checkpoints must carry.
        classes: Names of the classes in order; none for regression.
        class_weights: Of the true labels' classes, as `ClassifierTrainer` takes them.

    Returns:
        Best validation scores (0 to 1), those of each class (`by_class`), steps, seconds.

    Raises:
        NotFiniteError: The loss became NaN or infinite.
    """
    rows, targets = train
    batch = settings.optim.batch_size
    # Whole batches over the whole run, not in each epoch: short batches are filled by the next one.
    steps = max(1, round(settings.epochs * len(rows) / batch))
    # Rounded up, or there would be more evaluations than asked for.
    every = -(-steps // settings.evaluations)
    checkpoint, seconds = find_checkpoint(folder, run)
    # A run that early stopping has ended does not go on.
    steps = steps_if_over(checkpoint) or steps
    trainer_class, more = ClassifierTrainer, dict[str, Any]()
    if objective is not None:
        trainer_class, more = DistillationTrainer, {"objective": objective}
    if class_weights is not None:
        more["class_weights"] = class_weights
    # Of the last evaluation, which is that of the best weights.
    by_class = dict[str, Any]()

    # By length, so that batches have little padding.
    evaluated = longest_first(validation[0].lengths)

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        logits: Any = np.asarray(prediction.predictions)
        words = validation[0].words
        labels: Any = np.asarray(prediction.label_ids)
        if words is not None:
            # Of all words, those that are cut off included.
            logits, labels = words.answers(logits, evaluated), validation[1]["labels"][evaluated]
        by_class.update(per_class(logits, labels, classes))
        return scores(metrics, logits, labels)

    trainer = trainer_class(
        model=model,
        args=training_arguments(
            folder,
            settings.optim,
            running,
            steps,
            settings.seed,
            # The best weights are taken from a checkpoint, so every evaluation has one.
            checkpoint_steps=every,
            evaluation_steps=every,
            metric=metrics[0],
        ),
        train_dataset=TargetRows(rows, targets, whole_run(rows.lengths, batch, steps, settings.seed)),
        eval_dataset=TargetRows(*validation, evaluated),
        data_collator=PadCollator(rows.pad_id, rows.pad_left),
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(settings.patience)] if settings.patience else None,
        **more,
    )
    found, seconds = train_and_evaluate(trainer, folder, run, checkpoint, seconds)
    return {
        "metric": metrics[0],
        "validation": {name: found[f"eval_{name}"] for name in metrics},
        **by_class,
        "validation_loss": found["eval_loss"],
        "validation_rows": len(validation[0]),
        "train_rows": len(rows),
        "steps": trainer.state.global_step,
        "seconds_training": seconds,
    }
