"""Loading a causal language model: whole, of its kind, in the asked precision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from causal import byte_tokenizer, random_model, saved

from wellread_hf.errors import SourceError
from wellread_hf.models.continuations import Continuations
from wellread_hf.models.load import load_causal_lm
from wellread_hf.store.progress import bar
from wellread_hf.store.stage import Location


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(saved(tmp_path_factory.mktemp("lm"), "llama", byte_tokenizer(["a film"] * 5, 300)))


def at(folder: Path) -> Location:
    return Location(name=str(folder), revision=None, fingerprint="any", field="teacher")


def changed(folder: Path, to: Path, **config: Any) -> Path:
    """The same model with other entries in its config."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    given = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(given | config))
    return to


def test_it_is_loaded_in_fp32_or_bf16_and_scores_alike(folder: Path) -> None:
    prompt = np.array([5, 60, 61, 62], dtype=np.int32)
    found = {}
    for bf16 in (False, True):
        model = load_causal_lm(at(folder), bf16=bf16)
        assert model.dtype == (torch.bfloat16 if bf16 else torch.float32)
        scorer = Continuations(model, [[70], [71, 72]], 64)
        with bar("scoring", "rows", 2) as shown:
            found[bf16] = scorer.scores(prompt, [prompt, prompt[:2]], shown)
        assert found[bf16].dtype == np.float32
    np.testing.assert_allclose(found[True], found[False], atol=1)
    assert np.abs(found[True] - found[False]).max() > 1e-4


def test_a_model_without_its_head_is_refused(folder: Path, tmp_path: Path) -> None:
    model = random_model("llama", byte_tokenizer(["a film"] * 5, 300))
    model.model.save_pretrained(tmp_path)
    with pytest.raises(SourceError, match=r"no weights for lm_head\.weight"):
        load_causal_lm(at(tmp_path))


def test_a_model_that_reads_in_both_directions_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    tf.BertForMaskedLM(tf.BertConfig(vocab_size=60, initializer_range=0.3, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(SourceError, match="reads a text in both directions"):
        load_causal_lm(at(tmp_path))


def test_a_quantised_model_whose_package_is_not_there_is_refused_in_a_sentence(
    folder: Path, tmp_path: Path
) -> None:
    quantised = changed(
        folder, tmp_path / "q", quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128}
    )
    with pytest.raises(SourceError, match=r"cannot be loaded as a causal language model.*(gptq|GPTQ)"):
        load_causal_lm(at(quantised))
