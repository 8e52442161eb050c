"""`wellread predict` and `wellread serve`: an exported model answers, without torch."""

import json as jsons
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from wellread_hf.errors import UsageError
from wellread_hf.settings import Serve

if TYPE_CHECKING:
    from wellread_hf.serving.onnx_model import OnnxModel, Text

# Labels of a text that are shown; a model may have hundreds.
_SHOWN = 3


def predict(
    model: tyro.conf.Positional[str],
    texts: tyro.conf.Positional[tuple[str, ...]] = (),
    file: Literal["int8", "fp32"] | None = None,
    threads: int = 0,
    max_length: int | None = None,
    json: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Label texts with an exported model; loads no torch.

    A tab parts the two texts of a pair. Without texts, lines are read from stdin. A model of tags shows the
    entities in a text.

    Args:
        model: An export, a run with one beside it, or a Hub id (`NAME@REVISION`).
        texts: The texts.
        file: Which graph answers; default: int8 where the export has it.
        threads: Threads of ONNX Runtime; 0: one a processor.
        max_length: Tokens a text, longer ones are cut; default: the export's.
        json: Print a line of JSON a text, with all labels.
    """
    from wellread_hf.serving.exports import find_export
    from wellread_hf.serving.onnx_model import OnnxModel

    ready = OnnxModel(find_export(model), file, threads, max_length)
    given = texts or tuple(_lines())
    if ready.kind == "tagging":
        _show_entities(ready, given, json)
        return
    rows = [_row(text) for text in given]
    logits = ready.logits(rows)
    scores = ready.probabilities(logits)
    if ready.kind == "features":
        for vector in scores.tolist():
            print(jsons.dumps(vector))
        return
    for text, labels in zip(given, ready.ranked(scores), strict=True):
        if json:
            print(jsons.dumps({"text": text, "labels": labels}, ensure_ascii=False))
        else:
            # A value has no class; transformers gives it a class's name.
            names = ["value"] if ready.kind == "regression" else [each["label"] for each in labels[:_SHOWN]]
            scored = zip(names, labels, strict=False)
            shown = ", ".join(f"{name} {each['score']:.3f}" for name, each in scored)
            print(f"{shown}\t{text}")


def _show_entities(model: "OnnxModel", texts: tuple[str, ...], json: bool) -> None:
    from wellread_hf.serving.tags import entities

    for text, found in zip(texts, entities(model, texts), strict=True):
        if json:
            print(jsons.dumps({"text": text, "entities": found}, ensure_ascii=False))
        else:
            shown = ", ".join(f"{each['label']} {each['text']!r} {each['score']:.3f}" for each in found)
            print(f"{shown or 'no entity'}\t{text}")


def _lines() -> Iterator[str]:
    # Opened again: `sys.stdin` keeps a CR, and in the locale C it hides bytes that are not UTF-8.
    with open(sys.stdin.fileno(), encoding="utf-8", closefd=False) as lines:
        yield from (line.removesuffix("\n") for line in lines)


def _row(text: str) -> "Text":
    first, *second = text.split("\t")
    if len(second) > 1:
        raise UsageError(
            f"expected a text, or two with a tab between them, got {len(second) + 1}: {text[:60]!r}"
        )
    return (first, second[0]) if second else first


def serve(
    model: tyro.conf.Positional[str],
    settings: Annotated[Serve, tyro.conf.arg(name="")],
) -> None:
    """Serve an exported model over HTTP, as text-embeddings-inference does: POST /predict; loads no torch.

    GET /health and GET /metrics are for those who run it. Ctrl-C and SIGTERM let it answer what has come in.

    Args:
        model: An export, a run with one beside it, or a Hub id (`NAME@REVISION`).
        settings: Where, and how much at once.
    """
    from wellread_hf.serving.exports import find_export
    from wellread_hf.serving.onnx_model import OnnxModel
    from wellread_hf.serving.server import serve as run

    ready = OnnxModel(find_export(model), settings.file, settings.threads, settings.max_length)
    run(ready, settings, lambda address: print(f"{model}, {ready.file}: {address}/predict", flush=True))
