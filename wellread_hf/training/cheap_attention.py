"""Attention with dropout on a CPU, in parts that stay in its cache.

torch has no fused attention with dropout for CPUs. Its plain way draws a double a number and goes through
[B, heads, T, T] a dozen times. This goes through a few rows of the batch at a time, with cheaper draws.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from wellread_hf.training.fast_cpu import FEW, bits_and_threshold

_NAME = "sdpa"
# So many probabilities at once: 256 KB, and enough for two threads.
_AT_ONCE = 1 << 16


@contextmanager
def cheap_attention() -> Iterator[None]:
    """While open, models of this process whose attention is "sdpa" take `attend`.

    What somebody has put in that place already stays.
    """
    if ALL_ATTENTION_FUNCTIONS[_NAME] is not sdpa_attention_forward:
        yield
        return
    ALL_ATTENTION_FUNCTIONS[_NAME] = attend
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[_NAME]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Does what transformers' "sdpa" does: softmax(scaling · Q Kᵀ) with dropout, times V.

    Without dropout, for few numbers, and for all that encoders in fp32 do not need, it is that.

    Args:
        module: The attention module.
        query: [B, heads, T, D].
        key: [B, heads, S, D].
        value: [B, heads, S, D].
        attention_mask: [B or 1, heads or 1, T, S], True where a position is seen; None for everywhere.
        dropout: Share of the probabilities to drop.
        scaling: None for 1/sqrt(D).
        **more: What other models hand over.

    Returns:
        [B, T, heads, D], and None for the probabilities.
    """
    batch, heads, queries, size = query.shape
    keys = key.size(2)
    cheap = (
        0 < dropout < 1
        and batch * heads * queries * keys >= FEW
        and query.device.type == "cpu"
        and query.dtype == torch.float32
        and key.shape == value.shape == (batch, heads, keys, size)
        and getattr(module, "is_causal", True) is False
        and not any(more.get(name) is not None for name in _UNUSUAL)
        and (attention_mask is None or _sees_something(attention_mask))
    )
    if not cheap:
        given = (module, query, key, value, attention_mask, dropout, scaling)
        found: tuple[Tensor, None] = sdpa_attention_forward(*given, **more)
        return found
    if attention_mask is not None:
        attention_mask = attention_mask.expand(batch, heads, queries, keys)
    apply: Callable[..., Tensor] = _Attention.apply
    scale = size**-0.5 if scaling is None else scaling
    return apply(query, key, value, attention_mask, dropout, scale), None


# What `sdpa` has arguments for, and BERT does not use.
_UNUSUAL = ("is_causal", "position_bias", "cache", "softcap")


def _sees_something(mask: Tensor) -> bool:
    # torch gives 0 where nothing is seen, and a softmax over nothing would be NaN.
    return mask.dtype == torch.bool and bool(mask.any(-1).all())


class _Attention(torch.autograd.Function):
    """Keeps the probabilities before dropout, and what was dropped as one byte a number."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rate: float, scale: float
    ) -> Tensor:
        batch, heads, queries, size = query.shape
        shares = query.new_empty(batch, heads, queries, key.size(2))
        bits, threshold, kept_scale = bits_and_threshold(shares.shape, rate)
        kept = torch.empty_like(shares, dtype=torch.bool)
        context = query.new_empty(batch, queries, heads, size)
        for rows in _parts(shares):
            q, k, v, share, keep, bit = (
                each[rows].flatten(0, 1) for each in (query, key, value, shares, kept, bits)
            )
            torch.baddbmm(share, q, k.mT, beta=0, alpha=scale, out=share)
            if mask is not None:
                share.masked_fill_(~mask[rows].flatten(0, 1), -torch.inf)
            torch.softmax(share, -1, out=share)
            torch.ge(bit, threshold, out=keep)
            context[rows] = _rows(torch.mul(keep, kept_scale).mul_(share) @ v, heads)
        ctx.save_for_backward(query, key, value, shares, kept)
        ctx.scale, ctx.kept_scale = scale, kept_scale
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, shares, kept = ctx.saved_tensors
        heads = query.size(1)
        gradients = [torch.empty_like(each.transpose(1, 2)) for each in (query, key, value)]
        of_query, of_key, of_value = gradients
        for rows in _parts(shares):
            q, k, v, share, keep, g = (
                each[rows].flatten(0, 1)
                for each in (query, key, value, shares, kept, gradient.transpose(1, 2))
            )
            dropped = torch.mul(keep, ctx.kept_scale)
            scores = torch.bmm(g, v.mT).mul_(dropped)
            of_value[rows] = _rows(dropped.mul_(share).mT @ g, heads)
            torch.ops.aten._softmax_backward_data.out(scores, share, -1, share.dtype, grad_input=scores)
            of_query[rows] = _rows(torch.baddbmm(q, scores, k, beta=0, alpha=ctx.scale), heads)
            of_key[rows] = _rows(torch.baddbmm(k, scores.mT, q, beta=0, alpha=ctx.scale), heads)
        return (*(each.transpose(1, 2) for each in gradients), None, None, None)


def _parts(shares: Tensor) -> Iterator[slice]:
    """Yields slices of the batch, each with about as many probabilities as fit into the cache."""
    rows = max(1, _AT_ONCE // shares[0].numel())
    return (slice(start, start + rows) for start in range(0, len(shares), rows))


def _rows(states: Tensor, heads: int) -> Tensor:
    """Returns [rows · heads, T, D] as [rows, T, heads, D]."""
    return states.view(-1, heads, *states.shape[1:]).transpose(1, 2)
