"""Checks of rows before training: their format, and the soft labels beside them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import IterableDataset

from wellread_hf.errors import LabelError
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.models.problems import MULTI_LABEL, REGRESSION, Problem

LABELS = "labels"
SOFT_LABELS = "teacher_logits"
# Rows of a data set looked at in one go: a few megabytes.
_AT_ONCE = 10_000
# Formats of `datasets` whose rows are tables, which no collator takes.
_TABLES = ("arrow", "pandas", "polars")
# Probabilities of a row add up to 1 within this; stored in fp16 they do not do so exactly.
_ROUNDING = 1e-3


def readable(rows: Any) -> Any:
    """Returns a data set whose rows are mappings of values, whatever its format."""
    return rows.with_format(None) if _format(rows) in _TABLES else rows


def first_row(rows: Any) -> Any | None:
    """Returns the first row; None of a stream, whose every batch is still checked."""
    if isinstance(rows, dict):
        # Several data sets for evaluation, by name.
        rows = next(iter(rows.values()), None)
    stream = rows is None or isinstance(rows, IterableDataset) or not hasattr(rows, "__getitem__")
    return None if stream or not len(rows) else readable(rows)[0]


def label_column(row: Any | None) -> str | None:
    """Returns the column of a row's true label, among the names that collators know; None without one."""
    names = (LABELS, "label", "label_ids") if isinstance(row, Mapping) else ()
    return next((name for name in names if row.get(name) is not None), None)  # type: ignore[union-attr]


def check_columns(row: Mapping[str, Any], share: float, live: bool) -> str | None:
    """Refuses training rows without the columns that a distillation reads; returns that of true labels.

    Args:
        row: The first one.
        share: Weight of the loss against true labels.
        live: Whether the teacher runs beside the student, so that no soft labels are read.

    Raises:
        LabelError: True labels or soft labels are missing.
    """
    column = label_column(row)
    if share and column is None:
        raise LabelError(
            f"hard_label_share is {share}, but the training rows have no labels; add a column `labels`, or "
            "set the share to 0"
        )
    if not live and row.get(SOFT_LABELS) is None:
        raise LabelError(
            f"expected a column {SOFT_LABELS} in the training rows, found {', '.join(row)}; store the "
            "teacher's logits there (wellread label), or give a live `teacher`"
        )
    return column


def check_soft_labels(rows: Any, outputs: int, problem: Problem, tags: bool = False) -> None:
    """Refuses soft labels that no training can use; of opaque data sets the first row stands for all.

    Args:
        rows: Rows with `teacher_logits`.
        outputs: Outputs of the student, C.
        problem: What the student learns.
        tags: Whether they are of tokens, [T, C] a row; NaN where nothing is said.

    Raises:
        LabelError: They are of another width, not finite, or probabilities.
    """
    probabilities, start = True, 0
    for part in _column(rows, SOFT_LABELS):
        values = _of_words(part) if tags else _numbers(part, outputs, SOFT_LABELS)
        if values.shape[1:] != (outputs,):
            raise LabelError(
                f"expected {outputs} {SOFT_LABELS} a token, one an output of the student, got shape "
                f"{values.shape[1:]}; they belong to another task"
            )
        if not np.isfinite(values).all():
            raise LabelError(
                f"{SOFT_LABELS} of rows {start} to {start + len(part) - 1} are not all finite; run the "
                "labelling pass again"
            )
        probabilities = probabilities and bool(len(values)) and are_probabilities(values, problem)
        start += len(part)
    check_logits(probabilities, start, problem)


def _of_words(part: Any) -> npt.NDArray[np.float64]:
    """Returns what is said of the words of some rows [words, C], without those that nothing is said of."""
    values = part.values if isinstance(part, PerWord) else np.concatenate([*map(np.asarray, part)])
    # A stray NaN among numbers is damage, and stays.
    return np.asarray(values[~np.isnan(values).all(axis=-1)], dtype=np.float64)


def are_probabilities(values: Any, problem: Problem) -> bool:
    """Returns whether numbers [n, C] are probabilities in every row, which logits of some rows never are."""
    if problem == REGRESSION or not (values >= 0).all():
        return False
    if problem == MULTI_LABEL:
        return bool((values <= 1).all())
    return bool((abs(values.sum(-1) - 1) < _ROUNDING).all())


def check_logits(probabilities: bool, rows: int, problem: Problem) -> None:
    """Refuses rows that are probabilities, all of them.

    Raises:
        LabelError: They are.
    """
    several = problem == MULTI_LABEL
    # A single row of independent classes may well lie between 0 and 1 by chance.
    if probabilities and not (several and rows == 1):
        raise LabelError(
            f"expected {SOFT_LABELS} to be logits, got probabilities of "
            f"{'independent classes' if several else 'one distribution a row'} in all rows looked at; pass "
            f"the teacher's outputs before its {'sigmoid' if several else 'softmax'}, or "
            f"{'log(p / (1 - p))' if several else 'their logarithms'}"
        )


def other_scale(rows: Any, labels: str, outputs: int) -> str | None:
    """Returns a warning if a regression teacher's values are on another scale than the labels, else None.

    Values of a teacher that learnt the labels have about their mean, and at most about their spread.
    """
    teacher, truth = (
        np.concatenate([_numbers(part, outputs, name) for part in _column(rows, name)])
        for name in (SOFT_LABELS, labels)
    )
    spread = truth.std()
    apart = abs(teacher.mean() - truth.mean()) > 0.5 * spread
    if len(truth) < 2 or not (apart or teacher.std() > 1.5 * spread or teacher.std() < 0.25 * spread):
        return None
    theirs, ours = (f"{each.mean():.3g} ± {each.std():.3g}" for each in (teacher, truth))
    return (
        f"the teacher's values are {theirs} (mean and spread), the true labels {ours}: the two parts of the "
        "loss pull apart; bring both to one scale, or set hard_label_share to 0 or 1"
    )


def _format(rows: Any) -> str | None:
    form = getattr(rows, "format", None)
    # A stream's has no name that is public.
    stream = getattr(getattr(rows, "_formatting", None), "format_type", None)
    return form.get("type") if isinstance(form, dict) else stream


def _column(rows: Any, name: str) -> Iterator[Sequence[Any]]:
    """Yields a column in parts: all of it where that costs little, else the first row's value."""
    targets = getattr(rows, "targets", None)
    starts = range(0, len(rows), _AT_ONCE)
    if isinstance(targets, dict):
        # `tuning.TargetRows`, whose rows come more than once.
        yield targets[name]
    elif hasattr(rows, "column_names") and hasattr(rows, "with_format") and _format(rows) != "custom":
        plain = rows.with_format(None).select_columns([name])
        yield from (plain[start : start + _AT_ONCE][name] for start in starts)
    elif isinstance(rows, list):
        yield from ([row.get(name) for row in rows[start : start + _AT_ONCE]] for start in starts)
    else:
        yield [rows[0][name]]


def _numbers(part: Sequence[Any], outputs: int, name: str) -> npt.NDArray[np.float64]:
    """Returns values [n, C]; one number a row may be a scalar.

    Raises:
        LabelError: A row has another number of them.
    """
    try:
        values = np.asarray(part, dtype=np.float64)
    except (TypeError, ValueError):
        # Rows of several lengths, or rows that are tensors.
        values = np.zeros(0)
    if values.shape == (len(part), outputs) or (outputs == 1 and values.shape == (len(part),)):
        return values.reshape(len(part), outputs)
    widths = {np.size(np.asarray(row)) for row in part}
    if widths != {outputs}:
        raise LabelError(
            f"expected {outputs} {name} a row, one an output of the student, got {sorted(widths)}; "
            "they belong to another task"
        )
    return np.array([np.asarray(row, dtype=np.float64).ravel() for row in part])
