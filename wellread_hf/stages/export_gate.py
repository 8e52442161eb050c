"""What an int8 graph must hold before it is kept: the score, the answers, the speed of the fp32 graph."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from wellread_hf.errors import ExportError
from wellread_hf.metrics.agreement import agreement, score_drop
from wellread_hf.metrics.per_word import largest_difference
from wellread_hf.metrics.scores import scores
from wellread_hf.models.encode import EncodedRows, PadCollator
from wellread_hf.models.infer import longest_first
from wellread_hf.models.onnx_graph import answers_in_order
from wellread_hf.serving.onnx_model import session_of
from wellread_hf.serving.timing import in_turn
from wellread_hf.settings import Export
from wellread_hf.stages.export_subjects import Subject
from wellread_hf.store.records import file_digest

# Of logits in fp32: sums in another order differ by less, and a wrong graph by far more.
PARITY = 1e-4
# Spread evenly over the lengths of all rows.
_TIMED_ROWS = 32
_SECONDS = 4.0


def figures_of(subject: Subject, fp32: Path, int8: Path) -> dict[str, dict[str, Any]]:
    """Measures both graphs on the subject's rows.

    Returns:
        By file name `sha256`, `bytes`, `scores` (0 to 1) and `max_logit_difference` to the model; of int8
        also, beside fp32, `score_drop` and its `interval` (0 to 1), `agreement`, `speed_over_fp32`.
    """
    # One row a call in int8: its activations share one scale in a batch, so that neighbours would count.
    answers = {path: _answers(subject, path, tokens) for path, tokens in ((fp32, 2_048), (int8, 1))}
    judged = {path: subject.judged(found) for path, found in answers.items()}
    files: dict[str, dict[str, Any]] = {
        path.name: {
            "sha256": file_digest(path),
            "bytes": path.stat().st_size,
            "scores": scores(subject.metrics, judged[path], subject.labels),
            "max_logit_difference": largest_difference(found, subject.answers),
        }
        for path, found in answers.items()
    }
    drop, interval = score_drop(
        judged[int8], judged[fp32], subject.labels, subject.metrics[0], subject.judged_as
    )
    files[int8.name] |= {
        "score_drop": drop,
        "interval": interval,
        "agreement": agreement(judged[int8], judged[fp32], subject.judged_as),
        "speed_over_fp32": speed_over(int8, fp32, subject.encoded),
    }
    return files


def _answers(subject: Subject, path: Path, batch_tokens: int) -> Any:
    session = session_of(path, threads=0)
    return answers_in_order(
        lambda inputs: session.run(None, inputs)[0], subject.encoded, subject.view, batch_tokens
    )


def check_parity(difference: float) -> None:
    """Refuses an fp32 graph whose logits are not the model's.

    Raises:
        ExportError: They differ.
    """
    # Not `>`, which NaN passes.
    if not difference <= PARITY:
        raise ExportError(
            f"expected the ONNX graph to give the model's logits to within {PARITY:g}, got a difference of "
            f"{difference:g}; use the model in torch, and report this"
        )


def refusal(figures: Mapping[str, Any], settings: Export, fast_int8: bool) -> str | None:
    """Returns why an int8 graph is not kept, or None.

    Args:
        figures: `score_drop`, `agreement`, `speed_over_fp32`.
        settings: What it may lose.
        fast_int8: Whether this machine multiplies 8-bit numbers fast; where it does not, int8 is for size,
            and its speed here says nothing of other machines.
    """
    drop, low, high = (100 * value for value in (figures["score_drop"], *figures["interval"]))
    # Not `>` and `<`, which NaN passes: answers that are all one value have no correlation.
    if not drop <= settings.tolerance:
        return (
            f"its score is {drop:.2f} points below fp32's ({low:.2f} to {high:.2f}), and `tolerance` "
            f"allows {settings.tolerance:g}"
        )
    if not figures["agreement"] >= settings.agreement:
        return (
            f"it agrees with fp32 on {100 * figures['agreement']:.2f} % of the rows, and `agreement` "
            f"asks for {100 * settings.agreement:g} %"
        )
    speed = figures["speed_over_fp32"]
    # By its whole interval, since two graphs of one speed would pass or fail by chance.
    if fast_int8 and speed["high"] < 1:
        return (
            f"it is slower here, {speed['value']:.2f} times fp32's speed ({speed['low']:.2f} to "
            f"{speed['high']:.2f})"
        )
    return None


def speed_over(ours: Path, reference: Path, encoded: EncodedRows) -> dict[str, Any]:
    """Times two graphs in turn on the same rows, one row a call, on one thread.

    Returns:
        `value`, `low`, `high`: how many times as fast as the reference, with its 95 % interval; `rows`.
    """
    order, collate = longest_first(encoded.lengths), PadCollator(encoded.pad_id, encoded.pad_left)
    rows = order[np.linspace(0, len(order) - 1, _TIMED_ROWS).astype(int)]
    inputs = [
        {name: values.numpy() for name, values in collate([encoded.row(int(row))]).items()} for row in rows
    ]

    def calls(path: Path) -> Any:
        session, turns = session_of(path, threads=1), cycle(inputs)
        return lambda: session.run(None, next(turns))

    timings = in_turn({"ours": calls(ours), "reference": calls(reference)}, _SECONDS)
    ratio = timings.ratio("ours", "reference")
    return {"value": ratio.value, "low": ratio.low, "high": ratio.high, "rows": len(rows)}
