"""A BERT's last layer where its head reads it, and nowhere else.

A classifier's pooler reads the first position, a masked-LM head the masked ones. Of other positions the last
layer needs keys and values alone. With two layers that leaves out four tenths of all products.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import BertForSequenceClassification, BertModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import eager_attention_forward

# Those that take fewer queries than keys, with a mask [B, 1, queries, keys].
_ATTENTIONS = ("eager", "sdpa")


@contextmanager
def first_position_only(model: Any) -> Iterator[None]:
    """While open, a stock BERT classifier computes its last layer at the first position alone.

    Logits and gradients are the same but for the last bits; the last hidden states come out as [B, 1, H].
    Other models, and those that are asked for hidden states or attentions by their config, are left alone. A
    copy made meanwhile keeps what is open.

    Args:
        model: Any; peft's wrapper too.
    """
    last = _classifiers_last_layer(model)
    with nullcontext() if last is None else replaced(last, partial(_at_first, last)):
        yield


def _classifiers_last_layer(model: Any) -> Any:
    stock = model.get_base_model() if hasattr(model, "get_base_model") else model
    if type(stock) is not BertForSequenceClassification:
        return None
    config = stock.config
    shown = config.output_hidden_states or config.output_attentions
    return None if shown or config._attn_implementation not in _ATTENTIONS else stock_last_layer(stock.bert)


def stock_last_layer(base: Any) -> Any:
    """Returns the last layer of a stock BERT encoder whose output only its heads read, else None."""
    # A subclass may compute anything in its layers.
    if type(base) is not BertModel or base.config.is_decoder:
        return None
    last = base.encoder.layer[-1]
    # Checkpointing computes a layer again when this is over, and others may have replaced it too.
    return None if last.gradient_checkpointing or "forward" in vars(last) else last


def layer_at(layer: Any, kept: Tensor, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Computes a `BertLayer`'s outputs [B, K, H] at some positions alone.

    Args:
        layer: The layer.
        kept: [B, K, H] its inputs at these positions.
        hidden: [B, T, H] its inputs.
        mask: [B, 1, K or 1, T] what each of them may read; None for everything.
    """
    attention: Any = layer.attention.self

    def heads(states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], -1, attention.attention_head_size).transpose(1, 2)

    attend = ALL_ATTENTION_FUNCTIONS.get_interface(
        attention.config._attn_implementation, eager_attention_forward
    )
    context, _weights = attend(
        attention,
        heads(attention.query(kept)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
        mask,
        dropout=attention.dropout.p if attention.training else 0.0,
        scaling=attention.scaling,
    )
    states: Tensor = layer.feed_forward_chunk(layer.attention.output(context.flatten(2), kept))
    return states


def _at_first(layer: Any, hidden: Tensor, mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    return layer_at(layer, hidden[:, :1], hidden, None if mask is None else mask[:, :, :1])


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Lets a module compute something else for a while; its hooks are still called."""
    module.forward = forward
    try:
        yield
    finally:
        # What the class says comes to light again.
        del module.forward
