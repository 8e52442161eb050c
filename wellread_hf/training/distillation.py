"""`DistillationTrainer`: a sequence classifier learns from a teacher's soft labels."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DataCollatorForTokenClassification

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.models.problems import REGRESSION, Problem
from wellread_hf.settings import Objective
from wellread_hf.training.classifier import ClassifierTrainer
from wellread_hf.training.cls_states import STATES, ComparedStates
from wellread_hf.training.live_teacher import check_teacher
from wellread_hf.training.losses import NO_LABEL, of_words, soft_label_loss
from wellread_hf.training.methods import find_method
from wellread_hf.training.methods.batch import DistillationBatch
from wellread_hf.training.row_checks import (
    LABELS,
    SOFT_LABELS,
    are_probabilities,
    check_columns,
    check_logits,
    check_soft_labels,
    first_row,
    other_scale,
)
from wellread_hf.training.row_mean import LEAST, RowMeanTrainer

# What the teacher says of a row.
_TAUGHT = (SOFT_LABELS, STATES)
# Rows of the step over those with a label, in a batch of one.
_WEIGHT = "label_weight"


class DistillationTrainer(ClassifierTrainer):
    """Trains a sequence classifier on what a teacher said (Turc et al. 2019, Algorithm 1, step 2).

    A `transformers.Trainer` in every other respect: plain `TrainingArguments`, any sequence
    classifier, evaluation on true `labels` as usual, or against the teacher for rows without any. Training
    rows carry `teacher_logits` [C] (stored once, by `wellread_hf.labelling.soft_labels` or by yourself), or a
    live `teacher` is given. For a token classifier they are [T, C], NaN at tokens that nothing is said of; a
    live teacher is asked about the labelled tokens, or without labels about all.

    Args:
        temperature: T; the loss is multiplied by T².
        hard_label_share: Weight of the cross-entropy with the true `labels`; the soft loss gets the
            rest. The paper has 0.
        teacher: A live teacher, run on the same inputs in every step: same result as stored
            logits, many times slower. It must share the student's tokenizer and `problem_type`.
        objective: Another method than soft labels, and all its settings, in place of the first two. One that
            compares [CLS] states has the teacher's in the rows as `teacher_states` [k, H], those of the map's
            layers in its order, or takes a live teacher's.
        fast_cpu: As for `RowMeanTrainer`.
        class_weights: As for `ClassifierTrainer`, of the part of the true labels.
        **kwargs: As for `transformers.Trainer`. A `compute_loss_func` replaces the whole loss: it sees
            outputs and true labels, and no teacher.

    Raises:
        SettingsError: Temperature, share or objective cannot be, or an argument would have no effect.
        LabelError: (at the start of training) soft labels are missing, of another width than the
            student's output, probabilities, or not finite; or true labels are missing where a share is asked
            for; or states are missing or of another width than the student's.

    Warns:
        UserWarning: (at the start of training) true labels of a regression have a share, and the teacher's
            values are on another scale.
    """

    _target_names = (LABELS, *_TAUGHT, _WEIGHT)
    _signature_columns: Any  # the parent's; typed by its first value, None

    def __init__(
        self,
        *args: Any,
        temperature: float = 1.0,
        hard_label_share: float = 0.0,
        teacher: nn.Module | None = None,
        objective: Objective | None = None,
        fast_cpu: bool = True,
        class_weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        if objective is not None and (temperature, hard_label_share) != (1.0, 0.0):
            raise SettingsError(
                "temperature and hard_label_share are fields of the objective as well, and both were given; "
                "put them into `objective`"
            )
        if objective is None:
            objective = Objective(temperature=temperature, hard_label_share=hard_label_share)
        if kwargs.get("compute_loss_func") and (objective != Objective() or teacher is not None):
            raise SettingsError(
                "compute_loss_func replaces the whole loss, so temperature, hard_label_share, objective and "
                "teacher would have no effect; leave these out, or the function"
            )
        self.objective: Objective = objective
        method = find_method(objective)
        self._method_losses: Callable[[DistillationBatch, Objective], Tensor]
        # Only now: the table of methods names modules as text, so that a plan loads no torch.
        self._method_losses = import_module(method.module).row_losses
        super().__init__(*args, fast_cpu=fast_cpu, class_weights=class_weights, **kwargs)
        if self.args.label_smoothing_factor and not objective.hard_label_share:
            raise SettingsError(
                f"label_smoothing_factor {self.args.label_smoothing_factor:g} smooths true labels, but "
                "hard_label_share is 0, so it would have no effect; give a share, or leave it out"
            )
        if class_weights is not None and not objective.hard_label_share:
            raise SettingsError(
                "class_weights weigh true labels, but hard_label_share is 0, so they would have no effect; "
                "give a share, or leave them out"
            )
        self.teacher = None
        if teacher is not None:
            check_teacher(teacher, self.model, self.problem())
            self.teacher = teacher.to(self.args.device).eval().requires_grad_(False)
        self._states: ComparedStates | None = None
        if method.states and self.tags:
            raise SettingsError(
                f"the method {objective.method} compares [CLS] states, and a token classifier reads none; "
                "take the method soft-labels"
            )
        if method.states:
            if objective.projection and (self.optimizer is not None or self.model_init is not None):
                raise SettingsError(
                    "optimizers and model_init do not go together with a projection of states: the trainer "
                    "makes it, and they would not train it; leave them out, or the projection"
                )
            row = first_row(self.train_dataset) if self.teacher is None else None
            self._states = ComparedStates(
                objective, self.model, self.teacher, row, self.args.seed, self.args.device
            )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains as the parent does; a projection of states is a part of the model meanwhile."""
        model: Any = self.model
        with nullcontext() if self._states is None else self._states.part_of(model):
            return super().train(*args, **kwargs)

    def row_weights(self, inputs: Mapping[str, Any], training: bool) -> Tensor:
        """Returns 1 for each row: the teacher says something of all. In evaluation as the parent does.

        Of a token classifier the number of tokens that the teacher says something of.
        """
        if self.tags and (training or inputs.get(LABELS) is None):
            return self._taught(inputs).sum(dim=1).float()
        if training:
            return RowMeanTrainer.row_weights(self, inputs, training)
        return super().row_weights(inputs, training)

    def row_losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Returns each row's loss: against the soft labels in training, the true ones in evaluation."""
        labels, states = inputs.get(LABELS), self._states
        if not model.training and labels is not None:
            return super().row_losses(model, inputs)
        given = self._without_targets(inputs)
        if states is not None and model.training:
            # Asked for only where it is needed: not every classifier knows the argument.
            given["output_hidden_states"] = True
        outputs = model(**given)
        # In fp32, whatever autocast made of them.
        logits = outputs.logits.float()
        live = None
        if self.teacher is not None:
            # Accelerate puts the student's forward under autocast, and no other model's.
            with torch.no_grad(), self.accelerator.autocast():
                live = self.teacher(**given)
        problem = self.problem(labels)
        stored = inputs.get(SOFT_LABELS) if live is None else live.logits
        teacher_logits = self._fitted(stored, logits, problem)
        taught = None
        if self.tags:
            taught = self._taught(inputs)
            logits, teacher_logits = logits[taught], teacher_logits[taught]
            labels = None if labels is None else labels[taught]
        if not model.training:
            losses = soft_label_loss(logits, teacher_logits, self.objective.temperature, problem)
            return losses if taught is None else of_words(taught, losses), outputs
        batch = DistillationBatch(
            logits,
            teacher_logits,
            labels,
            states=None if states is None else states.of_student(outputs),
            teacher_states=None if states is None else states.of_teacher(live, inputs.get(STATES)),
            problem=problem,
            smoothing=self.args.label_smoothing_factor,
            label_weight=self._label_weight(inputs),
            class_weights=self.class_weights,
        )
        losses = self._method_losses(batch, self.objective)
        return losses if taught is None else of_words(taught, losses), outputs

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """Collects a step's micro-batches as the parent does, with the weight of their true labels."""
        batches, rows = super().get_batch_samples(*args, **kwargs)
        if self.objective.hard_label_share:
            # The true labels' part is a mean over the rows that have one, the teacher's over all.
            labelled = self.count(map(self._true_labels, batches))
            for batch in batches:
                batch[_WEIGHT] = rows / labelled
        return batches, rows

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Computes the parent's loss; a function of the user's sees what stock Trainer shows it."""
        if self.compute_loss_func is not None:
            inputs = {name: value for name, value in inputs.items() if name not in _TAUGHT}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def get_train_dataloader(self) -> Any:
        """Builds the parent's loader, once the soft labels have been checked."""
        self._check_rows()
        return super().get_train_dataloader()

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> Any:
        """Evaluates as the parent does; rows without true labels against what the teacher says of them."""
        taught = self.teacher is not None or inputs.get(SOFT_LABELS) is not None
        if inputs.get(LABELS) is None and taught and self.compute_loss_func is None:
            with torch.no_grad(), self.compute_loss_context_manager():
                loss, outputs = self.compute_loss(model, self._prepare_inputs(inputs), return_outputs=True)
            return loss, None if prediction_loss_only else outputs.logits, None
        kept = {
            name: value for name, value in inputs.items() if name in self.label_names or name not in _TAUGHT
        }
        return super().prediction_step(model, kept, prediction_loss_only, ignore_keys)

    def _set_signature_columns_if_needed(self) -> None:
        # With plain TrainingArguments the parent drops every column that the model does not take.
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, *_TAUGHT]))

    def _fitted(self, stored: Tensor | None, logits: Tensor, problem: Problem) -> Tensor:
        """Returns the teacher's logits in the student's shape [B, C] or [B, T, C], and type."""
        if stored is not None and stored.dim() == 1 and logits.size(-1) == 1:
            stored = stored[:, None]
        if stored is None or stored.shape != logits.shape:
            found = "none" if stored is None else f"shape {tuple(stored.shape)}"
            raise LabelError(
                f"expected {SOFT_LABELS} of shape {tuple(logits.shape)} in every batch, got {found}; keep "
                "the column through your collator, with the student's classes in the student's order"
            )
        if self.state.global_step == 0 and self.teacher is None and first_row(self.train_dataset) is None:
            # Rows of a stream are seen here for the first time.
            check_logits(are_probabilities(stored, problem), len(stored), problem)
        return stored.to(logits)

    def _taught(self, inputs: Mapping[str, Any]) -> Tensor:
        """Returns which tokens the teacher says something of [B, T]."""
        stored: Tensor | None = inputs.get(SOFT_LABELS)
        if self.teacher is None and stored is not None:
            return ~stored.isnan().any(dim=-1)
        labels: Tensor | None = inputs.get(LABELS)
        return inputs["attention_mask"].bool() if labels is None else labels != NO_LABEL

    def _true_labels(self, inputs: Mapping[str, Any]) -> Tensor:
        """Returns how many true labels count in each row [B]."""
        if self.tags and inputs.get(LABELS) is not None:
            labels = inputs[LABELS].masked_fill(~self._taught(inputs), NO_LABEL)
            inputs = {LABELS: labels}
        return ClassifierTrainer.row_weights(self, inputs, True)

    def _label_weight(self, inputs: Mapping[str, Any]) -> Tensor | float:
        if not self.objective.hard_label_share:
            return 1.0
        taught, labelled = self.row_weights(inputs, True), self._true_labels(inputs)
        # Outside of a training the batch is all there is.
        weight: Tensor = inputs.get(_WEIGHT, taught.sum() / labelled.sum().clamp(min=LEAST))
        return weight

    def _check_rows(self) -> None:
        first = first_row(self.train_dataset)
        if first is None:
            return
        share = self.objective.hard_label_share
        column = check_columns(first, share, live=self.teacher is not None)
        if self.teacher is not None:
            return
        if type(self.data_collator) is DataCollatorForTokenClassification:
            raise SettingsError(
                f"data_collator: expected one that pads {SOFT_LABELS} of tokens, got "
                "DataCollatorForTokenClassification, which pads labels alone; take "
                "wellread_hf.models.encode.PadCollator(tokenizer.pad_token_id)"
            )
        model: Any = self.model
        outputs, problem = model.config.num_labels, self.problem()
        check_soft_labels(self.train_dataset, outputs, problem, self.tags)
        # With one part alone there is nothing to pull apart.
        if problem == REGRESSION and 0 < share < 1:
            warning = other_scale(self.train_dataset, str(column), outputs)
            if warning is not None:
                warnings.warn(warning, stacklevel=3)
