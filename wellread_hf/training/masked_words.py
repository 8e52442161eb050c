"""The masked-LM objective (Devlin et al. 2019, section 3.1, task 1), and what every reading objective is.

Adding one is a module like this one and a line in `stages/reading.py`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from wellread_hf.models.masked_lm import masked_lm_loss, mlm_logits, scoring_only
from wellread_hf.training.fast_cpu import gives_losses, giving_losses


class ReadingObjective(Protocol):
    """What pre-training minimises."""

    def __call__(
        self, model: nn.Module, stock: Any, inputs: Mapping[str, Tensor], fast_cpu: bool = True
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Returns the losses [B] of a batch of rows, and parts [B] whose held-out means are recorded.

        Args:
            model: What is called, perhaps wrapped for several processes.
            stock: The same without its wrapper.
            inputs: What `MlmCollator` makes.
            fast_cpu: Whether the cheaper head of `training/fast_cpu.py` may be used.
        """
        ...


def masked_words(
    model: nn.Module, stock: Any, inputs: Mapping[str, Tensor], fast_cpu: bool = True
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Returns each row's mean cross-entropy in nats over its masked positions [B]."""
    losses, _ = masked_word_losses(model, stock, inputs, fast_cpu)
    return losses, {}


def masked_word_losses(
    model: nn.Module, stock: Any, inputs: Mapping[str, Tensor], fast_cpu: bool = True
) -> tuple[Tensor, Any]:
    """Returns the losses of `masked_words` [B], and the model's outputs."""
    labels = inputs["labels"]
    shown = {name: inputs[name] for name in ("input_ids", "token_type_ids") if name in inputs}
    with scoring_only(stock, inputs["positions"]):
        if not (fast_cpu and model.training and gives_losses(stock)):
            outputs = model(**shown)
            return masked_lm_loss(mlm_logits(outputs), labels), outputs
        with giving_losses(stock, labels):
            outputs = model(**shown)
    return mlm_logits(outputs).mean(dim=1), outputs
