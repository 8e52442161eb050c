"""What a method gets to see of a batch."""

from dataclasses import dataclass

from torch import Tensor

from wellread_hf.errors import LabelError
from wellread_hf.training.objectives import hard_label_loss


@dataclass(frozen=True, slots=True)
class Lesson:
    """What student and teacher say of the rows of a batch, all in fp32.

    Attributes:
        logits: The student's [B, C]; C = 1 is regression.
        teacher_logits: The teacher's [B, C], in the order of the student's classes.
        labels: True labels [B]; None where the rows have none.
        states: The student's [CLS] states [B, k, H] of the mapped layers, projected if that was asked for;
            None for a method that compares none.
        teacher_states: The teacher's [B, k, H] beside them.
    """

    logits: Tensor
    teacher_logits: Tensor
    labels: Tensor | None = None
    states: Tensor | None = None
    teacher_states: Tensor | None = None

    def with_hard_labels(self, losses: Tensor, share: float) -> Tensor:
        """Returns (1 - share) · `losses` + share · loss against the true labels, each [B].

        Raises:
            LabelError: There is a share, and no labels.
        """
        if not share:
            return losses
        if self.labels is None:
            raise LabelError(
                f"hard_label_share is {share}, but a batch has no labels; keep the column `labels` through "
                "your collator, or set the share to 0"
            )
        return (1 - share) * losses + share * hard_label_loss(self.logits, self.labels)
