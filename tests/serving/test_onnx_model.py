"""The runtime gives torch's own answers, in the order of the texts."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.tiny import tiny_classifier, tiny_masked_lm, word_tokenizer
from wellread_hf.errors import DataError, SettingsError, SourceError
from wellread_hf.models.onnx_graph import write_graph
from wellread_hf.serving.exports import find_export
from wellread_hf.serving.onnx_model import OnnxModel
from wellread_hf.store.records import StageRecord

TEXTS = ["word3 word9", "word1", ("word4 word5", "word6"), "word7 " * 30, "unknown word8", ""]


def exported(folder: Path, model, kind: str) -> Path:
    (folder / "onnx").mkdir(parents=True)
    write_graph(model.eval(), folder / "onnx/model.onnx", True)
    model.config.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    facts = {"kind": kind, "max_length": 24, "model": {"weights_sha256": "0" * 64}, "files": {}}
    (folder / "onnx/export.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    model = tiny_classifier(id2label={0: "bad", 1: "good", 2: "so so"}, label2id={})
    return model, exported(tmp_path_factory.mktemp("classifier"), model, "classification")


def test_logits_are_torchs_in_the_order_given(classifier):
    model, folder = classifier
    found = OnnxModel(folder, threads=1).logits(TEXTS, batch_size=2)
    tokenizer = word_tokenizer()
    for text, row in zip(TEXTS, found, strict=True):
        pair = text if isinstance(text, tuple) else (text,)
        inputs = tokenizer(*pair, truncation=True, max_length=24, return_tensors="pt")
        with torch.inference_mode():
            expected = model(**inputs).logits[0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_predictions_are_ranked_probabilities(classifier):
    _, folder = classifier
    model = OnnxModel(folder)
    (found,) = model.predict(["word3 word9"])
    assert {each["label"] for each in found} == {"bad", "good", "so so"}
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-6)
    assert model.logits([]).shape == (0, 3)


def test_a_mask_is_filled_with_torchs_words(tmp_path):
    model = tiny_masked_lm()
    runtime = OnnxModel(exported(tmp_path, model, "fill-mask"))
    (found,) = runtime.predict(["word3 [MASK] word9"])
    inputs = word_tokenizer()("word3 [MASK] word9", return_tensors="pt")
    with torch.inference_mode():
        best = model.eval()(**inputs).logits[0, 2].softmax(-1).topk(5)
    assert [each["label"] for each in found] == word_tokenizer().convert_ids_to_tokens(best.indices.tolist())
    np.testing.assert_allclose([each["score"] for each in found], best.values.numpy(), atol=1e-6)
    with pytest.raises(DataError, match=r"expected one \[MASK\]"):
        runtime.predict(["word3"])


@pytest.mark.parametrize(
    ("options", "sentence"), [({"max_length": 65}, "3 to 64"), ({"file": "fp16"}, "int8")]
)
def test_a_wrong_setting_is_one_sentence(classifier, options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        OnnxModel(classifier[1], **options)


def test_a_missing_int8_file_is_named(classifier):
    with pytest.raises(SourceError, match=r"model_quantized\.onnx"):
        OnnxModel(classifier[1], "int8")


def test_a_text_that_is_none_is_refused(classifier):
    with pytest.raises(DataError, match="expected a text"):
        OnnxModel(classifier[1]).predict(["\ud800"])


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(SourceError, match="give the folder of an export"):
        find_export(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SourceError, match="wellread export"):
        find_export(str(tmp_path))


def test_a_stale_export_is_refused(classifier, tmp_path):
    weights = {"x": np.zeros(1, np.float32)}
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx/model.onnx").write_bytes(b"")
    save_file(weights, folder / "model.safetensors")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "onnx/export.json").write_text(json.dumps({"model": {"weights_sha256": sha256}}))
    assert find_export(str(folder)) == folder
    save_file({"x": np.ones(1, np.float32)}, folder / "model.safetensors")
    with pytest.raises(SourceError, match="other weights"):
        find_export(str(folder))


def test_an_export_is_refused_whose_run_has_other_weights_now(tmp_path):
    record = StageRecord(
        kind="distill",
        name="a",
        digest="0" * 64,
        settings={},
        inputs={},
        outcome={},
        seconds=1,
        versions={},
        command="pd.py",
    )
    (tmp_path / "distill-a").mkdir()
    (tmp_path / "export-a").mkdir()
    record.write(tmp_path / "distill-a")
    exported = {"model": record.fingerprint}
    dataclasses.replace(record, kind="export", settings=exported).write(tmp_path / "export-a")
    run, export = tmp_path / "distill-a", tmp_path / "export-a"
    save_file({"x": np.zeros(1, np.float32)}, run / "model.safetensors")
    sha256 = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    (export / "onnx").mkdir()
    (export / "onnx/export.json").write_text(json.dumps({"model": {"weights_sha256": sha256}}))
    assert find_export(str(run)) == export
    save_file({"x": np.ones(1, np.float32)}, run / "model.safetensors")
    with pytest.raises(SourceError, match="other weights"):
        find_export(str(run))


def test_what_is_not_in_the_cache_is_not_called_missing_offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="unset HF_HUB_OFFLINE"):
        find_export("nobody/never-fetched")


@pytest.mark.parametrize("threads", [-1, 100_000])
def test_threads_that_would_never_answer_are_refused(classifier, threads):
    with pytest.raises(SettingsError, match="expected 1 to"):
        OnnxModel(classifier[1], threads=threads)
