"""What the tests of publishing share: small uploads, folders of finished stages, and what came of a push."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from hub_server import HubServer
from huggingface_hub import HfApi

from wellread_hf.hub.files import LocalFile, Upload
from wellread_hf.hub.publish import publish
from wellread_hf.hub.push_report import Report
from wellread_hf.hub.push_settings import Publishing
from wellread_hf.store.records import StageRecord, outputs_of
from wellread_hf.students import Student

# Runs the command in this process; returns its status, and what it prints on stdout and stderr.
Wellread = Callable[..., tuple[int, str, str]]
TOKEN = "token-of-alice"
CARD = b"---\nlicense: apache-2.0\nlanguage: en\n---\n# A student\n"
# Above what the hub of the tests takes in one piece: it goes up in parts.
WEIGHTS = bytes(range(256)) * 500


def upload(name: str = "bert-2-128", card: bytes = CARD, weights: bytes = WEIGHTS, **more: Any) -> Upload:
    contents = {"README.md": card, "config.json": b"{}", "model.safetensors": weights}
    return Upload(
        name=name,
        files={path: LocalFile(path, content) for path, content in contents.items()},
        **({"note": f"note of {name}"} | more),
    )


def push(api: HfApi, *uploads: Upload, dry_run: bool = False, **settings: Any) -> Report:
    chosen = Publishing(**({"namespace": "alice", "collection": None} | settings))
    return publish(uploads or [upload()], chosen, "1.0", dry_run, api)


def states(report: Report) -> list[str]:
    return [result.state for result in report.repositories]


def pushed_once(hub: HubServer, name: str = "alice/bert-2-128") -> None:
    """Exactly one commit after the first, with the right bytes."""
    repository = hub.repository(name)
    assert len(repository.commits) == 2, [commit.title for commit in repository.commits]
    assert repository.read("README.md") == CARD
    assert repository.read("model.safetensors") == WEIGHTS


def only_reads(hub: HubServer) -> bool:
    return all(record.method in ("GET", "HEAD") for record in hub.requests())


def save_export(
    run: Path,
    int8: bool = True,
    digest: str = "e",
    weights_sha256: str | None = None,
    kind: str = "fill-mask",
) -> Path:
    """Makes the folder of a run's finished export, with graphs that add up ids; int8 may be refused."""
    from onnx import TensorProto, helper, save_model

    folder, model = run.parent / f"export-bert-2-128-{digest * 12}", StageRecord.read(run)
    (folder / "onnx").mkdir(parents=True)
    files: dict[str, Any] = {}
    for name, scale in {"model.onnx": 1.0, "model_quantized.onnx": 2.0}.items():
        ids, mask, logits = (
            helper.make_tensor_value_info(label, number, ["batch_size", length])
            for label, number, length in (
                ("input_ids", TensorProto.INT64, "sequence_length"),
                ("attention_mask", TensorProto.INT64, "sequence_length"),
                ("logits", TensorProto.FLOAT, 1),
            )
        )
        nodes = [
            helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "axes"], ["sum"]),
            helper.make_node("Cast", ["sum"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["number", "scale"], ["logits"]),
        ]
        constants = [
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
        ]
        graph = helper.make_graph(nodes, "counts", [ids, mask], [logits], constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        save_model(made, folder / "onnx" / name)
        content = (folder / "onnx" / name).read_bytes()
        facts = {"scores": {"accuracy": 0.8}, "max_logit_difference": 0.0}
        files[name] = {"sha256": sha256(content).hexdigest(), "bytes": len(content), **facts}
    if not int8:
        (folder / "onnx" / "model_quantized.onnx").unlink()
        files["model_quantized.onnx"]["refused"] = "its score falls by 2.1 points"
    outcome = {
        "format": 1,
        "kind": kind,
        "metric": "accuracy",
        "rows": 872,
        "max_length": 128,
        "temperature": 1.5,
        "machine": {"cpu": "A CPU", "instructions": []},
        "model": {
            "name": run.name,
            "fingerprint": f"stage:{model.digest}:.",
            "weights_sha256": weights_sha256 or sha256((run / "model.safetensors").read_bytes()).hexdigest(),
        },
        "files": files,
    }
    (folder / "onnx" / "export.json").write_text(json.dumps(outcome))
    (folder / "config.json").write_text('{"calibration": {"temperature": 1.5}}')
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    settings = {"model": f"stage:{model.digest}:.", "task": {"name": "sst2"}}
    record = replace(model, kind="export", digest=digest * 64, settings=settings, outcome=outcome)
    replace(record, outputs=outputs_of(folder)).write(folder)
    return folder


def save_run(root: Path, student: str = "bert-2-128", seed: int = 0, digest: str = "a") -> Path:
    """Makes the folder of a finished stage with a student of few words, as if taken over from Google."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    sizes = Student.parse(student)
    text = ("the", "quick", "brown", "fox", "is", "not", "lazy", "at", "all", ".")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *text]
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=64)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.hidden,
        max_position_embeddings=64,
    )
    folder = root / f"adopt-{student}-{digest * 12}"
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    StageRecord(
        kind="adopt",
        name=student,
        digest=digest * 64,
        settings={"source": f"google/bert_uncased_L-{sizes.layers}_H-{sizes.hidden}_A-{sizes.heads}"},
        inputs={},
        outcome={
            "source": f"google/bert_uncased_L-{sizes.layers}_H-{sizes.hidden}_A-{sizes.heads}",
            "revision": "0" * 40,
            "parity": 0.0,
            "sentences": 3,
        },
        seconds=1.0,
        versions={"torch": torch.__version__},
        command="python recipes/adopt.py",
    ).write(folder)
    return folder
