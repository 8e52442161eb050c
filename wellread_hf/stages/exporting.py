"""From a finished model to ONNX graphs that run without torch, each compared with the model first."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import DataError, SourceError
from wellread_hf.metrics.agreement import AnswerKind, agreement, score_drop
from wellread_hf.serving.machine import has_fast_int8, machine
from wellread_hf.settings import Export, Running, Task
from wellread_hf.settings.export import ModelKind
from wellread_hf.stages.evaluating import evaluate
from wellread_hf.stages.inputs import FoundTask, find
from wellread_hf.store.places import fetch
from wellread_hf.store.records import digest, file_digest, json_object, write_atomically
from wellread_hf.store.stage import Location, Place, Stage, short_name

Array = npt.NDArray[Any]

FP32, INT8, EXPORT = "model.onnx", "model_quantized.onnx", "export.json"
_MADE_BY = ("onnx", "onnxruntime", "onnxscript", "torch", "transformers")
# Of a masked LM or of features; a vocabulary of logits a row takes memory.
_MOST_ROWS = 1_000
# By the end of its name in a config's `architectures`.
_KINDS: Mapping[str, ModelKind] = {
    "ForSequenceClassification": "classifier",
    "ForMaskedLM": "fill-mask",
    "ForPreTraining": "fill-mask",
    "Model": "features",
}
# Stages that make encoders; all others make classifiers.
_ENCODERS = ("pretrain", "adopt", "init", "release")


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
    from wellread_hf.stages.export_gate import LEAST_ROWS

    model_at = find(model, "model", "model", running)
    kind = settings.kind or _kind_of(model_at)
    found_task = FoundTask(task, running)
    # Whatever else asks how good the model is reads the same evaluation.
    judged = evaluate(model, task, settings.max_length, running) if kind == "classifier" else None

    def check() -> None:
        found_task.check()
        rows = LEAST_ROWS if found_task.is_pending else len(found_task.load().validation.texts)
        if rows < LEAST_ROWS:
            raise DataError(
                f"`task.validation`: expected at least {LEAST_ROWS} rows to compare the graphs on, got "
                f"{rows}; give more"
            )

    def work(stage: Stage) -> Mapping[str, Any]:
        made = _Export(stage, model_at, found_task, settings, running)
        subject = made.classifier(judged) if judged is not None else made.encoder(kind)
        return made.compare(subject)

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
        return "fill-mask" if at.stage.kind in _ENCODERS else "classifier"
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
            f"{at}: expected a sequence classifier, a masked LM or an encoder, got "
            f"{name or 'no architecture'} in its config.json; take another model, or say what it is "
            "by `export.kind`"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """A model beside its answers, and what they are judged by.

    Attributes:
        kind: As in export.json.
        model: The model, in fp32.
        encoder: How it reads rows.
        encoded: The rows.
        view: What of a batch's outputs is an answer.
        answers: The model's own in torch [rows, outputs].
        judged: From answers to what the metrics score.
        judged_as: What that is.
        labels: The truth.
        metrics: The first one counts.
        calibration: The temperature and its figures, where one was fitted.
    """

    kind: str
    model: Any
    encoder: Any
    encoded: Any
    view: Callable[[Array, Mapping[str, Array]], Array]
    answers: Array
    judged: Callable[[Array], Array]
    judged_as: AnswerKind
    labels: Array
    metrics: tuple[str, ...]
    calibration: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Export:
    """One export: the model is read, written, compared."""

    stage: Stage
    model_at: Location
    task: FoundTask
    settings: Export
    running: Running

    def classifier(self, judged: Stage) -> _Subject:
        """Reads a classifier, and its logits as an evaluation has stored them."""
        from wellread_hf.data.evaluated_rows import EvaluatedRows
        from wellread_hf.models.encode_once import encode_once
        from wellread_hf.models.predict import load_finished

        found, rows = judged.record.outcome, EvaluatedRows.read(judged.folder)
        model, encoder = load_finished(self.model_at, self.settings.max_length)
        calibration = found.get("calibration")
        temperature = calibration["temperature"] if calibration else 1.0
        kind: AnswerKind = found["kind"]
        return _Subject(
            kind=kind,
            model=model,
            encoder=encoder,
            encoded=encode_once(rows.texts, encoder, self.running.runs),
            view=lambda outputs, _: outputs[:, found["order"]],
            answers=rows.logits / np.float32(temperature),
            judged=lambda answers: answers,
            judged_as=kind,
            labels=rows.labels,
            metrics=(found["metric"], *(name for name in found["scores"] if name != found["metric"])),
            calibration=calibration,
        )

    def encoder(self, kind: ModelKind) -> _Subject:
        """Reads a masked LM or an encoder, and lets it answer in torch.

        A masked LM is asked for the middle token of each row; it is right where that is its first choice. An
        encoder's answers are the means of its states over each row; what counts is how alike two rows are.
        """
        import torch

        from wellread_hf.models.encode import encode, row_encoder
        from wellread_hf.models.load import load_masked_lm, load_tokenizer
        from wellread_hf.models.onnx_graph import answers_in_order
        from wellread_hf.models.predict import length_of
        from wellread_hf.models.weights import load_whole

        tokenizer: Any = load_tokenizer(self.model_at)
        if kind == "fill-mask":
            model: Any = load_masked_lm(self.model_at, trained=True)
        else:
            model, _ = load_whole("AutoModel", self.model_at, "encoder")
        model.eval()
        encoder = row_encoder(model, tokenizer, self.settings.max_length or length_of(model, tokenizer))
        encoded = encode(self.task.load().validation.texts[:_MOST_ROWS], encoder)
        middles = (encoded.offsets[:-1] + encoded.offsets[1:]) // 2
        labels = encoded.ids[middles].astype(np.int64)
        if kind == "fill-mask":
            ids = encoded.ids.copy()
            ids[middles] = tokenizer.mask_token_id
            encoded = replace(encoded, ids=ids)

        def at_mask(outputs: Array, inputs: Mapping[str, Array]) -> Array:
            masked = (inputs["input_ids"] == tokenizer.mask_token_id).argmax(axis=1)
            return outputs[np.arange(len(outputs)), masked]  # type: ignore[no-any-return]  # numpy

        def mean(outputs: Array, inputs: Mapping[str, Array]) -> Array:
            mask = inputs["attention_mask"][..., None]
            return (outputs * mask).sum(axis=1) / mask.sum(axis=1)  # type: ignore[no-any-return]  # numpy

        @torch.inference_mode()
        def run(inputs: Mapping[str, Array]) -> Array:
            found = model(**{name: torch.from_numpy(values) for name, values in inputs.items()})
            return found[0].numpy()  # type: ignore[no-any-return]  # torch

        view = at_mask if kind == "fill-mask" else mean
        answers = answers_in_order(run, encoded, view)
        of_words = kind == "fill-mask"
        return _Subject(
            kind=kind,
            model=model,
            encoder=encoder,
            encoded=encoded,
            view=view,
            answers=answers,
            judged=(lambda answers: answers) if of_words else _likeness,
            judged_as="classification" if of_words else "regression",
            labels=labels if of_words else _likeness(answers)[:, 0],
            metrics=("accuracy",) if of_words else ("spearmanr",),
        )

    def compare(self, subject: _Subject) -> Mapping[str, Any]:
        """Writes the graphs, compares them, and keeps those that hold."""
        from wellread_hf.metrics.scores import scores
        from wellread_hf.models.onnx_graph import answers_in_order, session_of, write_graph, write_int8
        from wellread_hf.stages.export_gate import check_parity, refusal, speed_over

        folder, here = self.stage.folder / "onnx", machine()
        # It goes when the stage is done; a killed export finds its fp32 graph here.
        beside = self.stage.folder / "checkpoints"
        beside.mkdir(exist_ok=True)
        fp32, int8 = beside / FP32, beside / INT8
        temperature = subject.calibration["temperature"] if subject.calibration else 1.0
        if not fp32.exists():
            segments = subject.encoder.gives_segments([("",)])
            write_graph(subject.model.cpu(), fp32, segments, temperature)
        write_int8(fp32, int8)

        def answers_of(path: Path) -> Array:
            session = session_of(path, threads=0)
            return answers_in_order(
                lambda inputs: session.run(None, inputs)[0], subject.encoded, subject.view
            )

        def facts(path: Path, answers: Array) -> dict[str, Any]:
            return {
                "sha256": file_digest(path),
                "bytes": path.stat().st_size,
                "scores": scores(subject.metrics, subject.judged(answers), subject.labels),
                "max_logit_difference": float(abs(answers - subject.answers).max()),
            }

        answers, ours = answers_of(fp32), answers_of(int8)
        files = {FP32: facts(fp32, answers), INT8: facts(int8, ours)}
        check_parity(files[FP32]["max_logit_difference"])
        of_int8, of_fp32 = subject.judged(ours), subject.judged(answers)
        drop, interval = score_drop(of_int8, of_fp32, subject.labels, subject.metrics, subject.judged_as)
        files[INT8] |= {
            "agreement": agreement(of_int8, of_fp32, subject.judged_as),
            "score_drop": drop,
            "interval": interval,
            "speed_over_fp32": speed_over(int8, fp32, subject.encoded),
        }
        why = refusal(files[INT8], self.settings, has_fast_int8(here))
        warnings = []
        if why is not None:
            int8.unlink()
            files[INT8]["refused"] = why
            warnings.append(f"{INT8} is not kept: {why}")
        elif not has_fast_int8(here):
            warnings.append(
                "this machine has no instructions for products of 8-bit numbers; int8 is for size here"
            )
        found = {
            "format": 1,
            "model": {
                "name": self.stage.name,
                "fingerprint": self.model_at.fingerprint,
                "weights_sha256": _weights_digest(self.model_at),
            },
            "kind": subject.kind,
            "metric": subject.metrics[0],
            "max_length": subject.encoder.max_length,
            "temperature": temperature,
            "versions": {name: version(name) for name in _MADE_BY},
            "machine": {name: here[name] for name in ("cpu", "instructions", "cores")},
            "files": files,
            "rows": len(subject.encoded),
        }
        self._save(subject)
        folder.mkdir(exist_ok=True)
        for path in (fp32, *([int8] if why is None else [])):
            path.replace(folder / path.name)
        # Last, since it says that the graphs beside it were compared.
        write_atomically(folder / EXPORT, json.dumps(found, indent=2) + "\n")
        return found | {"warnings": warnings}

    def _save(self, subject: _Subject) -> None:
        """Saves what a client needs beside the graph."""
        from wellread_hf.models.load import load_tokenizer
        from wellread_hf.models.save import save_tokenizer

        if subject.calibration is not None:
            kept = ("temperature", "ece_before", "ece_after", "rows")
            subject.model.config.calibration = {
                **{name: subject.calibration[name] for name in kept},
                "applied_in": "onnx",
            }
        subject.model.config.save_pretrained(self.stage.folder)
        words: Any = load_tokenizer(self.model_at)
        words.model_max_length = subject.encoder.max_length
        save_tokenizer(words, self.stage.folder)


def _likeness(states: Array) -> Array:
    """Returns the cosine of each row's vector and the next one's [rows, 1]."""
    units = states / np.linalg.norm(states, axis=1, keepdims=True)
    return (units * np.roll(units, 1, axis=0)).sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def _weights_digest(at: Location) -> str:
    """Returns the SHA-256 of a model's weights; of several files, of their digests in order."""
    from wellread_hf.models.weights import stored_weights

    found = [file_digest(path) for path in stored_weights(at)]
    return found[0] if len(found) == 1 else digest(found)
