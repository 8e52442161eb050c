"""Masked LMs that score the masked positions only.

The stock head scores every position times 30,522 words although 15 % of them carry a loss. Here the
encoder's output is reduced to the masked positions before the stock head sees it, so the model stays
a stock `BertForMaskedLM` (or any `AutoModelForMaskedLM`): same weights, same loss, same saved folder.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertForMaskedLM, BertForPreTraining, PreTrainedModel

from wellread_hf.models.last_layer import layer_at, replaced, stock_last_layer
from wellread_hf.students import Student

AnyBert = TypeVar("AnyBert", BertForMaskedLM, BertForPreTraining)


def new_masked_lm(
    student: Student, vocabulary: int, dropout: float, seed: int, toy: bool = False
) -> BertForMaskedLM:
    """Builds a student with random weights, of standard deviation 1/sqrt(H) (`Student.fresh_config`).

    Args:
        student: Which of the 24.
        vocabulary: Number of words of its tokenizer.
        dropout: Dropout probability of hidden states and attention.
        seed: Seed of the weights.
        toy: A sixteenth as wide.
    """
    return _fresh(BertForMaskedLM, student, vocabulary, dropout, seed, toy)


def new_pretraining(
    student: Student, vocabulary: int, dropout: float, seed: int, toy: bool = False
) -> BertForPreTraining:
    """Builds a student as `new_masked_lm` does, with a pooler and a next-sentence head as well."""
    return _fresh(BertForPreTraining, student, vocabulary, dropout, seed, toy)


def _fresh(
    kind: Callable[..., AnyBert], student: Student, vocabulary: int, dropout: float, seed: int, toy: bool
) -> AnyBert:
    torch.manual_seed(seed)
    return kind(student.fresh_config(vocabulary, toy, **dropouts(dropout)))


def dropouts(rate: float) -> dict[str, float]:
    """Returns the fields of a BERT's config that set its dropout of hidden states and attention."""
    return {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate}


@contextmanager
def scoring_only(
    model: PreTrainedModel, positions: Tensor, states: list[Tensor] | None = None
) -> Iterator[None]:
    """While open, `model` hands only the hidden states at `positions` to its masked-LM head.

    A BERT's last layer then computes nothing else at other positions than their keys and values, but for
    the first position, which a pooler reads.

    Args:
        model: An unwrapped `AutoModelForMaskedLM` or `BertForPreTraining`; its wrapper (DDP) may be called
            inside. A BERT is called without an attention mask.
        positions: [B, K] indices into the sequence; the logits come out as [B, K, V].
        states: Receives the last hidden states [B, T, H] of every call; the last layer is then computed
            at all positions.
    """
    last = stock_last_layer(model.base_model) if states is None else None
    pooled = last is not None and model.base_model.pooler is not None

    def keep_positions(module: nn.Module, args: Any, outputs: Any) -> Any:
        hidden = outputs.last_hidden_state
        if states is not None:
            states.append(hidden)
        outputs.last_hidden_state = hidden[:, 1:] if pooled else _at(hidden, positions)
        return outputs

    with ExitStack() as stack:
        if last is not None:
            computed = F.pad(positions, (1, 0)) if pooled else positions
            stack.enter_context(replaced(last, partial(_layer_at, last, computed)))
        if last is None or pooled:
            stack.callback(model.base_model.register_forward_hook(keep_positions).remove)
        yield


def mlm_logits(outputs: Mapping[str, Any]) -> Tensor:
    """Returns the masked-LM logits among a model's outputs, whatever the class calls them."""
    logits: Tensor = outputs["prediction_logits" if "prediction_logits" in outputs else "logits"]
    return logits


def masked_lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns each row's mean cross-entropy [B] in nats, from logits [B, K, V] and labels [B, K].

    Every row has the same K, so the mean of rows is BERT's mean over all masked positions
    (Devlin et al. 2019, section 3.1).
    """
    losses = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none")
    return losses.view_as(labels).mean(dim=1)


def _layer_at(
    layer: Any, positions: Tensor, hidden: Tensor, mask: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    assert mask is None, "blocks have no padding"
    return layer_at(layer, _at(hidden, positions), hidden, None)


def _at(hidden: Tensor, positions: Tensor) -> Tensor:
    return hidden.gather(1, positions.unsqueeze(-1).expand(-1, -1, hidden.size(-1)))
