"""`ClassifierTrainer`: a classifier of texts, or of their words, learns from true labels."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.models.last_layer import first_position_only
from wellread_hf.models.problems import PROBLEMS, SINGLE_LABEL, Problem, inferred_problem
from wellread_hf.models.words import tags_words
from wellread_hf.training.losses import NO_LABEL, hard_label_loss, of_words
from wellread_hf.training.row_checks import LABELS, SOFT_LABELS, first_row, label_column, readable
from wellread_hf.training.row_mean import RowMeanTrainer


class ClassifierTrainer(RowMeanTrainer):
    """Fine-tunes any sequence classifier, regressor or token classifier on `labels`.

    The loss is that of the model's `problem_type`; where its config has none it is decided as by the heads of
    transformers, by the number of outputs and the type of the labels, and written into the config.

    A token classifier has a label for each token [T], -100 where there is none, as
    `DataCollatorForTokenClassification` pads them; the loss of a step is the mean over all labelled tokens.

    Args:
        *args: As for `transformers.Trainer`.
        class_weights: Of each class, in order: its rows' losses are multiplied by it in training, and the
            mean is over the weights of a step's rows, as `torch.nn.CrossEntropyLoss(weight=...)` has it. In
            evaluation all rows weigh the same.
        **kwargs: As for `transformers.Trainer`; `fast_cpu` as for `RowMeanTrainer`.

    Raises:
        SettingsError: An argument would have no effect: `label_names` without `labels`, label smoothing or
            class weights of what is not single-label; or weights are not one a class, each above 0.
        LabelError: (in training or evaluation) labels do not have the shape that `problem_type` asks for.
    """

    # What a batch may have beside the model's inputs.
    _target_names: tuple[str, ...] = (LABELS,)

    def __init__(self, *args: Any, class_weights: Sequence[float] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = self.args.label_names
        if names is None:
            # A model that is given no labels need not know the argument.
            self.label_names = self.label_names or [LABELS]
        elif names and not {LABELS, SOFT_LABELS} & set(names):
            raise SettingsError(
                f"label_names: expected `{LABELS}` among them, which the loss is computed from, got "
                f"{', '.join(names)}; rename the column, or leave label_names out"
            )
        for rows in (self.train_dataset, self.eval_dataset):
            row: Any = first_row(rows)
            if (column := label_column(row)) is not None:
                label = np.asarray(row[column])
                if label.dtype.kind in "biuf":
                    self.problem(torch.from_numpy(label))
        if self.args.label_smoothing_factor and self.problem() != SINGLE_LABEL:
            raise SettingsError(
                f"label_smoothing_factor {self.args.label_smoothing_factor:g}: expected problem_type "
                f"{SINGLE_LABEL}, the only one that it is defined for, got {self.problem()}; leave it out"
            )

        self.class_weights = None if class_weights is None else self._checked_weights(class_weights)

    def _checked_weights(self, class_weights: Sequence[float]) -> Tensor:
        model: Any = self.model
        weights = torch.tensor([float(weight) for weight in class_weights])
        if self.problem() != SINGLE_LABEL or self.compute_loss_func is not None:
            raise SettingsError(
                f"class_weights: expected problem_type {SINGLE_LABEL} and the trainer's own loss, got "
                f"{self.problem()}{'' if self.compute_loss_func is None else ' and a compute_loss_func'}; "
                "leave them out"
            )
        if len(weights) != model.config.num_labels or not bool((weights.isfinite() & (weights > 0)).all()):
            raise SettingsError(
                f"class_weights: expected a finite number above 0 for each of {model.config.num_labels} "
                f"classes, got {', '.join(f'{weight:g}' for weight in weights.tolist())}; give one a class"
            )
        return weights

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains as the parent does; with `fast_cpu` a BERT's last layer is computed at [CLS] alone."""
        cheaper = self.fast_cpu and not self._is_compiled
        with first_position_only(self.model) if cheaper else nullcontext():
            return super().train(*args, **kwargs)

    @property
    def tags(self) -> bool:
        """Whether the model classifies tokens."""
        return tags_words(self.model)

    def problem(self, labels: Tensor | None = None, outputs: int = 2) -> Problem:
        """Returns the model's `problem_type`, or what labels and outputs say where its config has none."""
        if self.tags:
            # Stock heads for tokens have no other.
            return SINGLE_LABEL
        config: Any = getattr(self.model, "config", None)
        known: Problem | None = getattr(config, "problem_type", None)
        if known not in (None, *PROBLEMS):
            raise SettingsError(
                f"problem_type in the model's config: expected one of {', '.join(PROBLEMS)}, got {known!r}; "
                "correct it"
            )
        if known is None:
            known = inferred_problem(getattr(config, "num_labels", outputs), labels)
            if config is not None and labels is not None:
                # As stock heads do at their first batch.
                config.problem_type = known
        return known

    def row_weights(self, inputs: Mapping[str, Any], training: bool) -> Tensor:
        """Returns 0 for rows without a label (-100), for others 1, in training their class's weight; [B].

        Of a token classifier the sum over a row's tokens.
        """
        labels = inputs.get(LABELS)
        if labels is None or labels.dim() > 2 or self.problem(labels) != SINGLE_LABEL:
            return super().row_weights(inputs, training)
        numbers = labels.reshape(len(labels), -1)
        weights: Tensor = (numbers != NO_LABEL).float()
        if self.class_weights is not None and training:
            # Numbers of no class are refused by the loss, which explains them.
            numbers = numbers.long().clamp(0, len(self.class_weights) - 1)
            weights = weights * self.class_weights.to(labels.device)[numbers]
        return weights.sum(dim=1)

    def row_losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """Returns each row's loss against its label; of tokens the sum of theirs."""
        if (labels := inputs.get(LABELS)) is None:
            raise LabelError(
                f"expected `{LABELS}` in every batch, got {', '.join(inputs)}; add the column, and keep it "
                "through your collator"
            )
        # Encoder-decoders give states as well, which an evaluation would collect.
        logits = model(**self._without_targets(inputs)).logits
        problem = self.problem(labels, logits.size(-1))
        labelled = self._labelled(labels, logits) if self.tags else None
        scored, truth = (logits, labels) if labelled is None else (logits[labelled], labels[labelled])
        weights = self.class_weights if model.training else None
        # In fp32, whatever autocast made of them.
        losses = hard_label_loss(scored.float(), truth, problem, self.args.label_smoothing_factor, weights)
        losses = losses if labelled is None else of_words(labelled, losses)
        return losses, SequenceClassifierOutput(logits=logits)

    def _labelled(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Returns which tokens have a label [B, T]."""
        if labels.shape != logits.shape[:-1]:
            raise LabelError(
                f"expected `{LABELS}` of shape {tuple(logits.shape[:-1])}, one a token, got "
                f"{tuple(labels.shape)}; give the first piece of each word its label and all else -100, and "
                "pad with DataCollatorForTokenClassification"
            )
        return labels != NO_LABEL

    def _without_targets(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        targets = {*self._target_names, *self.label_names}
        return {name: value for name, value in inputs.items() if name not in targets}

    def _get_dataloader(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        # Formats of `datasets` that give rows as tables are for other readers.
        return super()._get_dataloader(readable(dataset), *args, **kwargs)
