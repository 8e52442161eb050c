"""Plain text as a stream: Hub data sets, folders in Hub layout, and files."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from wellread_hf.data.files import LONGEST_TEXT
from wellread_hf.data.table_reader import open_table
from wellread_hf.errors import DataError, SettingsError, nearest
from wellread_hf.store.stage import Location

# Rows that are looked at before anything runs: a second of reading here, little to fetch from the Hub.
_CHECKED = 100_000
_CHECKED_REMOTE = 1_000
_OPTIONS = ("config", "split", "revision", "column", "rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place that text comes from.

    Attributes:
        name: Hub id, folder in Hub layout, or file.
        config: Configuration of a data set in Hub layout.
        split: Its split.
        revision: Its revision on the Hub.
        columns: The text columns; a pair of texts has two.
        rows: Take the first so many rows only.
    """

    name: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    columns: tuple[str, ...] = ("text",)
    rows: int | None = None

    @classmethod
    def parse(cls, spec: str) -> "Source":
        """Reads `NAME[,config=..][,split=..][,revision=..][,column=A or A+B][,rows=N]`.

        Raises:
            SettingsError: An option is unknown or has no value.
        """
        name, options = _name_and_options(spec)
        given: dict[str, str] = {}
        for option in options:
            key, equals, value = option.partition("=")
            if key not in _OPTIONS or not equals or not value:
                raise SettingsError(
                    f"source {spec!r}: expected options like column=text after the name, got {option!r}; "
                    f"the nearest option is {nearest(key, _OPTIONS, 1)}"
                )
            given[key] = value
        columns = tuple(given.pop("column", "text").split("+"))
        rows = given.pop("rows", None)
        # Few digits, since Python refuses to read numbers of thousands of them.
        if rows is not None and not (rows.isdecimal() and len(rows) < 13 and int(rows) > 0):
            raise SettingsError(f"source {spec!r}: expected a number of rows of at least 1, got {rows!r}")
        return cls(name=name, columns=columns, rows=None if rows is None else int(rows), **given)

    def texts(self, location: Location) -> Iterator[tuple[str, ...]]:
        """Yields each row's texts, one a column, in order, holding one batch of rows at a time.

        Raises:
            DataError: A column is missing, or a row is no text, has a NUL or is not UTF-8; the
                message names source and row.
        """
        # A text file has one column, which takes whatever name is asked for.
        rows = open_table(location, self.config, self.split, self.columns[0]).rows()
        for number, row in enumerate(islice(rows, self.rows), start=1):
            yield tuple(checked_text(row, column, number, self.name) for column in self.columns)


# Several stages of a plan check the same source, each by reading up to 100,000 rows.
@lru_cache(maxsize=64)
def check_rows(source: Source, location: Location) -> int | None:
    """Refuses a source whose first rows cannot be used; once in a process for the same content.

    Returns:
        How many rows it has; None where there are more than were read.

    Raises:
        DataError: As from `Source.texts`.
    """
    return count_rows(source.texts(location), location)


def count_rows(texts: Iterator[tuple[str, ...]], location: Location) -> int | None:
    """Reads the first rows of what lies at a location, if it is there already.

    Returns:
        How many rows there are; None where there are more than were read.
    """
    if is_pending(location):
        return None
    most = _CHECKED_REMOTE if location.fingerprint.startswith("hub:") else _CHECKED
    read = sum(1 for _ in islice(texts, most + 1))
    return read if read <= most else None


def is_pending(location: Location) -> bool:
    """Returns whether an earlier stage has yet to make what lies there."""
    return location.fingerprint.startswith("stage:") and not Path(location.name).exists()


def _name_and_options(spec: str) -> tuple[str, list[str]]:
    """Splits a source at its commas; those of a path that is there are part of its name."""
    parts = spec.split(",")
    # The longest name first: a path with a comma may lie beside one that ends before it.
    for count in range(len(parts), 1, -1):
        name = ",".join(parts[:count])
        # Unlike pathlib's, these raise nothing: a path that cannot be is not there.
        if os.path.exists(os.path.expanduser(name)):
            return name, [part.strip() for part in parts[count:]]
    # A path that an earlier stage has yet to make.
    count = max(
        number
        for number, part in enumerate(parts, start=1)
        if number == 1 or ("/" in part and "=" not in part)
    )
    return ",".join(parts[:count]).strip(), [part.strip() for part in parts[count:]]


def checked_text(row: Mapping[str, Any], column: str, number: int, name: str) -> str:
    """Returns a row's text.

    Args:
        row: The row.
        column: Where its text is.
        number: Its number, from 1, for the message.
        name: Name of the data for the message.

    Raises:
        DataError: The column is missing, or holds no text, or a text with a NUL.
    """
    if column not in row:
        best = nearest(column, row, 1)
        raise DataError(
            f"{name}: expected a text column {column!r}, found {', '.join(map(repr, row))}; name the column, "
            f"with ,column={best} after a source, or `task.columns` {best}"
        )
    text = row[column]
    if not isinstance(text, str):
        raise DataError(
            f"{name}, row {number}: expected text in column {column!r}, got {type(text).__name__} "
            f"{text!r:.60}; correct or leave out the row"
        )
    if len(text) > LONGEST_TEXT:
        raise DataError(
            f"{name}, row {number}: expected a text of at most {LONGEST_TEXT:,} characters, got "
            f"{len(text):,}; break it into several rows"
        )
    # NUL separates the columns where texts are hashed (labelling/soft_labels.py).
    if "\0" in text:
        raise DataError(
            f"{name}, row {number}: the text has a NUL character at {text.index(chr(0))}, which no "
            "text has; correct or leave out the row"
        )
    try:
        # JSON may escape half a pair, which Python reads and fast tokenizers cannot take.
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name}, row {number}: expected Unicode text, got half a surrogate pair "
            f"({text[error.start]!a}) at {error.start}; correct or leave out the row"
        ) from None
    return text
