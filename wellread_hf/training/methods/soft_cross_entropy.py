"""The teacher's distribution alone: PD's own objective.

(1 - s) · T² · -Σ_y softmax(teacher / T)_y log softmax(student / T)_y + s · cross-entropy with the true label:
Turc et al. 2019, Algorithm 1, has T = 1 and s = 0; with both it is Hinton et al. 2015, section 2. For
multi-label tasks binary cross-entropy with sigmoids, for regression squared differences.
"""

from torch import Tensor

from wellread_hf.settings import Objective
from wellread_hf.training.losses import soft_label_loss
from wellread_hf.training.methods.batch import DistillationBatch


def row_losses(batch: DistillationBatch, objective: Objective) -> Tensor:
    """Returns each row's loss [B]; s is `hard_label_share`, T `temperature`."""
    soft = soft_label_loss(batch.logits, batch.teacher_logits, objective.temperature, batch.problem)
    return batch.with_hard_labels(soft, objective.hard_label_share)
