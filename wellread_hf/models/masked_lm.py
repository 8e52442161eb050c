"""Masked LMs that score the masked positions only.

The stock head scores every position times 30,522 words although 15 % of them carry a loss. Here the
encoder's output is reduced to the masked positions before the stock head sees it, so the model stays
a stock `BertForMaskedLM` (or any `AutoModelForMaskedLM`): same weights, same loss, same saved folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertForMaskedLM, PreTrainedModel

from wellread_hf.students import Student


def new_masked_lm(student: Student, vocabulary: int, dropout: float, seed: int) -> BertForMaskedLM:
    """Builds a student with random weights, of standard deviation 1/sqrt(H) (`Student.fresh_config`).

    Args:
        student: Which of the 24.
        vocabulary: Number of words of its tokenizer.
        dropout: Dropout probability of hidden states and attention.
        seed: Seed of the weights.
    """
    torch.manual_seed(seed)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return BertForMaskedLM(student.fresh_config(vocabulary, **rates))


@contextmanager
def scoring_only(model: PreTrainedModel, positions: Tensor) -> Iterator[None]:
    """While open, `model` hands only the hidden states at `positions` to its head.

    Args:
        model: An unwrapped `AutoModelForMaskedLM`; its wrapper (DDP) may be called inside.
        positions: [B, K] indices into the sequence; the logits come out as [B, K, V].
    """

    def keep_positions(module: nn.Module, args: Any, outputs: Any) -> Any:
        hidden = outputs.last_hidden_state
        index = positions.unsqueeze(-1).expand(-1, -1, hidden.size(-1))
        outputs.last_hidden_state = hidden.gather(1, index)
        return outputs

    hook = model.base_model.register_forward_hook(keep_positions)
    try:
        yield
    finally:
        hook.remove()


def masked_lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns each row's mean cross-entropy [B] in nats, from logits [B, K, V] and labels [B, K].

    Every row has the same K, so the mean of rows is BERT's mean over all masked positions
    (Devlin et al. 2019, section 3.1).
    """
    losses = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none")
    return losses.view_as(labels).mean(dim=1)
