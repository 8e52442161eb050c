"""Labels of rows that have several classes, or none: lists of classes, or a column of 0 and 1 for each."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.classes import Numbered, boolean_of, is_missing, number_of, numbers_of_classes, shown
from wellread_hf.errors import LabelError


def list_of(label: Any, row: int, place: str) -> list[Any] | None:
    """Reads a list of classes, in CSV as JSON text: `["a", "b"]`, `[0, 2]` or `[]`; None where it is missing.

    Raises:
        LabelError: It is no list.
    """
    found = label
    # JSON alone: a guess at separators would split names.
    if isinstance(label, str) and label.lstrip().startswith("["):
        try:
            found = json.loads(label)
        except (ValueError, RecursionError):
            found = label
    if isinstance(found, list):
        return found
    if is_missing(found):
        return None
    raise LabelError(
        f'{place}, row {row}: expected a list of classes as label, in CSV as JSON text like ["a", "b"], got '
        f"{shown(label)}; or join columns of 0 and 1 with `task.label` a+b"
    )


def list_of_columns(values: Mapping[str, Any], row: int, place: str) -> list[str] | None:
    """Names the columns that say 1 (or true) of a row; None where all are missing or withheld.

    Raises:
        LabelError: A column says neither 0 nor 1.
    """
    if all(is_missing(value) for value in values.values()):
        return None
    found = []
    for column, value in values.items():
        # A single missing value is an error: taken for 0, it would say that the row lacks the class.
        truth = boolean_of(value)
        said = number_of(value) if truth is None else int(truth)
        if said not in (0, 1):
            raise LabelError(
                f"{place}, row {row}: expected 0 or 1 in column {column!r}, got {shown(value)}; "
                "correct or leave out the row"
            )
        if said:
            found.append(column)
    return found


def each_label(lists: Sequence[list[Any] | None], place: str) -> list[Numbered]:
    """Returns all labels with the numbers of their rows.

    Raises:
        LabelError: A row's list is missing.
    """
    found: list[Numbered] = []
    for row, labels in enumerate(lists, start=1):
        if labels is None:
            raise LabelError(
                f"{place} row {row}: expected a list of classes, which may be empty, got none; "
                "correct or leave out the row"
            )
        found.extend((row, label) for label in labels)
    return found


def indicators(
    lists: Sequence[list[Any] | None], names: Sequence[str], stated: bool, place: str
) -> npt.NDArray[np.float32]:
    """Marks the classes of each row: [n, classes] of 0 and 1.

    Raises:
        LabelError: A list is missing, or a label is none of the task's, or is there twice.
    """
    pairs = each_label(lists, place)
    # As floats: binary cross-entropy takes no integers, and stock heads know such tasks by the type.
    found = np.zeros((len(lists), len(names)), dtype=np.float32)
    for (row, label), number in zip(pairs, numbers_of_classes(pairs, names, stated, place), strict=True):
        if found[row - 1, number]:
            raise LabelError(
                f"{place} row {row}: expected each class once, got {shown(label)} twice; a list names the "
                "classes of its row, while columns of 0 and 1 are joined with `task.label` a+b"
            )
        found[row - 1, number] = 1
    return found
