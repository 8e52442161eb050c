"""The rows of GLUE that are predicted: dev and test, with the numbers that GLUE's server knows them by."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.classes import numbers_of_classes, values_of
from wellread_hf.data.corpus import checked_text
from wellread_hf.data.rows import Labels
from wellread_hf.data.table_reader import open_table, split_names
from wellread_hf.errors import DataError, nearest
from wellread_hf.store.stage import Location
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueRows:
    """Rows of one set, in their own order.

    Attributes:
        texts: One tuple a row, one text a column.
        index: [n] GLUE's number of each row (`idx`).
        labels: [n], None where they are withheld.
    """

    texts: list[tuple[str, ...]]
    index: npt.NDArray[np.int64]
    labels: Labels | None


def load_glue_rows(name: str, split: str, location: Location) -> GlueRows:
    """Reads the rows of a set from `nyu-mll/glue`, or from a folder of its layout.

    Args:
        name: One of `GLUE_SETS`.
        split: Its dev split, whose labels are read, or its test split, whose labels are not looked at.
        location: Where GLUE lies.

    Raises:
        DataError: The split or a column is missing, a row is no text, or two rows have one number.
        LabelError: A dev label is none of the task's.
    """
    rows = GLUE_SETS[name]
    facts = GLUE_TASKS[rows.task]
    where = f"{location.name} ({rows.config}, {split})"
    found = split_names(location, rows.config)
    if split not in found:
        raise DataError(
            f"{location.name}: expected a split {split!r} of {rows.config}, which {rows.title} is predicted "
            f"from, found {', '.join(found)}; the nearest is {nearest(split, found, 1)}"
        )
    texts: list[tuple[str, ...]] = []
    index: list[int] = []
    labels: list[Any] = []
    for number, row in enumerate(open_table(location, rows.config, split).rows(), start=1):
        texts.append(tuple(checked_text(row, column, number, where) for column in facts.columns))
        index.append(_index(row, number, where))
        # GLUE's test labels are withheld.
        if split == rows.dev:
            labels.append(_cell(row, "label", where))
    if not texts:
        raise DataError(f"{where}: expected rows, found none; check the folder")
    # Predictions are kept by this number, so one of two such rows would be lost.
    twice, times = Counter(index).most_common(1)[0]
    if times > 1:
        raise DataError(f"{where}: expected one number (idx) a row, got {twice} twice; correct it")
    known: Labels | None = None
    if labels:
        pairs = list(enumerate(labels, start=1))
        known = (
            numbers_of_classes(pairs, facts.labels, True, where) if facts.labels else values_of(pairs, where)
        )
    return GlueRows(texts=texts, index=np.array(index, dtype=np.int64), labels=known)


def _index(row: Mapping[str, Any], number: int, where: str) -> int:
    value = _cell(row, "idx", where)
    # At most 18 digits fit into 64 bits.
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(
            f"{where}, row {number}: expected a whole number of 0 or more as idx, got {value!r}; "
            "correct the row, or add the column where this split has none"
        )
    return value


def _cell(row: Mapping[str, Any], column: str, where: str) -> Any:
    if column not in row:
        raise DataError(
            f"{where}: expected a column {column!r} as in nyu-mll/glue, found {', '.join(map(repr, row))}; "
            f"the nearest is {nearest(column, row, 1)}"
        )
    return row[column]
