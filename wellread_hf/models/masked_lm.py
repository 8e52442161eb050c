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
from transformers import BertForMaskedLM, BertForPreTraining, BertModel, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import eager_attention_forward

from wellread_hf.students import Student

AnyBert = TypeVar("AnyBert", BertForMaskedLM, BertForPreTraining)


def new_masked_lm(student: Student, vocabulary: int, dropout: float, seed: int) -> BertForMaskedLM:
    """Builds a student with random weights, of standard deviation 1/sqrt(H) (`Student.fresh_config`).

    Args:
        student: Which of the 24.
        vocabulary: Number of words of its tokenizer.
        dropout: Dropout probability of hidden states and attention.
        seed: Seed of the weights.
    """
    return _fresh(BertForMaskedLM, student, vocabulary, dropout, seed)


def new_pretraining(student: Student, vocabulary: int, dropout: float, seed: int) -> BertForPreTraining:
    """Builds a student as `new_masked_lm` does, with a pooler and a next-sentence head as well."""
    return _fresh(BertForPreTraining, student, vocabulary, dropout, seed)


def _fresh(
    kind: Callable[..., AnyBert], student: Student, vocabulary: int, dropout: float, seed: int
) -> AnyBert:
    torch.manual_seed(seed)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return kind(student.fresh_config(vocabulary, **rates))


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
    last = _last_layer(model) if states is None else None
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


def _last_layer(model: PreTrainedModel) -> Any:
    """Returns the last layer of a stock BERT encoder whose output only head and pooler read, else None."""
    base: Any = model.base_model
    # A subclass may compute anything in its layers.
    if type(base) is not BertModel or base.config.is_decoder:
        return None
    last = base.encoder.layer[-1]
    # Checkpointing computes a layer again when this is over, and others may have replaced it too.
    return None if last.gradient_checkpointing or "forward" in vars(last) else last


def _layer_at(
    layer: Any, positions: Tensor, hidden: Tensor, mask: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    """Computes `BertLayer`'s outputs at `positions` [B, K] alone, from hidden states [B, T, H]."""
    assert mask is None, "blocks have no padding"
    attention: Any = layer.attention.self
    kept = _at(hidden, positions)

    def heads(states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], -1, attention.attention_head_size).transpose(1, 2)

    attend = ALL_ATTENTION_FUNCTIONS.get_interface(
        layer.attention.self.config._attn_implementation, eager_attention_forward
    )
    context, _weights = attend(
        attention,
        heads(attention.query(kept)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
        None,
        dropout=attention.dropout.p if attention.training else 0.0,
        scaling=attention.scaling,
    )
    states: Tensor = layer.feed_forward_chunk(layer.attention.output(context.flatten(2), kept))
    return states


def _at(hidden: Tensor, positions: Tensor) -> Tensor:
    return hidden.gather(1, positions.unsqueeze(-1).expand(-1, -1, hidden.size(-1)))


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Lets a module compute something else for a while; its hooks are still called."""
    module.forward = forward
    try:
        yield
    finally:
        # What the class says comes to light again.
        del module.forward
