"""What an export's graphs are compared with: a model, its answers to rows, and what these are judged by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.metrics.agreement import AnswerKind
from wellread_hf.metrics.per_word import divided
from wellread_hf.models.encode import EncodedRows, RowEncoder, encode, row_encoder
from wellread_hf.models.encode_once import encode_once
from wellread_hf.models.load import load_masked_lm, load_tokenizer
from wellread_hf.models.onnx_graph import View, answers_in_order
from wellread_hf.models.predict import length_of, load_finished
from wellread_hf.models.weights import load_whole
from wellread_hf.store.stage import Location, Stage

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model beside its answers.

    Attributes:
        kind: As export.json has it: that of a classifier's task, `fill-mask` or `features`.
        model: In fp32.
        encoder: How it reads rows.
        encoded: The rows.
        view: What of a batch's outputs is an answer.
        answers: The model's own, by torch [rows, outputs]; of words a `PerWord`.
        judged: From answers to what the metrics score.
        judged_as: What that is.
        labels: The truth.
        metrics: The first one counts.
        calibration: Temperature and figures of a classifier's evaluation, if it has them.
    """

    kind: str
    model: Any
    encoder: RowEncoder
    encoded: EncodedRows
    view: View
    answers: Any
    judged: Callable[[Any], Any] = lambda answers: answers
    judged_as: AnswerKind
    labels: Any
    metrics: tuple[str, ...]
    calibration: Mapping[str, Any] | None = None

    @property
    def temperature(self) -> float:
        """What its logits are divided by."""
        return float(self.calibration["temperature"]) if self.calibration else 1.0


def classifier(at: Location, evaluated: Stage, max_length: int | None, runs: Path) -> Subject:
    """Reads a classifier, and its logits as an evaluation has stored them."""
    found, rows = evaluated.record.outcome, EvaluatedRows.read(evaluated.folder)
    model, encoder = load_finished(at, max_length)
    subject = Subject(
        kind=found["kind"],
        model=model,
        encoder=encoder,
        encoded=encode_once(rows.texts, encoder, runs),
        view=lambda outputs, _: outputs[..., found["order"]],
        answers=rows.logits,
        judged_as=found["kind"],
        labels=rows.labels,
        metrics=(found["metric"], *(name for name in found["scores"] if name != found["metric"])),
        calibration=found.get("calibration"),
    )
    return replace(subject, answers=divided(rows.logits, subject.temperature))


def masked_lm(at: Location, texts: list[tuple[str, ...]], max_length: int | None) -> Subject:
    """Reads a masked LM, and asks it for the middle token of each row: right is what stands there."""
    model: Any = load_masked_lm(at, trained=True)
    tokenizer, encoder, encoded = _read(model, at, texts, max_length)
    middles = (encoded.offsets[:-1] + encoded.offsets[1:]) // 2
    ids = encoded.ids.copy()
    ids[middles] = tokenizer.mask_token_id
    masked = replace(encoded, ids=ids)

    def at_mask(outputs: Array, inputs: Mapping[str, Array]) -> Array:
        places = (inputs["input_ids"] == tokenizer.mask_token_id).argmax(axis=1)
        return np.asarray(outputs[np.arange(len(outputs)), places])

    return Subject(
        kind="fill-mask",
        model=model,
        encoder=encoder,
        encoded=masked,
        view=at_mask,
        answers=_answers(model, masked, at_mask),
        judged_as="classification",
        labels=encoded.ids[middles].astype(np.int64),
        metrics=("accuracy",),
    )


def features(at: Location, texts: list[tuple[str, ...]], max_length: int | None) -> Subject:
    """Reads an encoder: what counts is how alike any row and the next one are, by the means of its states."""
    model, _ = load_whole("AutoModel", at, "encoder")
    _, encoder, encoded = _read(model, at, texts, max_length)
    answers = _answers(model, encoded, _mean)
    return Subject(
        kind="features",
        model=model,
        encoder=encoder,
        encoded=encoded,
        view=_mean,
        answers=answers,
        judged=_likeness,
        judged_as="regression",
        labels=_likeness(answers)[:, 0],
        metrics=("spearman",),
    )


def _read(
    model: Any, at: Location, texts: list[tuple[str, ...]], max_length: int | None
) -> tuple[Any, RowEncoder, EncodedRows]:
    tokenizer: Any = load_tokenizer(at)
    encoder = row_encoder(model, tokenizer, max_length or length_of(model, tokenizer))
    return tokenizer, encoder, encode(texts, encoder)


def _answers(model: Any, encoded: EncodedRows, view: View) -> Array:
    @torch.inference_mode()
    def run(inputs: Mapping[str, Array]) -> Array:
        found: Array = model(**{name: torch.from_numpy(values) for name, values in inputs.items()})[0].numpy()
        return found

    model.eval()
    found: Array = answers_in_order(run, encoded, view)
    return found


def _mean(outputs: Array, inputs: Mapping[str, Array]) -> Array:
    mask = inputs["attention_mask"][..., None]
    return np.asarray((outputs * mask).sum(axis=1) / mask.sum(axis=1))


def _likeness(states: Array) -> Array:
    """Returns the cosine of each row's vector and the one before it [rows, 1]."""
    units = states / np.linalg.norm(states, axis=1, keepdims=True)
    return np.asarray((units * np.roll(units, 1, axis=0)).sum(axis=1, keepdims=True))
