"""Rows of one file, of any known format, and the class names in it.

The rows are read here: the readers of `datasets` turn `NA` into None, `01` into 1 and dates into timestamps
in text formats, and let rows pass that do not fit.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from wellread_hf.data.conll import conll_rows
from wellread_hf.errors import DataError, library_errors_as, listed

Row = Mapping[str, Any]

# The longest novels have some 13 million characters; a tokenizer takes 60 bytes of memory for each.
LONGEST_TEXT = 1 << 24
# A line of JSON or CSV has several columns, and JSON may escape a character in six bytes.
_LONGEST_LINE = 8 * LONGEST_TEXT
# A JSON array is parsed as a whole, in about ten times its size.
_LARGEST_ARRAY = 1 << 28
_ENDINGS = (".csv", ".tsv", ".json", ".ndjson", ".txt", ".conll", ".jsonl", ".parquet")
_COMPRESSIONS: Mapping[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def file_rows(path: Path | str, column: str = "text", separator: str | None = None) -> Iterator[Row]:
    """Streams the rows of a file.

    One of `.txt` is a text a line, empty lines skipped; one of `.conll` a sentence (`conll.conll_rows`).

    Args:
        path: A file here, or an address of one on the Hub.
        column: What the texts of a .txt file are called.
        separator: What separates the fields of a .csv or .tsv file, if not a comma or a tab.

    Raises:
        DataError: The file has another ending, or cannot be read as what it says it is.
    """
    name = str(path)
    ending, compression = _format(name)
    match ending:
        case ".txt":
            return _text_rows(name, compression, column)
        case ".conll":
            return conll_rows(name, _lines(name, compression, LONGEST_TEXT))
        case ".csv" | ".tsv":
            return _csv_rows(name, compression, separator or ("," if ending == ".csv" else "\t"))
        case ".parquet":
            return _parquet_rows(name)
        case _:
            return _json_rows(name, compression)


def _format(name: str) -> tuple[str, str | None]:
    """Returns a file's ending in lower case, that of a compression apart, and its compression."""
    path = PurePosixPath(name)
    compression = path.suffix.lower() if path.suffix.lower() in _COMPRESSIONS else None
    ending = (path.with_suffix("") if compression else path).suffix.lower()
    # Parquet is compressed within.
    if ending not in _ENDINGS or (compression and ending == ".parquet"):
        raise DataError(
            f"{name}: expected a file of {', '.join(_ENDINGS)}, all but the last also as "
            f"{', '.join(_COMPRESSIONS)}, got {path.suffix or 'no ending'!r}; convert the file, or give a "
            "folder in Hub layout"
        )
    return ending, compression


def is_known(name: str) -> bool:
    """Returns whether a file is of a format that is read here; others are for `datasets` to open."""
    try:
        _format(name)
    except DataError:
        return False
    # So are archives and other addresses.
    return "://" not in name or name.startswith("hf://")


@contextmanager
def _opened(name: str, compression: str | None) -> Iterator[Any]:
    """Opens a file here, or one on the Hub, for its bytes."""
    with library_errors_as(DataError, f"{name}: cannot be read", "check the file and your rights to it"):
        if "://" in name:
            from huggingface_hub import HfFileSystem

            # Its own `readline` takes no limit.
            opened = io.BufferedReader(HfFileSystem().open(name, "rb"))
        elif stat.S_ISREG(os.stat(name).st_mode):
            opened = Path(name).open("rb")  # noqa: SIM115  # closed below, as a remote one is
        else:
            raise DataError(f"{name}: expected a file, got a device or a pipe; write its content to a file")
        with opened as raw:
            yield raw if compression is None else _COMPRESSIONS[compression](raw)


def _lines(name: str, compression: str | None, longest: int) -> Iterator[tuple[int, str]]:
    """Yields the lines of a file of text with their numbers, with their ends, without a byte-order mark."""
    with _opened(name, compression) as file:
        # One byte more than allowed shows that a line is too long.
        for number, raw in enumerate(iter(lambda: file.readline(longest + 1), b""), start=1):
            if len(raw) > longest:
                raise DataError(
                    f"{name}, line {number}: expected lines of at most {longest >> 20} MB, got a longer one, "
                    "and no text is as long; break it into lines, a text a line"
                )
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{name}, line {number}: expected UTF-8, got byte 0x{raw[error.start]:02x} at "
                    f"position {error.start}; convert the file to UTF-8"
                ) from None
            # Files that were joined have one within.
            yield number, line.removeprefix("\ufeff")


def _text_rows(name: str, compression: str | None, column: str) -> Iterator[Row]:
    for _, line in _lines(name, compression, LONGEST_TEXT):
        if text := line.strip():
            yield {column: text}


def _csv_rows(name: str, compression: str | None, separator: str) -> Iterator[Row]:
    # The limit is one for the whole process, and lower than the length of a long article by default.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_TEXT))
    lines = (
        # A line may also end in CR alone, as `csv` wants it split.
        part
        for _, line in _lines(name, compression, _LONGEST_LINE)
        for part in io.StringIO(line, newline="")
    )
    # Without `strict` a quotation mark that is never closed takes in the rest without an error.
    reader = csv.reader(lines, delimiter=separator, strict=True)
    header: list[str] = []
    number = 0
    try:
        for fields in reader:
            if not fields:
                continue
            if not header:
                header = fields
                _check_names(name, header)
                _check_separator(name, header, separator)
                continue
            number += 1
            if len(fields) != len(header):
                raise DataError(
                    f"{name}, row {number} (line {reader.line_num}): expected {len(header)} fields as in the "
                    f"header ({listed(header)}), got {len(fields)}; put a text that has a "
                    f"{'comma' if separator == ',' else 'separator'} in it between quotation marks"
                )
            if separator == "\t" and any("\t" in field and "\n" in field for field in fields):
                # In files without quoting, a text that begins with a quotation mark takes rows into itself.
                raise DataError(
                    f"{name}, row {number} (line {reader.line_num}): expected a field, got one with a tab "
                    "and an end of line between quotation marks, which looks like several rows; double the "
                    "quotation marks in texts and put each such text between some, or write .jsonl"
                )
            yield dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{name}: cannot be read as UTF-8 CSV (row {number + 1}, line {reader.line_num}: {error}); "
            "correct the file: a field with quotation marks stands between quotation marks, its own doubled"
        ) from error


def _check_separator(name: str, columns: Sequence[str], separator: str) -> None:
    others = [other for other in ",;\t|" if other != separator and other in columns[0]]
    if len(columns) == 1 and others:
        raise DataError(
            f"{name}: expected fields with {separator!r} between them, got one column {columns[0][:60]!r}, "
            f"as if {others[0]!r} were between them; write it as .csv with commas or .tsv with tabs, or name "
            "the separator (sep) in the README.md of a folder in Hub layout"
        )


def _check_names(name: str, columns: Sequence[str]) -> None:
    # Spreadsheets leave empty columns without a name.
    twice = [column for column, times in Counter(columns).items() if times > 1 and column]
    if twice:
        raise DataError(
            f"{name}: expected a name of its own for every column, got {twice[0]!r} twice "
            f"({listed(columns)}); rename or leave out one of them"
        )


def _json_rows(name: str, compression: str | None) -> Iterator[Row]:
    """Streams objects, one a line; or those of one array, as pandas and others write it."""
    lines = ((number, line.strip()) for number, line in _lines(name, compression, _LONGEST_LINE))
    for number, line in lines:
        if not line:
            continue
        if line.startswith("[") and _format(name)[0] == ".json":
            yield from _array(name, number, chain([(number, line)], lines))
            return
        yield _object(f"{name}, line {number}", _parsed(f"{name}, line {number}", line), line)


def _array(name: str, first: int, lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
    text: list[str] = []
    size = 0
    for _, line in lines:
        text.append(line)
        size += len(line)
        if size > _LARGEST_ARRAY:
            raise DataError(
                f"{name}: expected a JSON array of at most {_LARGEST_ARRAY >> 20} MB, which is parsed as a "
                "whole; write one object a line, as .jsonl"
            )
    for number, row in enumerate(_parsed(f"{name}, from line {first}", "\n".join(text)), start=1):
        yield _object(f"{name}, row {number}", row, str(row)[:60])


def _parsed(where: str, text: str) -> Any:
    try:
        # `json` would keep the last of two values of one name without a word.
        return json.loads(text, object_pairs_hook=lambda pairs: _without_twins(where, pairs))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: expected one JSON object a line, or in .json one array of them, got {text[:60]!r} "
            f"({error}); correct it"
        ) from None


def _without_twins(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _check_names(where, [name for name, _ in pairs])
    return found


def _object(where: str, row: Any, text: str) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, got {text[:60]!r}; correct the line")
    return row


@contextmanager
def _parquet(name: str) -> Iterator[Any]:
    import pyarrow.parquet

    damaged = library_errors_as(DataError, f"{name}: not a readable Parquet file", "write it again")
    with _opened(name, None) as raw, damaged, pyarrow.parquet.ParquetFile(raw) as file:
        yield file


def _parquet_rows(name: str) -> Iterator[Row]:
    with _parquet(name) as file:
        _check_names(name, file.schema_arrow.names)
        # In bounded memory: by default pyarrow takes 65,536 rows at once, and a row may be a long text.
        for batch in file.iter_batches(batch_size=1024):
            yield from batch.to_pylist()


def names_in_file(name: str) -> Mapping[str, tuple[str, ...]]:
    """Reads the class names that `datasets` writes into a Parquet file."""
    if _format(name)[0] != ".parquet":
        return {}
    from datasets import Features

    with _parquet(name) as file:
        written = b"huggingface" in (file.schema_arrow.metadata or {})
        return class_names(Features.from_arrow_schema(file.schema_arrow) if written else None)


def class_names(features: Mapping[str, Any] | None) -> Mapping[str, tuple[str, ...]]:
    """Returns the names of classes by column, of columns that are a `ClassLabel` or lists of one."""
    from datasets import ClassLabel

    found: dict[str, tuple[str, ...]] = {}
    for column, feature in (features or {}).items():
        # That of a list's items, which older versions write as a list of one.
        inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
        if isinstance(inner, ClassLabel) and inner.names:
            found[column] = tuple(inner.names)
    return found
