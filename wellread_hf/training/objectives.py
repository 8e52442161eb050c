"""Losses: tensors in, one loss a row out."""

import torch.nn.functional as F
from torch import Tensor


def hard_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns each row's loss [B] against its true label.

    Args:
        logits: [B, C]; C = 1 is regression.
        labels: [B] class numbers, or values for regression.

    Cross-entropy in nats; squared error for regression, as in stock BERT heads.
    """
    if logits.size(-1) == 1:
        return (logits.squeeze(-1) - labels.to(logits.dtype)).square()
    return F.cross_entropy(logits, labels, reduction="none")


def soft_label_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Returns each row's loss [B] against the teacher's distribution.

    Args:
        logits: The student's [B, C].
        teacher_logits: The teacher's [B, C]; C = 1 is regression.
        temperature: T, dividing both.

    T² · -Σ_y softmax(teacher / T)_y log softmax(student / T)_y: Turc et al. 2019, Algorithm 1 (T = 1);
    the factor T² keeps the gradients' size (Hinton et al. 2015, section 2). For regression the squared
    difference, without temperature.
    """
    if logits.size(-1) == 1:
        return (logits - teacher_logits).square().squeeze(-1)
    targets = F.softmax(teacher_logits / temperature, dim=-1)
    losses = F.cross_entropy(logits / temperature, targets, reduction="none")
    return losses * temperature**2
