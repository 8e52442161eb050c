"""From a finished model to ONNX graphs that run without torch, each compared with the model first."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellread_hf.errors import DataError, ExportError, SourceError
from wellread_hf.serving.export_facts import EXPORT, FP32, INT8
from wellread_hf.serving.machine import has_fast_int8, machine
from wellread_hf.settings import Export, Running, Task
from wellread_hf.settings.export import ModelKind
from wellread_hf.stages.evaluating import evaluate
from wellread_hf.stages.inputs import FoundTask, find
from wellread_hf.store.places import fetch
from wellread_hf.store.records import digest, file_digest, json_object, write_atomically
from wellread_hf.store.stage import Location, Place, Stage, short_name

if TYPE_CHECKING:
    from wellread_hf.stages.export_subjects import Subject

_MADE_BY = ("onnx", "onnxruntime", "onnxscript", "torch", "transformers")
# Of fewer rows a single one is worth more than a point.
LEAST_ROWS = 100
# Of a masked LM or of features; a vocabulary of logits a row takes memory.
_MOST_ROWS = 1_000
# By the end of its name in a config's `architectures`.
_KINDS: Mapping[str, ModelKind] = {
    "ForSequenceClassification": "classifier",
    "ForTokenClassification": "classifier",
    "ForMaskedLM": "fill-mask",
    "ForPreTraining": "fill-mask",
    "Model": "features",
}
# Stages that make encoders, the toy world's among them; all others make classifiers.
_ENCODERS = {"pretrain", "adopt", "init", "release", "encoder"}


def export(model: Place, task: Task, settings: Export, running: Running) -> Stage:
    """Writes a model as `onnx/model.onnx` in fp32, and in int8 as `onnx/model_quantized.onnx` if that holds.

    The folder is complete without weights: configuration, tokenizer, graphs. `onnx/export.json` has the same
    content as the outcome: what both files score, how far the fp32 graph's logits are from the model's, and
    why int8 was refused, where it was.

    Args:
        model: A classifier, a masked LM or an encoder.
        task: Its validation rows judge; of a classifier also their labels.
        settings: How it is exported.
        running: Where it goes.
    """
    model_at = find(model, "model", "model", running)
    kind = settings.kind or _kind_of(model_at)
    found_task = FoundTask(task, running)
    # Whatever else asks how good the model is reads the same evaluation.
    judged = evaluate(model, task, settings.max_length, running) if kind == "classifier" else None

    def check() -> None:
        if missing := [name for name in _MADE_BY if find_spec(name) is None]:
            raise ExportError(
                f'an export needs {", ".join(missing)}; install it with pip install "wellread-hf[export]"'
            )
        found_task.check()
        rows = LEAST_ROWS if found_task.is_pending else len(found_task.load().validation.texts)
        if rows < LEAST_ROWS:
            raise DataError(
                f"`task.validation`: expected at least {LEAST_ROWS} rows to compare the graphs on, got "
                f"{rows}; give more"
            )

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.stages import export_subjects

        if judged is not None:
            subject = export_subjects.classifier(model_at, judged, settings.max_length, running.runs)
        else:
            read = export_subjects.masked_lm if kind == "fill-mask" else export_subjects.features
            texts = found_task.load().validation.texts[:_MOST_ROWS]
            subject = read(model_at, texts, settings.max_length)
        return _write(stage, model_at, subject, settings)

    return Stage(
        kind="export",
        name=short_name(model),
        root=running.runs,
        identity={
            "model": model_at.fingerprint,
            "task": found_task.identity(uses_labels=judged is not None),
            "export": asdict(settings) | {"kind": kind},
        },
        inputs=[model_at, *found_task.locations, *([judged] if judged else [])],
        work=work,
        check=check,
        solo=True,
    )


def _kind_of(at: Location) -> ModelKind:
    """Reads from a config what a model's answers are; of a model that is yet to be made, from its stage."""
    if at.stage is not None:
        return "fill-mask" if {at.stage.kind, at.stage.name} & _ENCODERS else "classifier"
    if fetch(at, "adapter_config.json") is not None:
        return "classifier"
    path = fetch(at, "config.json")
    if path is None:
        raise SourceError(
            f"{at}: expected a model with a config.json, found none; give a Hub id, or "
            "the folder that holds it"
        )
    (name, *_) = json_object(path).get("architectures") or [""]
    found = next((kind for end, kind in _KINDS.items() if str(name).endswith(end)), None)
    if found is None:
        raise SourceError(
            f"{at}: expected a classifier of texts or words, a masked LM or an encoder, got "
            f"{name or 'no architecture'} in its config.json; take another model, or say what it is "
            "by `kind`"
        )
    return found


def _write(stage: Stage, at: Location, subject: "Subject", settings: Export) -> Mapping[str, Any]:
    """Writes both graphs beside the folder's place for them, compares them, and moves what holds there."""
    from wellread_hf.models.onnx_graph import write_graph, write_int8
    from wellread_hf.stages.export_gate import check_parity, figures_of, refusal

    here, beside, folder = machine(), stage.folder / "checkpoints", stage.folder / "onnx"
    fp32, int8 = beside / FP32, beside / INT8
    beside.mkdir(exist_ok=True)
    # It goes when the stage is done; a killed export finds its graph here.
    if not fp32.exists():
        segments = subject.encoder.gives_segments([("",)])
        write_graph(subject.model.cpu(), fp32, segments, subject.temperature)
    write_int8(fp32, int8)
    files = figures_of(subject, fp32, int8)
    check_parity(files[FP32]["max_logit_difference"])
    why = refusal(files[INT8], settings, has_fast_int8(here))
    warnings = []
    if why is not None:
        int8.unlink()
        files[INT8]["refused"] = why
        warnings.append(f"{INT8} is not kept: {why}")
    elif not has_fast_int8(here):
        warnings.append(
            "this machine has no instructions for products of 8-bit numbers: int8 is for size here"
        )
    found = {
        "format": 1,
        "model": {"name": stage.name, "fingerprint": at.fingerprint, "weights_sha256": _weights_digest(at)},
        "kind": subject.kind,
        "metric": subject.metrics[0],
        "max_length": subject.encoder.max_length,
        "temperature": subject.temperature,
        "versions": {name: version(name) for name in _MADE_BY},
        "machine": {name: here[name] for name in ("cpu", "instructions", "cores")},
        "files": files,
        "rows": len(subject.encoded),
    }
    _save_beside(stage.folder, at, subject)
    folder.mkdir(exist_ok=True)
    for path in (fp32, *([int8] if why is None else [])):
        path.replace(folder / path.name)
    # Last: where it lies, the graphs beside it were compared.
    write_atomically(stage.folder / EXPORT, json.dumps(found, indent=2) + "\n")
    return found | {"warnings": warnings}


def _save_beside(folder: Path, at: Location, subject: "Subject") -> None:
    """Saves what a client reads beside a graph: configuration and tokenizer."""
    from wellread_hf.models.load import load_tokenizer
    from wellread_hf.models.save import save_tokenizer

    config = subject.model.config
    if subject.calibration:
        kept = {
            name: subject.calibration[name] for name in ("temperature", "ece_before", "ece_after", "rows")
        }
        config.calibration = kept | {"applied_in": "onnx"}
    config.save_pretrained(folder)
    words: Any = load_tokenizer(at)
    words.model_max_length = subject.encoder.max_length
    save_tokenizer(words, folder)


def _weights_digest(at: Location) -> str:
    """Returns the SHA-256 of a model's weights; of several files, of their digests in order."""
    from wellread_hf.models.weights import stored_weights

    found = [file_digest(path) for path in stored_weights(at)]
    return found[0] if len(found) == 1 else digest(found)
