"""LoRA: what is trained, what is saved, and that it is the same model when it is loaded again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny import random_rows, tiny_classifier, weights_of
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.models.load import load_classifier
from wellread_hf.models.lora import add_lora, exact_logits
from wellread_hf.settings import Lora
from wellread_hf.stages.adapting import save_lora
from wellread_hf.store.stage import Location

MARK = "complete.json"
SIZES = {"vocab_size": 60, "max_position_embeddings": 64, "num_labels": 2}
FAMILIES = {
    "bert": lambda: tiny_classifier(),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(**SIZES, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    ),
    "roberta": lambda: RobertaForSequenceClassification(
        RobertaConfig(
            **SIZES, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
    ),
    "gpt2": lambda: GPT2ForSequenceClassification(
        GPT2Config(vocab_size=60, n_positions=64, n_embd=32, n_layer=2, n_head=2, pad_token_id=0)
    ),
}
LAYER = {
    "bert": 6,  # query, key, value, the attention's output, and two of the feed-forward part
    "distilbert": 6,
    "roberta": 6,
    "gpt2": 4,  # query, key and value are one
}
HEADS = {
    "bert": ["classifier", "pooler"],
    "distilbert": ["pre_classifier", "classifier"],
    "gpt2": ["score"],
}


class _Words:
    """A tokenizer's place: what is saved beside a model here is of no interest."""

    is_fast = False

    def save_pretrained(self, folder: Path) -> None:
        pass


def _rows(model: Any, count: int = 40) -> Any:
    rows = random_rows(count)
    if model.config.model_type == "bert":
        return rows
    # The others know no token types.
    return type(rows)(ids=rows.ids, segments=None, offsets=rows.offsets, pad_id=rows.pad_id)


def _saved(folder: Path, model: Any) -> Location:
    model.save_pretrained(folder)
    return Location(name=str(folder), revision=None, fingerprint="sha256:0")


def _load(at: Location, seed: int = 1) -> Any:
    return load_classifier(at, ("no", "yes"), seed)


def _shaken(model: PeftModel) -> PeftModel:
    """A model as if trained: LoRA's second matrices, which begin as zeros, and the heads have moved."""
    torch.manual_seed(7)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.add_(torch.randn_like(weights) * 0.1)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoders_linear_layers_get_lora_and_the_heads_are_trained_whole(family: str) -> None:
    torch.manual_seed(0)
    model = FAMILIES[family]()
    before = weights_of(model)
    adapted = add_lora(model, Lora(lora_rank=3), seed=5)
    trained = {name for name, weights in adapted.named_parameters() if weights.requires_grad}
    lora = {name for name in trained if ".lora_A." in name or ".lora_B." in name}
    assert len(lora) == 2 * 2 * LAYER[family]
    heads = HEADS.get(family, ["classifier"])
    assert {head for name in trained - lora for head in heads if f".{head}." in name} == set(heads)
    assert all(any(f".{head}." in name for head in heads) for name in trained - lora)
    assert list(adapted.peft_config["default"].modules_to_save) == heads
    # Until it is trained it is the model that it was.
    rows = _rows(model)
    reference = FAMILIES[family]()
    reference.load_state_dict({name: torch.from_numpy(value) for name, value in before.items()})
    torch.testing.assert_close(exact_logits(adapted, rows), exact_logits(reference, rows), rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_model_and_adapter_give_the_trained_logits_again(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    # A masked LM, as pre-training leaves it: classifier and pooler are new, and drawn anew at each loading.
    kind = AutoModelForCausalLM if family == "gpt2" else AutoModelForMaskedLM
    base = _saved(tmp_path / "start", kind.from_config(FAMILIES[family]().config))
    lora = Lora(lora_rank=4, lora_alpha=3)
    model = _shaken(add_lora(_load(base, seed=0), lora, seed=0))
    rows = _rows(model)
    expected = exact_logits(model, rows)
    assert float((expected - exact_logits(_load(base, seed=0), rows)).abs().max()) > 0.1
    facts = save_lora(model, _Words(), lora, base, _load, rows, tmp_path / "run")
    assert max(facts["parity_merged"], facts["parity_adapter"]) < 1e-6
    assert facts["trainable_parameters"] < facts["parameters"]
    # Independently, in fp32 and by the libraries' own words.
    batch = {"input_ids": torch.from_numpy(rows.row(0)["input_ids"].astype(np.int64))[None]}
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run").eval()
    assert type(merged).__module__.startswith("transformers.")
    torch.manual_seed(99)
    again = AutoModelForSequenceClassification.from_pretrained(base.name)
    again = PeftModel.from_pretrained(again, str(tmp_path / "run/adapter")).eval()
    with torch.no_grad():
        for loaded in (merged, again):
            found = loaded(**batch).logits
            np.testing.assert_allclose(found[0].numpy(), expected[0].float().numpy(), atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "run/adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    weights = load_file(tmp_path / "run/adapter/adapter_model.safetensors")
    assert sum(value.numel() for value in weights.values()) == facts["trainable_parameters"]


def test_the_merged_weights_are_the_encoders_plus_alpha_over_rank_times_the_product(tmp_path: Path) -> None:
    base = _saved(tmp_path / "start", tiny_classifier())
    lora = Lora(lora_rank=4, lora_alpha=3)
    model = _shaken(add_lora(_load(base), lora, seed=0))
    save_lora(model, _Words(), lora, base, _load, random_rows(8), tmp_path / "run")
    before, merged = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "run"))
    parts = load_file(tmp_path / "run/adapter/adapter_model.safetensors")
    query = "bert.encoder.layer.1.attention.self.query"
    product = parts[f"base_model.model.{query}.lora_B.weight"].double() @ (
        parts[f"base_model.model.{query}.lora_A.weight"].double()
    )
    torch.testing.assert_close(
        merged[f"{query}.weight"].double(),
        before[f"{query}.weight"].double() + 3 / 4 * product,
        rtol=0,
        atol=1e-7,
    )
    untouched = [name for name in before if "embeddings" in name or "LayerNorm" in name]
    assert untouched
    assert all(torch.equal(before[name], merged[name]) for name in untouched)


def test_a_saved_adapter_names_its_start_without_the_folders_above_it(tmp_path: Path) -> None:
    here = _saved(tmp_path / "my-encoder", tiny_classifier())
    hub = Location(name="google/bert", revision="c" * 40, fingerprint=f"hub:google/bert@{'c' * 40}")
    named = {}
    for name, at in (("here", here), ("hub", hub)):
        lora = Lora(lora_rank=2)
        model = add_lora(tiny_classifier(), lora, seed=0)
        save_lora(model, _Words(), lora, at, lambda at: _load(_of(at, here)), random_rows(8), tmp_path / name)
        config = json.loads((tmp_path / name / "adapter/adapter_config.json").read_text())
        named[name] = config["base_model_name_or_path"], config["revision"]
        assert str(tmp_path) not in json.dumps(config)
        assert config["target_modules"] == sorted(config["target_modules"])
    assert named == {"here": ("my-encoder", None), "hub": ("google/bert", "c" * 40)}


def _of(at: Location, here: Location) -> Location:
    # The Hub's model lies here.
    return here if at.fingerprint.startswith("hub:") else at


@pytest.mark.parametrize("spoilt", ["the start", "the merged model"])
def test_what_differs_when_loaded_again_is_refused_and_not_left_behind(tmp_path: Path, spoilt: str) -> None:
    base = _saved(tmp_path / "start", tiny_classifier())
    lora = Lora(lora_rank=2)
    model = _shaken(add_lora(_load(base), lora, seed=0))
    if spoilt == "the start":
        _saved(tmp_path / "start", tiny_classifier(seed=1))
    else:
        # A part of the model that is no weight, and so is not saved.
        model.base_model.model.dropout = torch.nn.Hardtanh(-0.01, 0.01)
    folder = tmp_path / "run"
    with pytest.raises(StoreError, match=r"loaded again.*trained model's logits.*got a difference of"):
        save_lora(model, _Words(), lora, base, _load, random_rows(8), folder)
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_the_adapter_can_be_left_out(tmp_path: Path) -> None:
    base = _saved(tmp_path / "start", tiny_classifier())
    lora = Lora(lora_rank=2, lora_adapter=False)
    facts = save_lora(
        add_lora(_load(base), lora, 0), _Words(), lora, base, _load, random_rows(8), tmp_path / "run"
    )
    assert not (tmp_path / "run/adapter").exists()
    assert (tmp_path / "run/model.safetensors").is_file()
    assert "adapter_bytes" not in facts


def test_lora_begins_with_the_seed_and_nothing_else() -> None:
    def drawn(seed: int, before: int) -> dict[str, np.ndarray]:
        model = tiny_classifier()
        torch.manual_seed(before)
        return weights_of(add_lora(model, Lora(lora_rank=2), seed))

    first, same, other = drawn(3, before=1), drawn(3, before=2), drawn(4, before=1)
    assert all(np.array_equal(first[name], same[name]) for name in first)
    moved = {name for name in first if not np.array_equal(first[name], other[name])}
    assert moved == {name for name in first if ".lora_A." in name}


def test_targets_are_ends_of_names_and_those_that_match_nothing_are_refused() -> None:
    chosen = Lora(lora_rank=2, lora_targets=("query", "attention.output.dense"))
    adapted = add_lora(tiny_classifier(), chosen, seed=0)
    lora = {name for name, weights in adapted.named_parameters() if ".lora_A." in name}
    assert len(lora) == 4
    assert all(".query." in name or ".attention.output.dense." in name for name in lora)
    with pytest.raises(SettingsError) as refusal:
        add_lora(tiny_classifier(), Lora(lora_rank=2, lora_targets=("query", "q_lin", "uery")), seed=0)
    for word in ("`lora_targets`", "'q_lin'", "'uery'", "attention.self.query", "intermediate.dense"):
        assert word in str(refusal.value)
    assert "'query'" not in str(refusal.value)
