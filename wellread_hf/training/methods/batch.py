"""What a method of distillation is given of a batch."""

from dataclasses import dataclass

from torch import Tensor

from wellread_hf.errors import LabelError
from wellread_hf.models.problems import Problem
from wellread_hf.training.losses import hard_label_loss


@dataclass(frozen=True, slots=True)
class DistillationBatch:
    """What student and teacher say of a batch's rows, all in fp32.

    Attributes:
        logits: The student's [B, C].
        teacher_logits: The teacher's [B, C], in the order of the student's classes.
        labels: True labels, as `hard_label_loss` takes them; None where the rows have none.
        states: The student's [CLS] states [B, k, H] of the mapped layers, projected if that was asked for;
            None for a method that compares none.
        teacher_states: The teacher's [B, k, H] beside them.
        problem: The `problem_type` of student and teacher; None is inferred.
        smoothing: ε of label smoothing with the true labels.
        label_weight: Rows of the step over those that have a label: so the true labels' part is the mean over
            rows with one, and the teacher's part the mean over all. With `class_weights` those rows count by
            the weights of their labels.
        class_weights: Weights of the classes of true labels [C]; None: all alike.
    """

    logits: Tensor
    teacher_logits: Tensor
    labels: Tensor | None = None
    states: Tensor | None = None
    teacher_states: Tensor | None = None
    problem: Problem | None = None
    smoothing: float = 0.0
    label_weight: Tensor | float = 1.0
    class_weights: Tensor | None = None

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
        hard = hard_label_loss(self.logits, self.labels, self.problem, self.smoothing, self.class_weights)
        return (1 - share) * losses + share * self.label_weight * hard
