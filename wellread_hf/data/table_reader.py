"""Tables, one reader for all: files, folders in Hub layout, Hub data sets.

`datasets` says which files belong to a configuration and a split; `files.py` reads their rows.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

from wellread_hf.data.files import Row, class_names, file_rows, is_known, names_in_file
from wellread_hf.errors import DataError, library_errors_as, nearest
from wellread_hf.store.stage import Location

# What `fsspec`, which `datasets` finds files with, takes for a pattern or for a chain of addresses.
_MARKS = ("*", "?", "[", "{", "::", "://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One file, or one split of a data set.

    Attributes:
        rows: Opens it and streams its rows, in bounded memory.
        class_names: Class names by column, where the data set has them (`ClassLabel`); the column's values
            are numbers of these, or lists of such numbers.
    """

    rows: Callable[[], Iterator[Row]]
    class_names: Mapping[str, tuple[str, ...]]


def open_table(location: Location, config: str | None, split: str, column: str = "text") -> Table:
    """Finds a table without reading its rows.

    Args:
        location: A file, a folder in Hub layout or a Hub data set.
        config: Configuration of a data set.
        split: Split of a data set; a file has none.
        column: What the texts of a .txt file are called.

    Raises:
        DataError: The format is not known, or the data set has no such configuration or split.
    """
    if Path(location.name).is_file():
        name = location.name
        return Table(rows=lambda: file_rows(name, column), class_names=names_in_file(name))
    plan = _plan(location, config)
    if split not in plan.files:
        raise DataError(
            f"{location.name}: expected a split {split!r}, found {', '.join(plan.files)}; "
            f"name it with ,split={nearest(split, plan.files, 1)}"
        )
    if plan.elsewhere:
        return _table_elsewhere(location, config, split)
    files = plan.files[split]
    names = plan.class_names or _names_in_files(files)
    return Table(
        rows=lambda: chain.from_iterable(file_rows(file, separator=plan.separator) for file in files),
        class_names=names,
    )


def split_names(location: Location, config: str | None) -> list[str]:
    """Names the splits of a data set on the Hub or of a folder in its layout.

    Raises:
        DataError: It is no data set, cannot be reached or has no such configuration.
    """
    return list(_plan(location, config).files)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Which files a data set's splits have; `elsewhere`: they are of a kind that `datasets` reads itself."""

    files: Mapping[str, Sequence[str]]
    class_names: Mapping[str, tuple[str, ...]]
    separator: str | None
    elsewhere: bool


# Beside the files, what decides how `datasets` reads them; all else that is set is its own reader's matter.
_UNDERSTOOD = {"name", "version", "data_dir", "data_files", "description", "features", "sep", "delimiter"}


# Each split of a data set asks for its plan, and on the Hub a look takes several requests.
@lru_cache(maxsize=32)
def _plan(location: Location, config: str | None) -> _Plan:
    from datasets import get_dataset_split_names, load_dataset_builder

    with _as_data_set(location), _plain_paths(location.name) as (place, original):
        builder = load_dataset_builder(place, config, revision=location.revision)
        settings = builder.config
        module = type(builder).__module__.rpartition(".")[2]
        standard = type(settings)()
        names = class_names(builder.info.features)
        found = settings.data_files or {}
        files = {str(split): [original(file) for file in found[split]] for split in found}
        ours = module in ("csv", "json", "text", "parquet") and all(
            value == getattr(standard, name, None)
            for name, value in vars(settings).items()
            if name not in _UNDERSTOOD
        )
        if not (ours and files and all(map(is_known, chain.from_iterable(files.values())))):
            splits = get_dataset_split_names(place, config, revision=location.revision)
            return _Plan(files=dict.fromkeys(splits, ()), class_names=names, separator=None, elsewhere=True)
        separator = settings.sep if module == "csv" and settings.sep != "," else None
        return _Plan(files=files, class_names=names, separator=separator, elsewhere=False)


def _names_in_files(files: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Returns the class names that all files of a split have; of remote ones the first stands for all.

    Raises:
        DataError: Two files name the classes otherwise, so that their numbers mean other classes.
    """
    names = names_in_file(files[0]) if files else {}
    for file in files[1:]:
        # Each remote file would take another request to the Hub.
        if "://" not in file and (others := names_in_file(file)) != names:
            raise DataError(
                f"{file}: expected the classes of {files[0]} ({dict(names)}), got {dict(others)}; write both "
                "with the same names in the same order"
            )
    return names


def _table_elsewhere(location: Location, config: str | None, split: str) -> Table:
    """Leaves to `datasets` what it reads in its own way: Arrow files, archives, what its cache holds."""
    from datasets import load_dataset

    with _as_data_set(location):
        # Streamed, so that nothing is converted into a copy first.
        found = load_dataset(location.name, config, split=split, revision=location.revision, streaming=True)

    def rows() -> Iterator[Row]:
        # Damage in the files shows only when a row is reached.
        with _as_data_set(location):
            yield from found

    return Table(rows=rows, class_names=class_names(found.features))


@contextmanager
def _as_data_set(location: Location) -> Iterator[None]:
    subject = (
        f"{location.name}: expected a data set on the Hub or a folder in its layout, which cannot be read"
    )
    remedy = "correct it, or give a local file or folder in its place"
    try:
        with library_errors_as(DataError, subject, remedy):
            yield
    except DataError as error:
        # The message of `datasets` names its own classes, and not the README that is missing.
        if "BuilderConfig" in str(error) and Path(location.name).is_dir():
            raise DataError(
                str(error).removesuffix(remedy)
                + "the folder needs a README.md that says which files belong to which configuration and "
                "split, as the data set's on the Hub has"
            ) from error
        raise


@contextmanager
def _plain_paths(name: str) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Yields a folder under paths that `datasets` takes literally, and a function back to the real ones.

    It takes brackets in a path for a pattern, and does not know an ending in capitals.
    """
    folder = Path(name)
    if not folder.is_dir():
        yield name, str
        return
    files = {path: _in_small_letters(path.name) for path in folder.rglob("*") if path.is_file()}
    marked = any(mark in str(folder.resolve()) for mark in _MARKS)
    if not marked and all(path.name == plain for path, plain in files.items()):
        yield name, str
        return
    with tempfile.TemporaryDirectory() as beside:
        for path, plain in files.items():
            link = Path(beside, "data", path.relative_to(folder)).with_name(plain)
            link.parent.mkdir(parents=True, exist_ok=True)
            # Links, since a data set may be large.
            link.symlink_to(path.absolute())
        yield str(Path(beside, "data")), os.readlink


def _in_small_letters(name: str) -> str:
    stem, *endings = name.split(".")
    return ".".join([stem, *map(str.lower, endings)])
