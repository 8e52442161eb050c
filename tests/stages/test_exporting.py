"""An export answers as its model without torch; what int8 loses is measured, and too much is not kept."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from filelock import FileLock
from tiny import tiny_config
from transformers import BertForMaskedLM, BertForSequenceClassification, BertModel

from wellread_hf import stages
from wellread_hf.cli.serving import predict
from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.errors import BusyError, ExportError
from wellread_hf.serving.onnx_model import session_of
from wellread_hf.settings import Export, Running, Task
from wellread_hf.stages import exporting
from wellread_hf.store.graph import carry_out
from wellread_hf.store.records import file_digest
from wellread_hf.store.stage import Stage

# What a model card shows, on all rows, where nothing else of ours or of torch can be imported.
CLIENT = """
import importlib.abc, sys

class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "datasets", "wellread_hf"):
            raise ImportError(name)

sys.meta_path.insert(0, Without())
import json, numpy, onnxruntime
from tokenizers import Tokenizer

texts = json.load(sys.stdin)
tokenizer = Tokenizer.from_file("tokenizer.json")
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
labels = json.load(open("config.json"))["id2label"]
found = []
for text in texts:
    encoded = tokenizer.encode(text)
    given = {
        "input_ids": encoded.ids,
        "attention_mask": encoded.attention_mask,
        "token_type_ids": encoded.type_ids,
    }
    inputs = {each.name: numpy.array([given[each.name]]) for each in session.get_inputs()}
    (logits,) = session.run(None, inputs)
    found.append((labels[str(logits[0].argmax())], logits[0].tolist()))
json.dump(found, sys.stdout)
"""


def ask(folder: Path, file: str, texts: list[str]) -> tuple[list[str], np.ndarray]:
    """Asks a graph as a client without this package does: labels, and logits [texts, classes]."""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT, file],
        cwd=folder,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    labels, logits = zip(*json.loads(ran.stdout), strict=True)
    return list(labels), np.array(logits)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, toy_folder: Path) -> Path:
    """Rows of the toy task with labels of each kind."""
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    found = [json.loads(line) for name in ("train", "validation") for line in _lines(toy_folder, name)]
    for number, row in enumerate(found):
        row |= {"even": number % 2, "third": int(number % 3 == 0), "value": number / 100}
    file.write_text("".join(f"{json.dumps(row)}\n" for row in found))
    return file


def _lines(toy_folder: Path, split: str) -> list[str]:
    return (toy_folder / f"task/{split}.jsonl").read_text().splitlines()


def _task(rows: Path, **more: Any) -> Task:
    places = {"data": str(rows), "validation": str(rows), "columns": ("sentence",)}
    return Task(name="mine", **(places | {"label": "even", "labels": ("odd", "even")} | more))


def _model(
    folder: Path, tokenizer: Any, kind: Callable[..., Any], half: bool = False, **changes: Any
) -> Path:
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "vocab_size": len(tokenizer), "initializer_range": 0.3}
    model = kind(tiny_config(**(sizes | changes)))
    (model.half() if half else model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(
    tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Any, rows: Path
) -> tuple[Path, Stage, EvaluatedRows]:
    """A classifier saved in fp16, whose tokenizer gives no segments; its export, and its answers in torch."""
    home = tmp_path_factory.mktemp("classifier")
    names = {"id2label": {0: "odd", 1: "even"}, "label2id": {"odd": 0, "even": 1}}
    model = _model(home / "model", toy_tokenizer, BertForSequenceClassification, half=True, **names)
    words = model / "tokenizer_config.json"
    given = {"model_input_names": ["input_ids", "attention_mask"]}
    words.write_text(json.dumps(json.loads(words.read_text()) | given))
    running, task = Running(runs=home / "runs"), _task(rows)
    # Answers of random weights are near a tie, and int8 changes more of them than of a trained model's.
    export = stages.export(str(model), task, Export(max_length=16, tolerance=5, agreement=0.9), running)
    # As on an old processor: in so narrow a model int8 is slower, which is for another test to say.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "has_fast_int8", lambda _: False)
        carry_out([export])
    evaluated = stages.evaluate(str(model), task, 16, running)
    return model, export, EvaluatedRows.read(evaluated.folder)


def test_a_folder_answers_as_the_model_where_torch_and_this_package_are_not(
    classifier: tuple[Path, Stage, EvaluatedRows],
) -> None:
    _, export, evaluated = classifier
    texts = [text for (text,) in evaluated.texts]
    labels, logits = ask(export.folder, "onnx/model.onnx", texts)
    temperature = export.record.outcome["temperature"]
    assert temperature != 1
    np.testing.assert_allclose(logits, evaluated.logits / temperature, atol=1e-4)
    assert labels == [("odd", "even")[index] for index in evaluated.logits.argmax(1)]
    calibration = json.loads((export.folder / "config.json").read_text())["calibration"]
    assert calibration["temperature"] == temperature
    assert calibration["applied_in"] == "onnx"


def test_int8s_figures_are_those_of_a_client_that_asks_row_by_row(
    classifier: tuple[Path, Stage, EvaluatedRows],
) -> None:
    _, export, evaluated = classifier
    figures = export.record.outcome["files"]["model_quantized.onnx"]
    assert "refused" not in figures
    _, logits = ask(export.folder, "onnx/model_quantized.onnx", [text for (text,) in evaluated.texts])
    assert figures["scores"]["accuracy"] == np.mean(logits.argmax(1) == evaluated.labels)
    assert figures["agreement"] == np.mean(logits.argmax(1) == evaluated.logits.argmax(1))
    low, high = figures["interval"]
    assert low <= figures["score_drop"] <= high
    assert set(figures["speed_over_fp32"]) == {"value", "low", "high", "rows"}


def test_a_folder_is_whole_and_says_of_which_weights_it_is(
    classifier: tuple[Path, Stage, EvaluatedRows],
) -> None:
    model, export, _ = classifier
    described = json.loads((export.folder / "onnx/export.json").read_text())
    recorded = dict(export.record.outcome)
    (warning,) = recorded.pop("warnings")
    assert "int8 is for size" in warning
    assert described == json.loads(json.dumps(recorded))
    assert described["model"]["weights_sha256"] == file_digest(model / "model.safetensors")
    assert described["max_length"] == 16
    for name, figures in described["files"].items():
        path = export.folder / "onnx" / name
        assert (figures["sha256"], figures["bytes"]) == (file_digest(path), path.stat().st_size)
    assert sorted(export.record.outputs or ()) == [
        "config.json",
        "onnx/export.json",
        "onnx/model.onnx",
        "onnx/model_quantized.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    # Of fp16 weights too.
    types = {each.data_type for each in onnx.load(export.folder / "onnx/model.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 not in types


def test_a_missing_package_is_named_before_anything_runs(
    classifier: tuple[Path, Stage, EvaluatedRows], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else name)
    export = stages.export(str(classifier[0]), _task(rows), Export(), Running(runs=classifier[1].root))
    with pytest.raises(ExportError, match=r'needs onnxscript; install it with pip install "wellread-hf\[exp'):
        export.check()


def test_a_second_export_at_once_is_refused(
    classifier: tuple[Path, Stage, EvaluatedRows], rows: Path, tmp_path: Path
) -> None:
    running = Running(runs=classifier[1].root)
    other = stages.export(str(classifier[0]), _task(rows), Export(max_length=16, tolerance=2), running)
    other.folder.mkdir()
    with FileLock(other.folder / ".lock"), pytest.raises(BusyError, match="in use by"):
        carry_out([other])


def test_a_killed_export_goes_on_from_its_graph(
    classifier: tuple[Path, Stage, EvaluatedRows], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wellread_hf.models import onnx_graph

    running = Running(runs=classifier[1].root)
    export = stages.export(str(classifier[0]), _task(rows), Export(max_length=16, tolerance=1), running)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(onnx_graph, "write_int8", killed)
        with pytest.raises(KeyboardInterrupt):
            carry_out([export])
    assert export.state == "half done"
    assert not (export.folder / "onnx").exists(), "nothing lies where a client looks before it is compared"
    monkeypatch.setattr(onnx_graph, "write_graph", killed)
    carry_out([export])
    files = export.record.outcome["files"]
    assert files["model.onnx"] == classifier[1].record.outcome["files"]["model.onnx"]
    assert not (export.folder / "checkpoints").exists()


def test_of_independent_classes_a_tokenizers_segments_are_not_asked_for_where_the_model_knows_none(
    tmp_path: Path, toy_tokenizer: Any, rows: Path
) -> None:
    changes = {"num_labels": 2, "problem_type": "multi_label_classification", "type_vocab_size": 1}
    model = _model(tmp_path / "model", toy_tokenizer, BertForSequenceClassification, **changes)
    task = _task(rows, label="even+third", labels=("even", "third"), multi_label=True)
    config = json.loads((model / "config.json").read_text())
    names = {"id2label": {"0": "even", "1": "third"}, "label2id": {"even": 0, "third": 1}}
    (model / "config.json").write_text(json.dumps(config | names))
    export = _export(model, task, tmp_path)
    outcome = export.record.outcome
    assert (outcome["kind"], outcome["metric"]) == ("multi-label", "f1_micro")
    session = session_of(export.folder / "onnx/model.onnx", threads=1)
    assert [each.name for each in session.get_inputs()] == ["input_ids", "attention_mask"]


def _export(model: Path, task: Task, home: Path, **settings: Any) -> Stage:
    export = stages.export(str(model), task, Export(**settings), Running(runs=home / "runs"))
    carry_out([export])
    assert export.record.outcome["files"]["model.onnx"]["max_logit_difference"] < 1e-5
    return export


def test_an_int8_graph_that_is_refused_is_not_written_and_the_reason_is_printed_and_kept(
    tmp_path: Path, toy_tokenizer: Any, rows: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"num_labels": 1, "problem_type": "regression"}
    model = _model(tmp_path / "model", toy_tokenizer, BertForSequenceClassification, **changes)
    task = _task(rows, label="value", labels=(), regression=True)
    export = _export(model, task, tmp_path, tolerance=100, agreement=0.99999)
    outcome = export.record.outcome
    assert outcome["kind"] == "regression"
    figures = outcome["files"]["model_quantized.onnx"]
    assert figures["refused"].startswith("it agrees with fp32 on ")
    assert figures["refused"] in capfd.readouterr().err
    assert 0.8 < figures["agreement"] < 1
    assert sorted(path.name for path in (export.folder / "onnx").iterdir()) == ["export.json", "model.onnx"]
    assert outcome["temperature"] == 1
    capfd.readouterr()
    predict(str(export.folder), ("a text of mine",))
    # A value has no class.
    assert re.fullmatch(r"value -?\d+\.\d{3}\ta text of mine\n", capfd.readouterr().out)


def test_a_masked_lm_answers_at_every_position(tmp_path: Path, toy_tokenizer: Any, rows: Path) -> None:
    model = _model(tmp_path / "model", toy_tokenizer, BertForMaskedLM)
    export = _export(model, _task(rows), tmp_path, tolerance=100, agreement=0.5)
    outcome, words = export.record.outcome, len(toy_tokenizer)
    assert (outcome["kind"], outcome["metric"]) == ("fill-mask", "accuracy")
    (output,) = session_of(export.folder / "onnx/model.onnx", threads=1).get_outputs()
    assert (output.name, output.shape) == ("logits", ["batch_size", "sequence_length", words])


def test_features_are_the_last_states_and_nothing_else(
    tmp_path: Path, toy_tokenizer: Any, rows: Path
) -> None:
    model = _model(tmp_path / "model", toy_tokenizer, BertModel)
    export = _export(model, _task(rows), tmp_path, tolerance=100, agreement=0.5)
    outcome = export.record.outcome
    assert (outcome["kind"], outcome["metric"]) == ("features", "spearman")
    assert outcome["files"]["model.onnx"]["scores"]["spearman"] == pytest.approx(1, abs=1e-4)
    graph = export.folder / "onnx/model.onnx"
    (output,) = session_of(graph, threads=1).get_outputs()
    assert (output.name, output.shape) == ("last_hidden_state", ["batch_size", "sequence_length", 32])
    assert not [each for each in onnx.load(graph).graph.initializer if "pooler" in each.name]
