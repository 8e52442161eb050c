"""What stored predictions show row by row: where two models differ, what is confused, which lengths fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.metrics.calibration import probabilities

Array = npt.NDArray[Any]
# The most instructive rows, within a megabyte.
_ROWS, _CHARACTERS = 200, 400


def chances(rows: EvaluatedRows) -> Array:
    """Returns the probabilities of each class [n, classes]; of a regression the values."""
    return (
        rows.logits if rows.is_regression else probabilities(rows.logits, multi_label=rows.labels.ndim == 2)
    )


def right(rows: EvaluatedRows) -> Array:
    """Returns which rows are predicted rightly [n]; of independent classes, those with every class right."""
    if rows.labels.ndim == 2:
        return np.asarray(((rows.logits > 0) == (rows.labels == 1)).all(axis=1))
    return np.asarray(rows.logits.argmax(axis=1) == rows.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A row that a student and its teacher see differently."""

    text: str
    label: str
    student: str
    teacher: str
    distance: float  # half the L1 distance of their probabilities, 0 to 1; of a regression that of the values
    kind: str


def disagreements(student: EvaluatedRows, teacher: EvaluatedRows, names: Sequence[str]) -> list[Disagreement]:
    """Returns the rows on which the two differ most, the most different first; none of other rows."""
    if student.texts != teacher.texts or student.logits.shape != teacher.logits.shape:
        return []
    ours, theirs = chances(student), chances(teacher)
    distance = np.abs(ours - theirs).sum(axis=1) / (2 if student.labels.ndim == 1 and names else 1)
    kept = (right(student), right(teacher)) if names else None
    kinds = {(True, True): "both right", (False, True): "student wrong",
             (True, False): "teacher wrong", (False, False): "both wrong"}  # fmt: skip
    return [
        Disagreement(
            text=_shortened(" ⟂ ".join(student.texts[row])),
            label=_answer(student.labels[row], names),
            student=_said(ours[row], names, student.labels.ndim == 2),
            teacher=_said(theirs[row], names, student.labels.ndim == 2),
            distance=float(distance[row]),
            kind=kinds[bool(kept[0][row]), bool(kept[1][row])] if kept else "",
        )
        for row in np.argsort(-distance, kind="stable")[:_ROWS]
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"


def _answer(label: Any, names: Sequence[str]) -> str:
    if np.ndim(label):
        return ", ".join(name for name, on in zip(names, label, strict=True) if on) or "none"
    return names[int(label)] if names else f"{float(label):.2f}"


def _said(given: Array, names: Sequence[str], several: bool) -> str:
    if not names:
        return f"{float(given[0]):.2f}"
    if several:
        return _answer(given > 0.5, names)
    return f"{names[int(given.argmax())]} {100 * float(given.max()):.1f} %"


def confusion(rows: EvaluatedRows, classes: int) -> Array:
    """Counts rows [label, prediction]."""
    found = np.zeros((classes, classes), int)
    np.add.at(found, (rows.labels, rows.logits.argmax(axis=1)), 1)
    return found


def by_length(rows: EvaluatedRows, edges: Sequence[int]) -> list[tuple[int, float, float]]:
    """Returns of each range of tokens its rows, the share that is right in percent, its standard error."""
    number = np.searchsorted(edges, rows.tokens, side="left")
    found = []
    for each in range(len(edges)):
        hits = right(rows)[number == each]
        share = float(hits.mean()) if len(hits) else 0.0
        error = (share * (1 - share) / len(hits)) ** 0.5 if len(hits) else 0.0
        found.append((len(hits), 100 * share, 100 * error))
    return found


def length_edges(rows: EvaluatedRows, ranges: int = 5) -> list[int]:
    """Returns the longest lengths of ranges that have about equally many rows."""
    shares = np.linspace(0, 1, ranges + 1)[1:]
    return sorted({int(edge) for edge in np.quantile(rows.tokens, shares, method="higher")})
