"""Soft labels that somebody else made: read from a table as a stream, checked row by row, found by text."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.corpus import Source, checked_text
from wellread_hf.data.files import Row
from wellread_hf.data.table_reader import open_table
from wellread_hf.errors import DataError, LabelError
from wellread_hf.labelling.distributions import (
    Array,
    filled_up,
    log_of,
    logit_of,
    multi_label,
    single_label,
)
from wellread_hf.labelling.soft_columns import Fault, SoftColumns, find_columns
from wellread_hf.labelling.soft_labels import Logits, text_hashes
from wellread_hf.settings import Imported
from wellread_hf.store.progress import bar
from wellread_hf.store.stage import Location
from wellread_hf.tasks import TaskFacts

# How far from 1 the probabilities of a row may add up to; printed ones are rounded.
TOLERANCE = 1e-3
# Rows that are in memory as text at a time, and numbers of rows that an error names.
_BATCH, _SHOWN = 1 << 14, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a table of soft labels is read.

    Attributes:
        imported: What it holds.
        source: Where, with its text columns.
        facts: The task's classes.
        label: The task's column of labels.
        named: Names of the classes in the order of the table's lists, or of the columns that are given.
        stated: Whether the order of the task's classes was stated, so that it may be that of lists.
    """

    imported: Imported
    source: Source
    facts: TaskFacts
    label: str
    named: Sequence[str]
    stated: bool

    @property
    def counts_votes(self) -> bool:
        """Whether rows are votes, which are added up by text."""
        return self.imported.kind == "votes" and bool(self.facts.labels)


@dataclass(frozen=True, slots=True)
class SoftTable:
    """A table's soft labels.

    Attributes:
        hashes: [n] hashes of its texts, ascending, each once.
        logits: [n, C] as they are stored, of the task's classes; C = 1 is regression.
        rows: Rows that were read.
    """

    hashes: npt.NDArray[np.uint64]
    logits: Logits
    rows: int

    def find(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Returns the place of each text [m]; -1 where the table lacks it."""
        places = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        return np.where(self.hashes[places] == hashes, places, -1)


def read_table(reading: Reading, location: Location, most: int | None = None) -> SoftTable:
    """Reads a table of soft labels and checks every row; of its text only a part is in memory at a time.

    Args:
        reading: How.
        location: Where the table lies.
        most: Read the first so many rows only.

    Raises:
        DataError: The table cannot be read, a column is missing or a row has no text.
        LabelError: Columns do not fit the classes, or rows have no soft labels that can be taken; the message
            has their numbers.
    """
    source = reading.source
    faults = Faults(source.name)
    hashes, found, kept = [], [], []
    with bar("reading soft labels", "rows") as shown:
        for start, texts, numbers, rows in _batches(reading, location, most, faults):
            shown.update(len(texts))
            values = np.array(numbers, dtype=np.float64)
            good = _good(reading, values, rows, faults)
            hashes.append(text_hashes(texts)[rows - start][good])
            found.append(values[good] if reading.counts_votes else _logits(reading, values[good]))
            kept.append(rows[good])
    faults.refuse()
    if not hashes:
        raise DataError(f"{source.name}: expected rows, found none; check the names of files and splits")
    if reading.counts_votes:
        return _added_up(reading, np.concatenate(hashes), np.concatenate(found))
    return _sorted(np.concatenate(hashes), np.concatenate(found), np.concatenate(kept), faults)


def rows_of(table: SoftTable, texts: Iterable[tuple[str, ...]], name: str) -> npt.NDArray[np.int64]:
    """Finds the rows of a transfer set in a table by their texts: the place of each [n].

    Args:
        table: The soft labels.
        texts: The transfer set's.
        name: What errors call the table.

    Raises:
        LabelError: The table lacks some; the message has their numbers.
    """
    faults, found, start = Faults("the transfer set"), [], 1
    rows = iter(texts)
    while batch := list(islice(rows, _BATCH)):
        found.append(table.find(text_hashes(batch)))
        for row in np.flatnonzero(found[-1] < 0):
            faults.add(f"soft labels of every text in {name}", "none", start + int(row))
        start += len(batch)
    faults.refuse("add them, or leave out `transfer.sources` to take the texts that have some")
    return np.concatenate(found)


@dataclass(slots=True)
class Faults:
    """Rows that cannot be taken, by what was expected of them.

    Attributes:
        name: What the rows are called.
        found: For what was expected, the first rows with what they have, and the number of all.
    """

    name: str
    found: dict[str, tuple[list[tuple[int, str]], int]] = field(default_factory=dict)

    def add(self, expected: str, got: str, row: int) -> None:
        """Notes a row, numbered from 1."""
        first, count = self.found.get(expected, ([], 0))
        self.found[expected] = ([*first, (row, got)] if len(first) < _SHOWN else first, count + 1)

    def refuse(self, remedy: str = "correct or leave out these rows") -> None:
        """Raises `LabelError` if there are such rows: those of the first kind, with their numbers."""
        if not self.found:
            return
        expected, (first, count) = min(self.found.items(), key=lambda of: of[1][0][0])
        rows = ", ".join(f"{row} ({got})" for row, got in first)
        more = f" and {count - len(first)} more" if count > len(first) else ""
        others = sum(count for _, count in self.found.values()) - count
        also = f" ({others} rows have other faults)" if others else ""
        raise LabelError(
            f"{self.name}: expected {expected}, got something else in {count} row{'s' * (count > 1)}: "
            f"{rows}{more}{also}; {remedy}"
        )


def _batches(
    reading: Reading, location: Location, most: int | None, faults: Faults
) -> Iterator[tuple[int, list[tuple[str, ...]], list[list[float]], npt.NDArray[np.int64]]]:
    """Yields a batch's first row, its texts, and the numbers and rows of those that have some."""
    source = reading.source
    table = open_table(location, source.config, source.split, source.columns[0])
    limits = [limit for limit in (source.rows, most) if limit is not None]
    rows = enumerate(islice(table.rows(), min(limits, default=None)), start=1)
    columns: SoftColumns | None = None
    while batch := list(islice(rows, _BATCH)):
        texts = [tuple(checked_text(row, column, number, source.name) for column in source.columns)
                 for number, row in batch]  # fmt: skip
        if columns is None:
            columns = _columns(reading, batch[0][1], table.class_names)
        numbers, good = [], []
        for number, row in batch:
            try:
                numbers.append(columns.numbers(row))
                good.append(number)
            except Fault as fault:
                faults.add(fault.expected, fault.got, number)
        yield batch[0][0], texts, numbers, np.array(good, dtype=np.int64)


def _columns(reading: Reading, row: Row, names: Any) -> SoftColumns:
    beside = [column for column in row if column not in reading.source.columns]
    return find_columns(
        reading.imported, reading.facts, beside, reading.label, reading.named, reading.stated, names
    )


def _good(
    reading: Reading, numbers: Array, rows: npt.NDArray[np.int64], faults: Faults
) -> npt.NDArray[np.bool_]:
    """Returns which rows have a distribution [n], and notes the others."""
    good = np.ones(len(numbers), dtype=np.bool_)
    for expected, values, bad in _checks(reading, numbers) if len(numbers) else ():
        for index in np.flatnonzero(bad & good):
            faults.add(expected, f"{values[index]:.6g}", int(rows[index]))
        good &= ~bad
    return good


def _logits(reading: Reading, numbers: Array) -> Logits:
    """Returns the logits [n, C] of rows that have a distribution."""
    several, imported = reading.facts.multi_label, reading.imported
    if not len(numbers):
        return np.empty((0, max(1, len(reading.facts.labels))), dtype=np.float32)
    if not reading.facts.labels:
        return numbers.astype(np.float32)
    if imported.kind == "votes":
        numbers = numbers / numbers.sum(axis=1, keepdims=True)
    if imported.kind == "top-k":
        weights = filled_up(numbers)
    elif imported.kind == "logits":
        weights = numbers
    else:
        weights = logit_of(numbers) if several else log_of(numbers)
    stored = multi_label if several else single_label
    return stored(weights, imported.temperature, imported.smoothing)


def _checks(reading: Reading, numbers: Array) -> Iterator[tuple[str, Array, npt.NDArray[np.bool_]]]:
    """Yields what is expected of rows [n, C], the number of each that shows a fault, and which have it."""
    kind = reading.imported.kind
    least, most = numbers.min(axis=1), numbers.max(axis=1)
    if not reading.facts.labels:
        # Kept in fp32, where larger numbers are infinite.
        yield "finite numbers", most, np.abs(most) > np.finfo(np.float32).max
    elif kind == "votes":
        yield "numbers of votes, 0 or more", least, least < 0
        sums = numbers.sum(axis=1)
        yield "at least one vote a row", sums, sums <= 0
    elif kind == "top-k":
        sums = np.nansum(np.exp(np.minimum(numbers, 1)), axis=1)
        yield "the log-probability of at least one class", sums, np.asarray(np.isnan(numbers).all(axis=1))
        yield f"probabilities that add up to 1 at most (within {TOLERANCE})", sums, sums > 1 + TOLERANCE
    elif kind == "probabilities":
        yield "probabilities of 0 or more", least, least < 0
        yield "probabilities of 1 at most", most, most > (1 if reading.facts.multi_label else 1 + TOLERANCE)
        if not reading.facts.multi_label:
            sums = numbers.sum(axis=1)
            yield f"probabilities that add up to 1 (within {TOLERANCE})", sums, np.abs(sums - 1) > TOLERANCE


def _added_up(reading: Reading, hashes: npt.NDArray[np.uint64], votes: Array) -> SoftTable:
    """Adds up the votes on each text: a row may be those of one annotator."""
    texts, places = np.unique(hashes, return_inverse=True)
    sums = np.zeros((len(texts), votes.shape[1]))
    np.add.at(sums, places, votes)
    return SoftTable(texts, _logits(reading, sums), len(hashes))


def _sorted(
    hashes: npt.NDArray[np.uint64], logits: Logits, rows: npt.NDArray[np.int64], faults: Faults
) -> SoftTable:
    """Sorts rows by their texts; the same text with other values is refused."""
    order = np.argsort(hashes, kind="stable")
    hashes, logits, numbers = hashes[order], logits[order], rows[order]
    again = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
    other = again[(logits[again] != logits[again - 1]).any(axis=1)]
    for index in other[np.argsort(numbers[other])]:
        faults.add(
            "one row of soft labels a text",
            f"other values than row {numbers[index - 1]}",
            int(numbers[index]),
        )
    faults.refuse("keep one of the rows, or give `imported.kind` votes for labels of several annotators")
    first = np.ones(len(hashes), dtype=np.bool_)
    first[again] = False
    return SoftTable(hashes[first], logits[first], len(rows))
