"""Attention with cheaper dropout is torch's in all but the numbers that are drawn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from tiny import tiny_classifier
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from wellread_hf.training import cheap_attention as module
from wellread_hf.training.cheap_attention import attend, cheap_attention
from wellread_hf.training.fast_cpu import bits_and_threshold

SHAPE = (5, 3, 40, 64)


class Encoder(nn.Module):
    """All that attention asks of its module."""

    is_causal = False


def parts(keys: int = 40, seed: int = 0) -> list[Tensor]:
    """Query, key and value as a model has them: views of what its linear layers return."""
    torch.manual_seed(seed)
    batch, heads, queries, size = SHAPE
    return [
        torch.randn(batch, length, heads, size).transpose(1, 2).requires_grad_()
        for length in (queries, keys, keys)
    ]


def by_hand(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rate: float) -> Tensor:
    """Softmax, the same draws, product: [B, T, heads, D]."""
    scores = query @ key.mT / 8
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    bits, threshold, scale = bits_and_threshold(scores.shape, rate)
    return (scores.softmax(-1) * (bits >= threshold) * scale @ value).transpose(1, 2)


@pytest.mark.parametrize("at_once", [1, 3 * 40 * 33 * 2, 1 << 20])
@pytest.mark.parametrize("masked", [False, True])
def test_outputs_and_gradients_are_those_of_the_plain_way_with_the_same_draws(
    masked: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    monkeypatch.setattr(module, "FEW", 0)
    inputs = parts(keys=33)
    mask = torch.arange(33)[None, None, None] < torch.tensor([33, 1, 20, 5, 32])[:, None, None, None]
    pull = torch.randn(5, 40, 3, 64)
    found = []
    ways: list[Callable[..., Tensor]] = [by_hand, lambda *given: attend(Encoder(), *given)[0]]
    for way in ways:
        torch.manual_seed(7)
        outputs = way(*inputs, mask if masked else None, 0.3)
        found.append([outputs, *torch.autograd.grad(outputs, inputs, pull)])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=2e-6)


def test_the_share_of_dropped_probabilities_is_the_rate() -> None:
    query, key, _ = parts()
    # Values that are the identity show the probabilities themselves.
    shown = torch.eye(40, 64).expand(5, 3, 40, 64)
    outputs, _ = attend(Encoder(), query, key, shown, None, dropout=0.1)
    kept = outputs[..., :40] != 0
    assert binomtest(int((~kept).sum()), kept.numel(), 0.1).pvalue > 1e-3
    plain = F.scaled_dot_product_attention(query, key, shown).transpose(1, 2)[..., :40]
    torch.testing.assert_close(outputs[..., :40][kept], plain[kept] / 0.9, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 0.0},
        {"dropout": 1.0},
        {"attention_mask": torch.zeros(5, 1, 1, 40)},
        # Nothing is seen: torch answers 0, not NaN.
        {"attention_mask": torch.zeros(5, 1, 40, 40, dtype=torch.bool)},
        {"is_causal": True},
        {"module": nn.Module()},
    ],
)
def test_anything_else_is_left_to_torch_to_the_bit(change: dict[str, Any]) -> None:
    query, key, value = parts()
    given = {"module": Encoder(), "attention_mask": None, "dropout": 0.1, "scaling": 0.125} | change
    found = []
    ways: list[Callable[..., Any]] = [attend, sdpa_attention_forward]
    for way in ways:
        torch.manual_seed(3)
        found.append(way(query=query, key=key, value=value, **given)[0])
    assert found[0].equal(found[1])


def test_models_take_it_while_it_is_open_and_never_afterwards() -> None:
    model = tiny_classifier(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    ids = torch.randint(5, 50, (20, 40))

    def logits(seed: int) -> Tensor:
        torch.manual_seed(seed)
        found: Tensor = model.train()(ids).logits
        return found

    before, without_dropout = logits(0), model.eval()(ids).logits
    with cheap_attention(), cheap_attention():
        assert not logits(0).equal(before)
        assert logits(1).equal(logits(1))
        assert model.eval()(ids).logits.equal(without_dropout)
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa_attention_forward
    assert logits(0).equal(before)
