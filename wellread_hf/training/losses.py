"""Losses: tensors in, one loss a row out, as the heads of transformers have them for a `problem_type`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from wellread_hf.errors import LabelError
from wellread_hf.models.problems import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Problem, inferred_problem

# The label of a row without one, as everywhere in torch and transformers; single-label only.
NO_LABEL = -100


def hard_label_loss(
    logits: Tensor,
    labels: Tensor,
    problem: Problem | None = None,
    smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Returns each row's loss [B] against its true label.

    Args:
        logits: [B, C].
        labels: Single-label: class numbers [B]; multi-label: [B, C] from 0 to 1; regression: values [B, C].
            [B] and [B, 1] are the same where a row has one number.
        problem: None is inferred, as from a config without `problem_type`.
        smoothing: ε of label smoothing, single-label only.
        class_weights: What the loss against each class is multiplied by [C], single-label only. The sum of
            losses over that of the labels' weights is then torch's weighted mean, with smoothing too.

    Cross-entropy in nats, 0 for a row without a label (-100); the mean over classes of binary cross-entropy
    with sigmoids; the mean over outputs of squared errors. The mean over rows is the loss of stock heads.

    Raises:
        LabelError: Labels do not have the shape, type or range that the problem asks for.
    """
    problem = problem or inferred_problem(logits.size(-1), labels)
    labels = _fitted(labels, logits, problem)
    if problem == REGRESSION:
        return (logits - labels).square().mean(-1)
    if problem == MULTI_LABEL:
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(-1)
    return F.cross_entropy(
        logits,
        labels,
        weight=None if class_weights is None else class_weights.to(logits),
        reduction="none",
        ignore_index=NO_LABEL,
        label_smoothing=smoothing,
    )


def soft_label_loss(
    logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, problem: Problem | None = None
) -> Tensor:
    """Returns each row's loss [B] against what the teacher says.

    Args:
        logits: The student's [B, C].
        teacher_logits: The teacher's [B, C].
        temperature: T, dividing both.
        problem: None is inferred, as from a config without `problem_type`.

    T² · -Σ_y softmax(teacher / T)_y log softmax(student / T)_y: Turc et al. 2019, Algorithm 1 (T = 1);
    the factor T² keeps the gradients' size (Hinton et al. 2015, section 2). Multi-label classes are
    independent: T² · the mean over classes of binary cross-entropy with sigmoid(teacher / T). For
    regression the mean over outputs of squared differences, without temperature.
    """
    problem = problem or inferred_problem(logits.size(-1))
    if problem == REGRESSION:
        return (logits - teacher_logits).square().mean(-1)
    if problem == MULTI_LABEL:
        chances = torch.sigmoid(teacher_logits / temperature)
        losses = F.binary_cross_entropy_with_logits(logits / temperature, chances, reduction="none").mean(-1)
    else:
        targets = F.softmax(teacher_logits / temperature, dim=-1)
        losses = F.cross_entropy(logits / temperature, targets, reduction="none")
    return losses * temperature**2


def of_words(mask: Tensor, losses: Tensor) -> Tensor:
    """Returns each row's sum [B] of the losses of its words.

    Args:
        mask: [B, T] where the words are that have a loss.
        losses: [words] in the order of the mask.
    """
    rows = mask.nonzero()[:, 0]
    return torch.zeros(len(mask), dtype=losses.dtype, device=losses.device).index_add(0, rows, losses)


def _fitted(labels: Tensor, logits: Tensor, problem: Problem) -> Tensor:
    """Returns labels in the shape and type of their loss, and refuses those that have another meaning."""
    if logits.dim() != 2:
        raise LabelError(
            f"expected outputs [rows, classes] of a sequence classifier, got shape {tuple(logits.shape)}; "
            "take a model for sequence classification"
        )
    rows, outputs = logits.shape
    shape = (rows,) if problem == SINGLE_LABEL else (rows, outputs)
    if labels.shape in ((rows,), (rows, 1)) and (problem == SINGLE_LABEL or outputs == 1):
        labels = labels.reshape(shape)
    whole = not (labels.is_floating_point() or labels.dtype == torch.bool)
    if labels.shape != shape or (problem == SINGLE_LABEL and not whole):
        raise LabelError(
            f"problem_type {problem} with {outputs} outputs: expected labels of shape {shape}"
            f"{', whole numbers' if problem == SINGLE_LABEL else ''}, got shape {tuple(labels.shape)} of "
            f"{str(labels.dtype).removeprefix('torch.')}; change the labels, or the config's problem_type"
        )
    # On a GPU the look at values would stall every step.
    looked = labels[labels != NO_LABEL] if problem == SINGLE_LABEL else labels
    most = {SINGLE_LABEL: outputs - 1, MULTI_LABEL: 1}.get(problem)
    if most is not None and labels.device.type == "cpu" and len(looked):
        low, high = looked.min().item(), looked.max().item()
        # Not `low < 0 or ...`: NaN has to be refused, and compares with nothing.
        if not (low >= 0 and high <= most):
            raise LabelError(
                f"problem_type {problem} with {outputs} outputs: expected labels from 0 to {most}, got "
                f"{low:g} to {high:g}; change the labels, or the model's num_labels"
            )
    # torch's cross-entropy refuses class numbers of 16 or 32 bits, which a column may have.
    return labels.long() if problem == SINGLE_LABEL else labels.to(logits.dtype)
