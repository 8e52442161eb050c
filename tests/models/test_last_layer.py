"""A classifier whose last layer is computed at [CLS] alone is the stock one."""

import copy
from typing import Any

import pytest
import torch
from tiny import VOCABULARY, tiny_classifier, tiny_config, tiny_masked_lm
from torch import Tensor
from transformers import BertForTokenClassification, DistilBertConfig, DistilBertForSequenceClassification

from wellread_hf.models.last_layer import first_position_only
from wellread_hf.models.lora import add_lora
from wellread_hf.settings import Lora


def _batch(lengths: tuple[int, ...]) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, VOCABULARY, mask.shape, generator=draw) * mask
    segments = (torch.arange(max(lengths)) >= 3).long() * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def _gradients(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    logits = model(**batch).logits
    model.zero_grad()
    logits.square().sum().backward()
    return logits.detach(), {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("lengths", [(7, 4, 9), (6, 6)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_logits_and_gradients_are_those_of_the_stock_model(
    layers: int, lengths: tuple[int, ...], attention: str
) -> None:
    model = tiny_classifier(num_hidden_layers=layers, num_labels=3)
    model.set_attn_implementation(attention)
    batch = _batch(lengths)
    stock = _gradients(model, batch)
    shapes: list[Any] = []
    seen = model.bert.encoder.layer[-1].register_forward_hook(
        lambda _, inputs, output: shapes.append(output.shape)
    )
    with first_position_only(model):
        ours = _gradients(model, batch)
        # What a checkpoint or a sweep copies meanwhile is a model of its own.
        copied = _gradients(copy.deepcopy(model), batch)
    assert shapes[0] == (len(lengths), 1, 32)
    for found in (ours, copied):
        torch.testing.assert_close(found, stock, rtol=1e-5, atol=1e-6)
    seen.remove()
    assert not any("forward" in vars(module) for module in model.modules())
    assert model(**batch).logits.equal(stock[0])


def test_cls_states_of_every_layer_are_those_of_the_stock_model() -> None:
    model, batch = tiny_classifier(num_hidden_layers=3).eval(), _batch((7, 4, 9))
    stock = model(**batch, output_hidden_states=True).hidden_states
    with first_position_only(model):
        ours = model(**batch, output_hidden_states=True).hidden_states
    assert len(ours) == 4
    for found, expected in zip(ours, stock, strict=True):
        torch.testing.assert_close(found[:, 0], expected[:, 0], rtol=1e-5, atol=1e-6)


def test_in_lora_the_same_layer_is_meant() -> None:
    model = add_lora(tiny_classifier(), Lora(lora_rank=2), seed=0).eval()
    batch = _batch((7, 4, 9))
    expected = model(**batch).logits
    with first_position_only(model):
        assert sum("forward" in vars(module) for module in model.modules()) == 1
        torch.testing.assert_close(model(**batch).logits, expected, rtol=1e-5, atol=1e-6)


def _tokens() -> Any:
    return BertForTokenClassification(tiny_config())


def _distilbert() -> Any:
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    return DistilBertForSequenceClassification(DistilBertConfig(vocab_size=VOCABULARY, **sizes))


def _read_states() -> Any:
    return tiny_classifier(output_hidden_states=True)


def _decoder() -> Any:
    return tiny_classifier(is_decoder=True)


def _checkpointed() -> Any:
    model = tiny_classifier()
    model.gradient_checkpointing_enable()
    return model


@pytest.mark.parametrize(
    "make", [_tokens, _distilbert, _read_states, _decoder, _checkpointed, tiny_masked_lm, torch.nn.ReLU]
)
def test_what_may_read_other_positions_is_left_alone(make: Any) -> None:
    model = make()
    with first_position_only(model):
        assert not any("forward" in vars(module) for module in model.modules())
