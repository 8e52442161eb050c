"""Patient KD: the [CLS] states of some layers come near the teacher's, besides its distribution.

Sun et al. 2019, "Patient Knowledge Distillation for BERT Model Compression", section 3:

    (1 - s) · soft cross-entropy at T + s · cross-entropy with the true label + β · PT
    PT = 1/k · Σ_j ||h_j / ||h_j|| - h'_{I(j)} / ||h'_{I(j)}|| ||²

with h_j the student's and h' the teacher's [CLS] state, ||·|| the L2 norm, I the layer map (`layers.py`).
Our s, `hard_label_share`, is their 1 - alpha, and the soft term has the factor T².
Their eq. 7 sums PT over the k mapped layers; we take the mean over layers and the sum over a state's
numbers, so that a distance lies between 0 and 4 whatever the depths and widths. Their code takes the mean
over the numbers as well: a β of theirs is ours times the width. Where widths differ, the student's states
come here through a learnt projection, if it was asked for; the paper has equal widths.
"""

import torch.nn.functional as F
from torch import Tensor

from wellread_hf.settings import Objective
from wellread_hf.training.methods import soft_cross_entropy
from wellread_hf.training.methods.batch import DistillationBatch


def row_losses(batch: DistillationBatch, objective: Objective) -> Tensor:
    """Returns each row's loss [B]; β is `states_weight`."""
    assert batch.states is not None  # METHODS says that this method compares states
    assert batch.teacher_states is not None
    distances = state_distances(batch.states, batch.teacher_states)
    return soft_cross_entropy.row_losses(batch, objective) + objective.states_weight * distances


def state_distances(states: Tensor, teacher_states: Tensor) -> Tensor:
    """Returns each row's PT [B], 0 to 4, from states [B, k, H] of student and teacher."""
    apart = F.normalize(states, dim=-1) - F.normalize(teacher_states, dim=-1)
    return apart.square().sum(-1).mean(-1)
