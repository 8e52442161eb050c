"""The masked LM that scores masked positions only is the stock one."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import VOCABULARY, random_blocks, tiny_masked_lm, word_tokenizer
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from wellread_hf.models.masked_lm import (
    masked_lm_loss,
    new_masked_lm,
    scoring_only,
)
from wellread_hf.models.save import save_model
from wellread_hf.students import Student
from wellread_hf.training.fast_cpu import gives_losses, giving_losses
from wellread_hf.training.masking import MlmCollator


def _batch(rows: int = 6, length: int = 40) -> dict[str, Tensor]:
    blocks = random_blocks(rows, length)
    examples = [{"input_ids": ids, "epoch": 0, "block": block} for block, ids in enumerate(blocks)]
    return MlmCollator(word_tokenizer(), seed=1)(examples)


def _dense(batch: dict[str, Tensor]) -> Tensor:
    labels = torch.full_like(batch["input_ids"], -100)
    return labels.scatter_(1, batch["positions"], batch["labels"])


def _student() -> Any:
    return new_masked_lm(Student(2, 128), VOCABULARY, dropout=0.0, seed=0)


def _distilbert() -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    return DistilBertForMaskedLM(DistilBertConfig(**sizes, dropout=0.0, attention_dropout=0.0))


def _roberta() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return RobertaForMaskedLM(RobertaConfig(vocab_size=VOCABULARY, pad_token_id=0, **sizes, **dropout))


@pytest.mark.parametrize("head", ["logits", "losses"])
@pytest.mark.parametrize("build", [_student, _distilbert, _roberta])
def test_loss_and_gradients_are_those_of_the_stock_model_with_dense_labels(build: Any, head: str) -> None:
    batch = _batch()
    model = build().train()
    stock = model(input_ids=batch["input_ids"], labels=_dense(batch)).loss
    stock.backward()
    expected = {
        name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None
    }
    model.zero_grad()
    assert gives_losses(model)
    giving = giving_losses(model, batch["labels"]) if head == "losses" else nullcontext()
    with scoring_only(model, batch["positions"]), giving:
        outputs = model(input_ids=batch["input_ids"]).logits
    if head == "losses":
        losses = outputs.mean(dim=1)
    else:
        assert outputs.shape == (6, 6, VOCABULARY)  # round(0.15 · 40) of 40 positions
        losses = masked_lm_loss(outputs, batch["labels"])
    assert losses.shape == (6,)
    losses.mean().backward()
    torch.testing.assert_close(losses.mean(), stock, atol=1e-5, rtol=1e-5)
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert not found[name].is_sparse
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=name)
        assert gradient.abs().max() > 0 or "key.bias" in name or "k_lin.bias" in name, name
    # Nothing is left behind: the head gives logits at all positions again.
    assert model(input_ids=batch["input_ids"]).logits.shape == (6, 40, VOCABULARY)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_last_layer_is_computed_at_the_scored_positions_alone(attention: str) -> None:
    model, batch = _student().eval(), _batch()
    model.set_attn_implementation(attention)
    widths: list[tuple[int, ...]] = []
    for layer in model.bert.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, given, __: widths.append(given[0].shape[:2]))
    full = model(input_ids=batch["input_ids"]).logits
    with scoring_only(model, batch["positions"]):
        scored = model(input_ids=batch["input_ids"]).logits
    assert widths == [(6, 40), (6, 40), (6, 40), (6, 6)]
    rows = torch.arange(6)[:, None]
    torch.testing.assert_close(scored, full[rows, batch["positions"]], atol=1e-5, rtol=1e-5)


def test_gradient_checkpointing_computes_the_same_gradients() -> None:
    batch, found = _batch(), []
    for checkpointing in (False, True):
        model = _student().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        with scoring_only(model, batch["positions"]), giving_losses(model, batch["labels"]):
            losses = model(input_ids=batch["input_ids"]).logits
        losses.mean().backward()
        found.append({name: weight.grad for name, weight in model.named_parameters()})
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)


def test_each_row_has_the_mean_of_its_own_masked_positions() -> None:
    logits, labels = torch.randn(3, 4, 7, dtype=torch.float64), torch.randint(0, 7, (3, 4))
    by_hand = [
        np.mean([-torch.log_softmax(logits[row, place], 0)[labels[row, place]].item() for place in range(4)])
        for row in range(3)
    ]
    np.testing.assert_allclose(masked_lm_loss(logits, labels), by_hand, rtol=1e-6)


def test_the_hook_leaves_no_trace_even_after_an_error() -> None:
    model, batch = tiny_masked_lm().eval(), _batch()
    before = model(input_ids=batch["input_ids"]).logits
    with scoring_only(model, batch["positions"]):
        model(input_ids=batch["input_ids"])
    with pytest.raises(IndexError), scoring_only(model, batch["positions"]):
        model(input_ids=batch["input_ids"] + 10 * VOCABULARY)
    after = model(input_ids=batch["input_ids"]).logits
    assert after.shape == (6, 40, VOCABULARY)
    assert torch.equal(after, before)


def test_a_student_has_the_weights_of_the_stock_class_and_starts_at_one_over_the_root_of_its_width() -> None:
    model = _student()
    assert type(model) is BertForMaskedLM
    stock = BertForMaskedLM(BertConfig(**model.config.to_dict()))
    assert list(model.state_dict()) == list(stock.state_dict())
    spread = model.bert.encoder.layer[0].intermediate.dense.weight.std().item()
    assert spread == pytest.approx(128**-0.5, rel=0.02)
    assert torch.equal(
        model.bert.embeddings.word_embeddings.weight, _student().bert.embeddings.word_embeddings.weight
    )


def test_a_saved_folder_is_that_of_the_stock_class(tmp_path: Path) -> None:
    model, batch = _student().eval(), _batch()
    save_model(model, word_tokenizer(), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    loaded, info = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is BertForMaskedLM
    assert not any(info.values())
    found, expected = (each(input_ids=batch["input_ids"]).logits for each in (loaded.eval(), model))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
