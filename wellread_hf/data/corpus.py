"""Plain text as a stream: Hub data sets, folders in Hub layout, and .txt, .jsonl and .parquet files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from wellread_hf.errors import DataError, SettingsError, nearest
from wellread_hf.locations import Location, locate

_OPTIONS = ("config", "split", "revision", "column", "rows")
_FILES = (".txt", ".jsonl", ".parquet")


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
        name, *options = (part.strip() for part in spec.split(","))
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
        if rows is not None and not (rows.isdecimal() and int(rows) > 0):
            raise SettingsError(f"source {spec!r}: expected a number of rows of at least 1, got {rows!r}")
        return cls(name=name, columns=columns, rows=None if rows is None else int(rows), **given)

    def locate(self, option: str, memory: Path | None = None) -> Location:
        """Finds the source; see `locations.locate`."""
        return locate(self.name, "dataset", option, revision=self.revision, memory=memory)

    def texts(self, location: Location) -> Iterator[tuple[str, ...]]:
        """Yields each row's texts, one a column, in order, holding one batch of rows at a time.

        Raises:
            DataError: A column is missing, or a row is no text, has a NUL or is not UTF-8; the
                message names source and row.
        """
        path = Path(location.name)
        if path.is_file():
            rows = file_rows(path, self.columns)
        else:
            rows = hub_rows(location, self.config, self.split)
        for number, row in enumerate(islice(rows, self.rows), start=1):
            yield tuple(checked_text(row, column, number, self.name, ",column=") for column in self.columns)


def checked_text(row: Mapping[str, Any], column: str, number: int, name: str, option: str) -> str:
    """Returns a row's text.

    Args:
        row: The row.
        column: Where its text is.
        number: Its number, from 1, for the message.
        name: Name of the data for the message.
        option: What comes before the column where it is named.

    Raises:
        DataError: The column is missing, or holds no text, or a text with a NUL.
    """
    if column not in row:
        raise DataError(
            f"{name}: expected a text column {column!r}, found {', '.join(map(repr, row))}; "
            f"name the column with {option}{nearest(column, row, 1)}"
        )
    text = row[column]
    if not isinstance(text, str):
        raise DataError(
            f"{name}, row {number}: expected text in column {column!r}, got {type(text).__name__} "
            f"{text!r:.60}; mend or leave out the row"
        )
    if "\0" in text:
        raise DataError(
            f"{name}, row {number}: the text has a NUL character at {text.index(chr(0))}, which no "
            "text has; mend or leave out the row"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name}, row {number}: expected Unicode text, got half a surrogate pair "
            f"({text[error.start]!a}) at {error.start}; mend or leave out the row"
        ) from None
    return text


def file_rows(path: Path, columns: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Streams the rows of a .txt (a text a line, empty lines skipped), .jsonl or .parquet file.

    Raises:
        DataError: The file has another ending, or cannot be read as what it says it is.
    """
    match path.suffix:
        case ".txt":
            return ({columns[0]: line} for _, line in _lines(path) if line)
        case ".jsonl":
            return (_json_row(path, number, line) for number, line in _lines(path) if line)
        case ".parquet":
            return _parquet_rows(path)
        case suffix:
            raise DataError(
                f"{path}: expected a file of {', '.join(_FILES)}, got {suffix or 'no ending'!r}; "
                "convert the file, or give a folder in Hub layout"
            )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield number, raw.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: expected UTF-8, got byte 0x{raw[error.start]:02x} at "
                    f"position {error.start}; convert the file to UTF-8"
                ) from None


def _json_row(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(
            f"{path}, line {number}: expected one JSON object a line, got {line!r:.60} ({error}); mend it"
        ) from None
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: expected a JSON object, got {line!r:.60}; mend the line")
    return row


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); write it again") from error


def hub_rows(location: Location, config: str | None, split: str) -> Iterator[Mapping[str, Any]]:
    """Streams the rows of a data set on the Hub or of a folder in its layout.

    Raises:
        DataError: The data set has no such configuration or split.
    """
    from datasets import load_dataset

    splits = split_names(location, config)
    if split not in splits:
        raise DataError(
            f"{location.name}: expected a split {split!r}, found {', '.join(splits)}; "
            f"name it with ,split={nearest(split, splits, 1)}"
        )
    try:
        # Damage in the files shows only when a row is reached.
        yield from load_dataset(
            location.name, config, split=split, revision=location.revision, streaming=True
        )
    except (ValueError, OSError) as error:
        # As `datasets` says it of a Parquet file without rows; the caller knows what they were wanted for.
        if "BatchSize must be greater than 0" not in str(error):
            raise _unreadable(location, error) from error


def split_names(location: Location, config: str | None) -> list[str]:
    """Names the splits of a data set on the Hub or of a folder in its layout.

    Raises:
        DataError: It is no data set, cannot be reached or has no such configuration.
    """
    from datasets import get_dataset_split_names

    try:
        splits: list[str] = get_dataset_split_names(location.name, config, revision=location.revision)
    except (ValueError, OSError) as error:
        raise _unreadable(location, error) from error
    return splits


def _unreadable(location: Location, error: Exception) -> DataError:
    remedy = "mend it, or give a local file or folder in its place"
    if "BuilderConfig" in str(error) and Path(location.name).is_dir():
        remedy = (
            "the folder needs a README.md that says which files belong to which configuration and split, as "
            "the data set's on the Hub has"
        )
    return DataError(
        f"{location.name}: expected a data set on the Hub or a folder in its layout, which cannot be read "
        f"({' '.join(str(error).split())}); {remedy}"
    )
