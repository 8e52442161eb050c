"""What pre-training minimises: masked words, with or without next sentences; `distilbert.py` has a third.

Source: Devlin et al. 2019, section 3.1, tasks 1 and 2. Turc et al. 2019 write "MLM+" for both together:

    mean cross-entropy of its masked words + cross-entropy of "B follows A" against "it does not",

the second from the pooled [CLS] state. Class 0 is "follows", as in transformers.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from wellread_hf.models.masked_lm import masked_lm_loss, mlm_logits, scoring_only
from wellread_hf.training.fast_cpu import gives_losses, giving_losses

Inputs = Mapping[str, Tensor]
RowLosses = tuple[Tensor, Mapping[str, Tensor]]


class MlmObjective(Protocol):
    """A loss of masked rows; a new one is one more of these, and a line in `stages/encoders.py`."""

    def __call__(self, model: nn.Module, stock: Any, inputs: Inputs, fast_cpu: bool = True) -> RowLosses:
        """Returns the losses [B] of a batch of rows, and parts [B] whose held-out means are recorded.

        Args:
            model: What is called, perhaps wrapped for several processes.
            stock: The same without its wrapper.
            inputs: What `MlmCollator` makes.
            fast_cpu: Whether the cheaper head of `fast_cpu.py` may be used.
        """
        ...


def masked_words(model: nn.Module, stock: Any, inputs: Inputs, fast_cpu: bool = True) -> RowLosses:
    """Returns each row's mean cross-entropy in nats over its masked positions [B]."""
    return _masked_words(model, stock, inputs, fast_cpu)[0], {}


def with_next_sentence(model: nn.Module, stock: Any, inputs: Inputs, fast_cpu: bool = True) -> RowLosses:
    """Returns each row's masked-word loss plus its next-sentence loss [B] in nats."""
    words, outputs = _masked_words(model, stock, inputs, fast_cpu)
    # In fp32, whatever autocast made of them.
    guesses, labels = outputs.seq_relationship_logits.float(), inputs["next_sentence_label"]
    follows = F.cross_entropy(guesses, labels, reduction="none")
    right = (guesses.argmax(dim=1) == labels).float()
    parts = {"mlm_loss": words, "next_sentence_loss": follows, "next_sentence_accuracy": right}
    return words + follows, parts


def _masked_words(model: nn.Module, stock: Any, inputs: Inputs, fast_cpu: bool) -> tuple[Tensor, Any]:
    """Returns the losses of `masked_words` [B], and the model's outputs."""
    labels = inputs["labels"]
    shown = {name: inputs[name] for name in ("input_ids", "token_type_ids") if name in inputs}
    with scoring_only(stock, inputs["positions"]):
        if not (fast_cpu and model.training and gives_losses(stock)):
            outputs = model(**shown)
            return masked_lm_loss(mlm_logits(outputs), labels), outputs
        with giving_losses(stock, labels):
            outputs = model(**shown)
    # Losses [B, K], where the stock head has logits.
    return mlm_logits(outputs).mean(dim=1), outputs
