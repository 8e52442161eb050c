"""Roots of finished stages, as small as they can be: records, a config and a file of weights."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.metrics.calibration import calibration
from wellread_hf.store.records import StageRecord, digest

SHA = "0123456789abcdef0123456789abcdef01234567"
GLUE_AT = f"hub:nyu-mll/glue@{SHA}"
OPTIM = {
    "batch_size": 32,
    "beta2": 0.999,
    "epsilon": 1e-6,
    "learning_rate": 1e-3,
    "max_grad_norm": 1.0,
    "micro_batch_size": None,
    "precision": "auto",
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": 0.01,
}


class Root:
    """A folder of stages; each method finishes one and returns its record."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def folder(self, record: StageRecord) -> Path:
        return self.path / f"{record.kind}-{record.name}-{record.digest[:12]}"

    def stage(self, kind: str, name: str, settings: Mapping[str, Any], outcome: Mapping[str, Any],
              model: bool = True, layers: int = 2, hidden: int = 128) -> StageRecord:  # fmt: skip
        record = StageRecord(
            kind=kind,
            name=name,
            digest=digest({"kind": kind, "identity": settings}),
            settings=settings,
            inputs={},
            outcome=outcome,
            seconds=120.0,
            versions={"wellread_hf": "0.1.0", "torch": "2.13.0", "commit": "abcdef012345"},
            command=f"{kind}.py --student 2-128",
            processes=2,
            device="cpu",
        )
        folder = self.folder(record)
        folder.mkdir(parents=True)
        if model:
            config = {"num_hidden_layers": layers, "hidden_size": hidden, "vocab_size": 8000}
            (folder / "config.json").write_text(json.dumps(config))
            header = {"weight": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}}
            text = json.dumps(header).encode()
            (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(60))
        record.write(folder)
        return record

    def pack(self) -> StageRecord:
        source = {"name": f"hub:wikimedia/wikipedia@{SHA}", "config": "20231101.en", "split": "train",
                  "revision": SHA, "columns": ["text"]}  # fmt: skip
        books = {"name": "sha256:" + "ab" * 32, "config": None, "split": "train", "columns": ["a", "b"],
                 "revision": None, "rows": 12_000}  # fmt: skip
        settings = {"sources": [source, books], "tokenizer": "hub:google-bert/bert-base-uncased@" + SHA}
        outcome = {"block_length": 128, "tokens": 42_000_000}
        return self.stage("pack", "128", settings, outcome, model=False)

    def pretrain(self, seed: int = 0, student: str = "bert-2-128", **more: Any) -> StageRecord:
        settings = {
            "student": student, "start": None, "minutes": None, "steps": None, "epochs": 3.0,
            "packs": [digest({"kind": "pack", "identity": self.pack_settings()})], "seed": seed,
            "dropout": None,
            "block_lengths": [64, 128], "phase_shares": [0.9, 0.1], "mask_share": 0.15, "whole_word": True,
            "tokenizer": "hub:google-bert/bert-base-uncased@" + SHA, "optim": OPTIM,
        }  # fmt: skip
        outcome = {"tokens": 126_000_000, "steps": 10_000, "held_out_loss": 3.25, "unigram_loss": 6.8,
                   "seconds_training": 7200.0}  # fmt: skip
        layers, hidden = map(int, student.split("-")[1:])
        name = f"{student}-seed{seed}"
        return self.stage("pretrain", name, settings | more, outcome, layers=layers, hidden=hidden)

    def grown(self, of: StageRecord, student: str = "bert-4-128") -> StageRecord:
        """A larger student's first weights, stacked from those of a pre-trained one of two layers."""
        layers, hidden = map(int, student.split("-")[1:])
        settings = {"source": f"stage:{of.digest}:.", "student": student, "keep": "grow", "layers": [],
                    "tokenizer": None, "seed": 0}  # fmt: skip
        outcome = {"layers": [1, 2] * (layers // 2), "source_layers": 2, "source_width": 128}
        return self.stage("init", f"{student}-grow-seed0", settings, outcome, layers=layers, hidden=hidden)

    def pack_settings(self) -> Mapping[str, Any]:
        (path,) = self.path.glob("pack-*/stage.json")
        settings: Mapping[str, Any] = json.loads(path.read_text())["settings"]
        return settings

    def adopt(self) -> StageRecord:
        source = "google/bert_uncased_L-2_H-128_A-2"
        outcome = {"source": source, "revision": SHA, "parity": 3.1e-6, "sentences": 64}
        return self.stage("adopt", "bert-2-128", {"source": f"hub:{source}@{SHA}"}, outcome)

    def label(self, teacher: str = "sha256:" + "cd" * 32) -> StageRecord:
        source = {"name": f"hub:stanfordnlp/imdb@{SHA}", "config": None, "split": "unsupervised",
                  "columns": ["text"], "revision": SHA}  # fmt: skip
        settings = {"teacher": teacher, "transfer": {"sources": ["task", [source]], "rows": None, "seed": 0}}
        outcome = {"rows": 79_349, "metric": "accuracy", "teacher_validation": {"accuracy": 0.9}}
        return self.stage("label", "sst2", settings, outcome, model=False)

    def tuned(
        self,
        start: StageRecord | str | None,
        score: float,
        seed: int = 0,
        labels: StageRecord | None = None,
        task: Mapping[str, Any] | None = None,
        learning_rate: float = 1e-3,
        test: float | None = None,
        lora_rank: int | None = None,
        method: str | None = None,
        student: str = "bert-2-128",
        **tuning: Any,
    ) -> StageRecord:
        """A classifier: distilled where there are labels, else fine-tuned; `start` None is random weights."""
        weights = f"stage:{start.digest}:." if isinstance(start, StageRecord) else start
        named = {
            "name": "sst2", "columns": [], "config": None, "content": [GLUE_AT], "label": "label",
            "labels": [],
            "regression": False, "revision": None, "test": False, "train_rows": None, "train_seed": 0,
            "validation": False, "data": None,
        } | dict(task or {})  # fmt: skip
        settings: dict[str, Any] = {
            "start": {
                "student": "bert-2-128" if weights is None else None,
                "weights": weights,
                "tokenizer": "hub:google-bert/bert-base-uncased@" + SHA if weights is None else weights,
                "trust_remote_code": False,
            },
            "task": named,
            "tuning": {"epochs": 3.0, "evaluations": 4, "max_length": 128, "patience": None, "seed": seed,
                       "optim": OPTIM | {"learning_rate": learning_rate}} | tuning,
        }  # fmt: skip
        if labels is not None:
            objective: dict[str, Any] = {"temperature": 1.0, "hard_label_share": 0.0}
            if method is not None:
                objective["method"] = method
            settings |= {"labels": labels.digest, "objective": objective}
        if lora_rank is not None:
            settings["lora"] = {
                "rank": lora_rank,
                "alpha": 16,
                "dropout": 0.0,
                "targets": [],
                "adapter": True,
            }
        outcome = {
            "metric": "accuracy", "validation": {"accuracy": score}, "train_rows": 67_349,
            "mlm_loss_at_start": None if weights is None else 3.25,
            "class_counts": {"train": {"negative": 29_780, "positive": 37_569},
                             "validation": {"negative": 428, "positive": 444}},
        } | ({} if test is None else {"test": {"accuracy": test}})  # fmt: skip
        name, (layers, hidden) = f"{student}-{named['name']}-seed{seed}", map(int, student.split("-")[1:])
        kind = "finetune" if labels is None else "distill"
        return self.stage(kind, name, settings, outcome, layers=layers, hidden=hidden)

    def evaluated(self, of: StageRecord, logits: Sequence[Sequence[float]]) -> StageRecord:
        """Evaluates a classifier of two classes on two rows of the task, with these logits."""
        labels, texts = (
            np.array([1, 0]),
            [("a gripping and clever film",), ("two long hours of my life gone",)],
        )
        found = np.array(logits, np.float32)
        accuracy = float((found.argmax(axis=1) == labels).mean())
        outcome = {"task": "sst2", "kind": "classification", "labels": ["negative", "positive"],
                   "metric": "accuracy", "scores": {"accuracy": accuracy}, "rows": 2, "order": [0, 1],
                   "standard_error": 0.01, "without": [accuracy] * 50, "max_length": 128,
                   "calibration": calibration(found, labels)}  # fmt: skip
        settings = {"model": f"stage:{of.digest}:.", "task": of.settings["task"], "max_length": None}
        record = self.stage("evaluate", of.name.removesuffix("-seed0"), settings, outcome, False)
        EvaluatedRows(texts, labels, found, np.array([7, 9])).write(self.folder(record))
        return record

    def pruned(self, of: StageRecord) -> StageRecord:
        outcome = {"vocabulary": 4_000, "vocabulary_before": 8_000, "share_kept": 0.985}
        settings = {"model": f"stage:{of.digest}:.", "task": of.settings.get("task"), "vocabulary": 4_000}
        return self.stage("prune", of.name.removesuffix("-seed0"), settings, outcome)

    def exported(self, of: StageRecord, refused: str | None = None) -> StageRecord:
        int8 = {
            "sha256": "ab" * 32,
            "bytes": 4_650_000,
            "scores": {"accuracy": 0.819},
            "max_logit_difference": 0.38,
            "agreement": 0.987,
            "score_drop": 0.001,
            "interval": [-0.002, 0.004],
            "speed_over_fp32": {"value": 1.4, "low": 1.3, "high": 1.5, "rows": 32},
        }
        fp32 = {"sha256": "cd" * 32, "bytes": 17_800_000, "scores": {"accuracy": 0.82},
                "max_logit_difference": 3e-7}  # fmt: skip
        outcome = {
            "format": 1, "kind": "classification", "metric": "accuracy", "max_length": 128, "rows": 872,
            "temperature": 1.25, "versions": {}, "warnings": [],
            "model": {"name": "bert-2-128-sst2", "fingerprint": f"stage:{of.digest}:.", "weights_sha256": ""},
            "machine": {"cpu": "A CPU", "instructions": ["AVX2", "AVX512-VNNI"], "cores": 2},
            "files": {"model.onnx": fp32,
                      "model_quantized.onnx": int8 | ({"refused": refused} if refused else {})},
        }  # fmt: skip
        return self.stage("export", "bert-2-128-sst2", {"model": f"stage:{of.digest}:."}, outcome, False)

    def measured(self, of: StageRecord) -> StageRecord:
        def point(length: int | str, p50: float | None, ratio: float) -> Mapping[str, Any]:
            return {"threads": 1, "batch": 1, "length": length, "p50_ms": p50, "p95_ms": p50,
                    "p99_ms": p50, "per_second": None, "ratio": ratio,
                    "interval": [ratio - 0.1, ratio + 0.1]}  # fmt: skip

        candidates = [
            {"model": "bert-2-128-sst2", "fingerprint": f"stage:{of.digest}:.", "folder": "runs/x",
             "format": format, "bytes": size, "start_s": start, "peak_mb": peak,
             "latency": [point(64, p50, ratio), point("rows", None, ratio)]}
            for format, size, start, peak, p50, ratio in (
                ("torch", 17_900_000, 9.4, 522.0, 3.5, 1.0), ("onnx-int8", 4_650_000, 0.4, 74.0, 0.47, 7.4),
            )
        ]  # fmt: skip
        machine = {"cpu": "A CPU", "instructions": ["AVX2"], "cores": 2, "load": 0.5, "versions": {}}
        outcome = {"machine": machine, "steady": True, "reference": "bert-2-128-sst2, torch",
                   "candidates": candidates}  # fmt: skip
        return self.stage("measure", "bert-2-128-sst2", {"models": []}, outcome, model=False)


def chain(path: Path) -> dict[str, StageRecord]:
    """One encoder, five methods on SST-2; PD and PF over seeds."""
    root = Root(path)
    root.pack()
    encoder = root.pretrain()
    labels = root.label()
    pd = [root.tuned(encoder, score, seed, labels) for seed, score in enumerate((0.80, 0.82, 0.87))]
    return {
        "encoder": encoder,
        "labels": labels,
        "pd": pd[1],
        "pdf": root.tuned(pd[0], 0.84),
        "pf": root.tuned(encoder, 0.79),
        "pf1": root.tuned(encoder, 0.81, 1),
        "basic": root.tuned(None, 0.70),
        "distillation": root.tuned(None, 0.75, labels=labels),
    }
