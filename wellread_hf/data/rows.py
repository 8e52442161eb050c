"""The rows of a labelled task: GLUE's, or your own CSV, JSONL, Parquet or Hub data set."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.corpus import Source, checked_text, file_rows, hub_rows, split_names
from wellread_hf.errors import DataError, LabelError, UnknownNameError, nearest
from wellread_hf.locations import Location
from wellread_hf.settings import Task
from wellread_hf.tasks import GLUE, GLUE_TASKS, TaskFacts, nearest_task

# GLUE's numbers of rows, which are nobody's labels.
_NUMBER = "idx"

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts (one tuple a row, one text a column) and, if known, their labels [n]."""

    texts: list[tuple[str, ...]]
    labels: Labels | None


@dataclass(frozen=True, slots=True)
class LabelledRows(Rows):
    """Rows whose labels are known."""

    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTask:
    """A task's facts and splits; `test` is None where it has no labels (GLUE's are withheld)."""

    facts: TaskFacts
    train: LabelledRows
    validation: LabelledRows
    test: LabelledRows | None


def load_task(task: Task, locations: Sequence[Location]) -> LoadedTask:
    """Reads all splits of a task and checks them.

    Args:
        task: Which task.
        locations: Where its data set lies, or its files in the order train, validation, test.

    Raises:
        DataError: A file, split or column is missing, or a row is no text.
        LabelError: A training or validation label is missing, NaN or outside the task's classes,
            or there is one class only.
    """
    facts = _facts(task)
    files = Path(locations[0].name).is_file()
    if files and task.validation is None:
        raise DataError(
            f"{task.data}: expected a file of validation rows beside the training rows; name it with "
            "--task.validation"
        )
    if files:
        # MNLI's names of splits are those of its data set, not of files that a person names.
        facts = replace(facts, validation="validation", test="test")
    raw: dict[str, tuple[list[tuple[str, ...]], list[Any]]] = {}
    places: dict[str, str] = {}
    for split, location in _splits(facts, locations, files, task):
        places[split] = f"{task.name}, {location.name}"
        if files:
            rows = _file_rows(Path(location.name), facts.columns)
        else:
            rows = hub_rows(location, task.config or (task.name if _is_glue(task) else None), split)
        raw[split] = _read(rows, facts.columns, task.label, f"{location.name} ({split})")
    if not (facts.labels or task.regression or _is_glue(task)):
        facts = replace(facts, labels=_classes(raw["train"][1], places["train"]))
    train = as_labelled(*raw["train"], facts, f"{places['train']}: training")
    _require_variety(train, facts, places["train"])
    validation = as_labelled(*raw[facts.validation], facts, f"{places[facts.validation]}: validation")
    test = None
    if facts.test in raw and not all(label in (-1, None) for label in raw[facts.test][1]):
        test = as_labelled(*raw[facts.test], facts, f"{places[facts.test]}: test")
    return LoadedTask(facts=facts, train=train, validation=validation, test=test)


def draw_rows(rows: Rows, count: int | None, seed: int, option: str) -> Rows:
    """Draws `count` rows with a seed, keeping their order; all of them where `count` is None.

    Errors name the command-line `option` that `count` came from.

    Raises:
        DataError: There are fewer than `count`, or none.
    """
    if not rows.texts:
        raise DataError("expected rows, found none; check the names of files and splits")
    if count is None:
        return rows
    if count > len(rows.texts):
        raise DataError(
            f"{option} {count}: there are {len(rows.texts)} rows to draw from; give at most that many"
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows.texts))[:count])
    return Rows(
        texts=[rows.texts[index] for index in chosen],
        labels=None if rows.labels is None else rows.labels[chosen],
    )


def check_columns(source: Source, task: LoadedTask) -> None:
    """Refuses a transfer source with another number of text columns than the task.

    Raises:
        DataError: The numbers differ.
    """
    if len(source.columns) != len(task.facts.columns):
        raise DataError(
            f"{source.name}: the task has {len(task.facts.columns)} text columns, the source "
            f"{len(source.columns)}; name them with ,column=A+B"
        )


def _is_glue(task: Task) -> bool:
    return task.name in GLUE_TASKS and not task.columns


def task_home(task: Task) -> str:
    """Returns where a task's data is: what its settings name, or GLUE's place on the Hub.

    Raises:
        UnknownNameError: The settings name no data and the task is not one of GLUE's.
    """
    if task.data is not None:
        return task.data
    if not _is_glue(task):
        raise UnknownNameError(
            f"--task.name {task.name!r}: expected one of GLUE's tasks ({', '.join(GLUE_TASKS)}), the nearest "
            f"is {nearest_task(task.name)}; for data of your own give --task.data and "
            "--task.columns"
        )
    return GLUE


def _facts(task: Task) -> TaskFacts:
    if _is_glue(task):
        return GLUE_TASKS[task.name]
    if not task.columns:
        raise DataError(
            f"task {task.name!r}: expected the names of one or two text columns; give --task.columns"
        )
    metrics = ("pearson", "spearman") if task.regression else ("accuracy",)
    return TaskFacts(columns=task.columns, labels=task.labels, metrics=metrics)


def _splits(
    facts: TaskFacts, locations: Sequence[Location], files: bool, task: Task
) -> Iterator[tuple[str, Location]]:
    if files:
        names = ["train", *(["validation"] if task.validation else []), *(["test"] if task.test else [])]
        yield from zip(names, locations, strict=True)
        return
    location = locations[0]
    found = split_names(location, task.config or (task.name if _is_glue(task) else None))
    for split in ("train", facts.validation):
        if split not in found:
            raise DataError(
                f"{location.name}: expected a split {split!r}, found {', '.join(found)}; the nearest is "
                f"{nearest(split, found, 1)}"
            )
    for split in ("train", facts.validation, facts.test):
        if split in found:
            yield split, location


def _file_rows(path: Path, columns: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    return _csv_rows(path) if path.suffix == ".csv" else file_rows(path, columns)


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            yield from csv.DictReader(file, strict=True)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as UTF-8 CSV ({error}); mend the file") from error


def _read(
    rows: Iterator[Mapping[str, Any]], columns: tuple[str, ...], label: str, name: str
) -> tuple[list[tuple[str, ...]], list[Any]]:
    texts: list[tuple[str, ...]] = []
    labels: list[Any] = []
    for number, row in enumerate(rows, start=1):
        texts.append(tuple(checked_text(row, column, number, name, "--task.columns ") for column in columns))
        if label not in row:
            others = [column for column in row if column not in (*columns, _NUMBER)]
            remedy = f"name it with --task.label {nearest(label, others, 1)}" if others else "add it"
            raise DataError(
                f"{name}: expected a label column {label!r}, found {', '.join(map(repr, row))}; {remedy}"
            )
        labels.append(row[label])
    if not texts:
        raise DataError(f"{name}: expected rows, found none; check the file or split")
    return texts, labels


def _classes(labels: list[Any], place: str) -> tuple[str, ...]:
    """Names the classes found in the training labels: their words, or 0, 1, ... up to the largest."""
    numbers = {number for label in labels if (number := _class_number(label)) is not None}
    words = {label for label in labels if isinstance(label, str) and label and not _is_number(label)}
    if words:
        return tuple(sorted(words | {str(number) for number in numbers}))
    if not numbers:
        raise LabelError(
            f"{place}: expected classes (words, or whole numbers of 0 or more) as training labels, got "
            f"{labels[0]!r}; name the column with --task.label, or give --task.regression for numbers"
        )
    return tuple(str(number) for number in range(max(numbers) + 1))


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _class_number(label: Any) -> int | None:
    """Reads a label that is a whole number of 0 or more, as number or text; else None."""
    if isinstance(label, str) and label.isdecimal():
        return int(label)
    if isinstance(label, float) and label.is_integer() and label >= 0:
        # A column of integers becomes one of floats as soon as a value is missing.
        return int(label)
    if isinstance(label, int | np.integer) and not isinstance(label, bool) and label >= 0:
        return int(label)
    return None


def as_labelled(
    texts: list[tuple[str, ...]], labels: list[Any], facts: TaskFacts, split: str
) -> LabelledRows:
    """Turns labels as they were read into class numbers, or into values for regression.

    Args:
        texts: The rows' texts.
        labels: A name, a number or a number as text each.
        facts: The task's; its class names decide.
        split: What the rows are called in an error: where they lie, and the split.

    Raises:
        LabelError: A label is missing, NaN or none of the task's.
    """
    if not facts.labels:
        return LabelledRows(texts, np.array(_numbers(labels, split), dtype=np.float32))
    index = {name: number for number, name in enumerate(facts.labels)}
    found = []
    for row, label in enumerate(labels, start=1):
        plain = _class_number(label)
        # A class of that name first: classes named 1 to 5 are not numbered so.
        number = index.get(label if isinstance(label, str) else str(plain))
        if number is None and not any(name.isdecimal() for name in facts.labels):
            number = plain
        if number is None or number >= len(facts.labels):
            raise LabelError(
                f"{split} row {row}: expected a label among {', '.join(facts.labels)} (or 0 to "
                f"{len(facts.labels) - 1}), got {label!r}; mend or leave out the row"
            )
        found.append(number)
    return LabelledRows(texts, np.array(found, dtype=np.int64))


def _numbers(labels: list[Any], split: str) -> list[float]:
    numbers = []
    for row, label in enumerate(labels, start=1):
        try:
            number = float(label)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise LabelError(
                f"{split} row {row}: expected a number as label, got {label!r}; mend or leave out the row"
            )
        numbers.append(number)
    return numbers


def _require_variety(train: LabelledRows, facts: TaskFacts, place: str) -> None:
    if len(np.unique(train.labels)) < 2:
        found = facts.labels[int(train.labels[0])] if facts.labels else train.labels[0]
        raise LabelError(
            f"{place}: expected training labels of at least two kinds, got {found!r} in all "
            f"{len(train.texts)} rows; there is nothing to learn"
        )
