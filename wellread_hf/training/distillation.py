"""`ClassifierTrainer` (true labels) and `DistillationTrainer` (a teacher's soft labels)."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.settings import Objective
from wellread_hf.training.cls_states import STATES, ComparedStates
from wellread_hf.training.methods import find_method
from wellread_hf.training.methods.lesson import Lesson
from wellread_hf.training.objectives import hard_label_loss
from wellread_hf.training.row_mean import RowMeanTrainer

SOFT_LABELS = "teacher_logits"
# Rows of a data set looked at in one go when its soft labels are checked.
_CHECKED_AT_ONCE = 10_000


class ClassifierTrainer(RowMeanTrainer):
    """Fine-tunes any sequence classifier or regressor on `labels`."""

    def row_losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Returns each row's loss against its label."""
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        return hard_label_loss(outputs.logits.float(), labels), outputs


class DistillationTrainer(ClassifierTrainer):
    """Trains a sequence classifier on what a teacher said (Turc et al. 2019, Algorithm 1, step 2).

    A `transformers.Trainer` in every other respect: plain `TrainingArguments`, any sequence
    classifier, evaluation on true `labels` as usual. Training rows carry `teacher_logits` [C]
    (stored once, by `wellread_hf.training.soft_labels` or by yourself), or a live `teacher` is given.

    Args:
        temperature: T; the loss is multiplied by T².
        hard_label_share: Weight of the cross-entropy with the true `labels`; the soft loss gets the
            rest. The paper has 0.
        teacher: A live teacher, run on the same inputs in every step: same result as stored
            logits, many times slower. It must share the student's tokenizer.
        objective: Another method than soft labels, and all its settings, in place of the first two. One that
            compares [CLS] states has the teacher's in the rows as `teacher_states` [k, H], those of the map's
            layers in its order, or takes a live teacher's.
        **kwargs: As for `transformers.Trainer`.

    Raises:
        SettingsError: Temperature, share or objective cannot be.
        LabelError: (at the start of training) soft labels are missing, of another width than the
            student's output, or not finite; or true labels are missing where a share is asked for; or
            states are missing or of another width than the student's.
    """

    _signature_columns: Any  # the parent's; typed by its first value, None

    def __init__(
        self,
        *args: Any,
        temperature: float = 1.0,
        hard_label_share: float = 0.0,
        teacher: nn.Module | None = None,
        objective: Objective | None = None,
        **kwargs: Any,
    ) -> None:
        if not temperature > 0:
            raise SettingsError(f"temperature must be above 0, got {temperature}")
        if not 0 <= hard_label_share <= 1:
            raise SettingsError(f"hard_label_share must lie between 0 and 1, got {hard_label_share}")
        if objective is not None and (temperature, hard_label_share) != (1.0, 0.0):
            raise SettingsError(
                "temperature and hard_label_share are fields of the objective as well, and both were given; "
                "put them into `objective`"
            )
        if objective is None:
            objective = Objective(temperature=temperature, hard_label_share=hard_label_share)
        self.objective: Objective = objective
        method = find_method(self.objective)
        self._method_losses: Callable[[Lesson, Objective], Tensor] = import_module(method.module).row_losses
        super().__init__(*args, **kwargs)
        self.teacher = None
        if teacher is not None:
            self._check_teacher(teacher)
            self.teacher = teacher.to(self.args.device).eval().requires_grad_(False)
        self._states: ComparedStates | None = None
        if method.states:
            row = self._first_row() if self.teacher is None else None
            self._states = ComparedStates(
                self.objective, self.model, self.teacher, row, self.args.seed, self.args.device
            )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains as the parent does; a projection of states is a part of the model meanwhile."""
        if self._states is None:
            return super().train(*args, **kwargs)
        model: Any = self.model
        with self._states.part_of(model):
            return super().train(*args, **kwargs)

    def row_losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Returns each row's loss: against the soft labels in training, the true ones in evaluation."""
        if not model.training:
            return super().row_losses(model, inputs)
        stored = {name: inputs.pop(name, None) for name in (SOFT_LABELS, STATES)}
        labels = inputs.pop("labels", None)
        # Said only where it is needed: not every classifier knows the argument.
        more = {} if self._states is None else {"output_hidden_states": True}
        outputs = model(**inputs, **more)
        logits = outputs.logits.float()
        live = None
        if self.teacher is not None:
            # Accelerate puts the student's forward under autocast, and no other model's.
            with torch.no_grad(), self.accelerator.autocast():
                live = self.teacher(**inputs, **more)
        teacher_logits = self._targets(stored[SOFT_LABELS] if live is None else live.logits, logits)
        lesson = Lesson(logits, teacher_logits, labels)
        if self._states is not None:
            lesson = replace(
                lesson,
                states=self._states.of_student(outputs),
                teacher_states=self._states.of_teacher(live, stored[STATES]),
            )
        return self._method_losses(lesson, self.objective), outputs

    def get_train_dataloader(self) -> Any:
        """Builds the parent's loader, once the soft labels have been checked."""
        self._check_rows()
        return super().get_train_dataloader()

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Evaluates as the parent does; what the teacher said of the rows is left aside."""
        hard = {name: value for name, value in inputs.items() if name not in (SOFT_LABELS, STATES)}
        return super().prediction_step(model, hard, *args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        # With plain TrainingArguments the parent drops every column that the model does not take.
        super()._set_signature_columns_if_needed()
        told = [name for name in (SOFT_LABELS, STATES) if name not in self._signature_columns]
        self._signature_columns = [*self._signature_columns, *told]

    def _targets(self, stored: Tensor | None, logits: Tensor) -> Tensor:
        if stored is None or stored.shape != logits.shape:
            found = "none" if stored is None else f"shape {tuple(stored.shape)}"
            raise LabelError(
                f"expected {SOFT_LABELS} of shape {tuple(logits.shape)} in every batch, got {found}; keep "
                "the column through your collator, with the student's classes in the student's order"
            )
        return stored.to(logits)

    def _check_teacher(self, teacher: Any) -> None:
        model: Any = self.model
        student = model.config
        for field in ("num_labels", "vocab_size"):
            ours, theirs = getattr(student, field, None), getattr(teacher.config, field, None)
            if ours != theirs:
                raise LabelError(
                    f"a live teacher must have the student's {field}: expected {ours}, got {theirs}; use "
                    "stored soft labels (recipes/label.py), which match classes by name and tokenise apart"
                )
        ours, theirs = _class_names(student), _class_names(teacher.config)
        if ours and theirs and ours != theirs:
            raise LabelError(
                f"a live teacher must have the student's classes in their order: expected {', '.join(ours)}, "
                f"got {', '.join(theirs)}; use stored soft labels (recipes/label.py), matched by name"
            )

    def _first_row(self) -> Any | None:
        """Returns the first training row; None of a stream, whose every batch is still checked."""
        rows: Any = self.train_dataset
        stream = rows is None or isinstance(rows, IterableDataset) or not hasattr(rows, "__getitem__")
        return None if stream else rows[0]

    def _check_rows(self) -> None:
        rows: Any = self.train_dataset
        model: Any = self.model
        first = self._first_row()
        if first is None:
            return
        share = self.objective.hard_label_share
        if share and first.get("labels", first.get("label")) is None:
            raise LabelError(
                f"hard_label_share is {share}, but the training rows have no labels; "
                "add a column `labels`, or set the share to 0"
            )
        if self.teacher is not None:
            return
        classes = model.config.num_labels
        if first.get(SOFT_LABELS) is None:
            raise LabelError(
                f"expected a column {SOFT_LABELS} in the training rows, found {', '.join(first)}; store "
                "the teacher's logits there (recipes/label.py), or give a live `teacher`"
            )
        # A column or a list costs nothing to read; of other data sets the first row stands for all.
        column = getattr(rows, "column_names", None)
        count = len(rows) if column or isinstance(rows, list) else 1
        for start in range(0, count, _CHECKED_AT_ONCE):
            end = min(start + _CHECKED_AT_ONCE, count)
            if column:
                part = rows[start:end][SOFT_LABELS]
            else:
                part = [rows[index].get(SOFT_LABELS) for index in range(start, end)]
            widths = {np.size(row) for row in part}
            if widths != {classes}:
                raise LabelError(
                    f"expected {classes} {SOFT_LABELS} a row, one a class of the student, got "
                    f"{sorted(widths)}; the soft labels belong to another task"
                )
            if not np.isfinite(np.asarray(part, dtype=np.float64)).all():
                raise LabelError(
                    f"{SOFT_LABELS} of rows {start} to {start + len(part) - 1} are not all finite; run the "
                    "labelling pass again"
                )


def _class_names(config: Any) -> list[str]:
    """Returns a model's class names in order; none where transformers made them up."""
    names = [config.id2label[number] for number in range(config.num_labels)]
    return [] if names == [f"LABEL_{number}" for number in range(config.num_labels)] else names
