"""DistilBERT: masked-LM pre-training under a teacher that is a masked LM itself.

Source: Sanh et al. 2019, sections 2 and 3. With student and teacher shown the same masked row, its loss is

    a_mlm · MLM + a_soft · T² · KL(teacher at T ‖ student at T) + a_cos · (1 - cos(student, teacher))

MLM and KL are means over the row's masked positions, the cosine's is over all positions (rows have no
padding) of the last hidden states. KL is the paper's soft cross-entropy less the teacher's entropy: the
gradient is the same, and a student that equals its teacher is at 0. The defaults, T = 2, a_mlm = 2,
a_soft = 5 and a_cos = 1, are those of the authors' training command (`train.py` in the distillation examples
of transformers), which takes the KL over all positions unless given `--restrict_ce_to_mask`. Here it is over
the masked ones, where alone the heads are evaluated.

The student's start, every other layer of the teacher, is `stages.initialise` (wellread init).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wellread_hf.errors import SettingsError
from wellread_hf.models.masked_lm import masked_lm_loss, mlm_logits, scoring_only
from wellread_hf.settings import Distil
from wellread_hf.training.mlm_objectives import Inputs, RowLosses


class LearntFromTeacher:
    """DistilBERT's loss; an `MlmObjective`.

    Args:
        teacher: A masked LM; put into evaluation mode, its weights stay as they are.
        student: The model to be trained, for its sizes.
        settings: Temperature and weights.

    Raises:
        SettingsError: Teacher and student differ in their vocabulary's size, or, with a cosine, in width.
    """

    def __init__(self, teacher: Any, student: Any, settings: Distil) -> None:
        ours, theirs = student.config, teacher.config
        if ours.vocab_size != theirs.vocab_size:
            raise SettingsError(
                f"`distil.teacher` {settings.teacher}: expected {ours.vocab_size} words as the student has, "
                f"got {theirs.vocab_size}; both must have one vocabulary"
            )
        if settings.cosine_weight and ours.hidden_size != theirs.hidden_size:
            raise SettingsError(
                f"`distil.teacher` {settings.teacher}: expected a teacher as wide as the student, H = "
                f"{ours.hidden_size}, since their hidden states are compared, got H = {theirs.hidden_size}; "
                "give `distil.cosine_weight` 0, or another of the two"
            )
        # Without dropout, so that a row has one answer of the teacher's.
        self.teacher = teacher.eval().requires_grad_(False)
        self.settings = settings

    def __call__(self, model: nn.Module, stock: Any, inputs: Inputs, fast_cpu: bool = True) -> RowLosses:
        """Returns the rows' losses [B] and their unweighted parts [B]."""
        # The trainer moves the student to an accelerator, and not the teacher.
        self.teacher.to(inputs["input_ids"].device)
        logits, states = self._outputs(model, stock, inputs)
        with torch.no_grad():
            teacher_logits, teacher_states = self._outputs(self.teacher, self.teacher, inputs)
        words = masked_lm_loss(logits, inputs["labels"])
        soft = soft_loss(logits, teacher_logits, self.settings.temperature)
        parts = {"mlm_loss": words, "soft_loss": soft}
        losses = self.settings.mlm_weight * words + self.settings.soft_weight * soft
        if states is not None and teacher_states is not None:
            parts["cosine_loss"] = cosine = cosine_loss(states, teacher_states)
            losses = losses + self.settings.cosine_weight * cosine
        return losses, parts

    def _outputs(self, model: nn.Module, stock: Any, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        """Returns logits [B, K, V] at the masked positions, and all last hidden states if they count."""
        states: list[Tensor] | None = [] if self.settings.cosine_weight else None
        with scoring_only(stock, inputs["positions"], states):
            logits = mlm_logits(model(input_ids=inputs["input_ids"]))
        return logits, states[0] if states else None


def soft_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Returns T² · KL(teacher ‖ student) at temperature T, each row's mean [B], of logits [B, K, V]."""
    # In fp32, whatever autocast made of them, and as logarithms, where small probabilities do not vanish.
    ours, theirs = (F.log_softmax(side.float() / temperature, dim=-1) for side in (logits, teacher_logits))
    divergence = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)
    return divergence.mean(dim=1) * temperature**2


def cosine_loss(states: Tensor, teacher_states: Tensor) -> Tensor:
    """Returns 1 - cosine of hidden states [B, T, H] and the teacher's, each row's mean [B]."""
    return 1 - F.cosine_similarity(states.float(), teacher_states.float(), dim=-1).mean(dim=1)
