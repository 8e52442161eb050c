"""The rows of a labelled task: GLUE's, or your own CSV, JSONL, Parquet or Hub data set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.classes import (
    classes_in,
    counted,
    is_missing,
    numbers_of_classes,
    values_of,
    with_names,
)
from wellread_hf.data.corpus import Source, checked_text
from wellread_hf.data.several_classes import each_label, indicators, list_of, list_of_columns
from wellread_hf.data.table_reader import open_table, split_names
from wellread_hf.data.tags import check_scheme, checked_tags, checked_words, numbered_tags
from wellread_hf.data.task_facts import facts_of, finds_classes, is_glue, with_metric
from wellread_hf.errors import DataError, LabelError, nearest
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.metrics.tags import tag_metrics
from wellread_hf.settings import Task
from wellread_hf.store.progress import log
from wellread_hf.store.stage import Location
from wellread_hf.tasks import TaskFacts

# GLUE's numbers of rows, which are nobody's labels.
_NUMBER = "idx"

# Classes that are printed with their counts.
_SHOWN = 20

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32] | PerWord


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts (one tuple a row, one text a column or a word) and, if known, their labels [n]."""

    texts: list[tuple[str, ...]]
    labels: Labels | None


@dataclass(frozen=True, slots=True)
class LabelledRows(Rows):
    """Rows whose labels are known."""

    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTask:
    """A task's facts and splits.

    Attributes:
        facts: Its columns, classes and metrics.
        train: Training rows.
        validation: Validation rows.
        test: Test rows; None where they have no labels (GLUE's are withheld).
        held_out: Texts of all validation and test rows, with labels or without.
    """

    facts: TaskFacts
    train: LabelledRows
    validation: LabelledRows
    test: LabelledRows | None
    held_out: list[tuple[str, ...]]


def load_task(task: Task, locations: Sequence[Location]) -> LoadedTask:
    """Reads all splits of a task and checks them; once in a process for the same content.

    Args:
        task: Which task.
        locations: Where its data set lies, or its files in the order train, validation, test.

    Raises:
        DataError: A file, split or column is missing, or a row is no text.
        LabelError: A training or validation label is missing, NaN or outside the task's classes,
            or there is one class only.
    """
    # How many rows are drawn is the caller's matter.
    return _loaded(replace(task, train_rows=None, train_seed=0), tuple(locations))


# Two: a task, and the one that a transfer set or a comparison takes beside it.
@lru_cache(maxsize=2)
def _loaded(task: Task, locations: tuple[Location, ...]) -> LoadedTask:
    facts = facts_of(task)
    files = Path(locations[0].name).is_file()
    _check_places(task, locations, files)
    if files:
        # MNLI's names of splits are those of its data set, not of files that a person names.
        facts = replace(facts, validation="validation", test="test")
    config = task.config or (task.name if is_glue(task) else None)
    raw: dict[str, _Raw] = {}
    for split, location in _splits(facts, locations, files, config):
        # A data set's own test split may have no labels; a test file that a person names has some.
        raw[split] = _read(location, config, split, facts, task, labelled=files or split != facts.test)
    given = bool(facts.labels)
    if finds_classes(task):
        facts = replace(facts, labels=raw["train"].names or raw["train"].classes(facts))
    if facts.tagging:
        check_scheme(facts.labels, raw["train"].place)
        facts = replace(facts, metrics=tag_metrics(facts.labels))
    if finds_classes(task) or facts.tagging:
        facts = with_metric(facts, task)
    stated = given or bool(facts.labels and raw["train"].names)
    train = raw["train"].labelled(facts, stated, given)
    # First: with one class, each validation label of another one would be refused instead.
    _require_variety(train, facts, raw["train"].place)
    validation = raw[facts.validation].labelled(facts, stated, given)
    test = None
    if facts.test in raw and not all(map(is_missing, raw[facts.test].labels)):
        test = raw[facts.test].labelled(facts, stated, given)
    held_out = [text for split, rows in raw.items() if split != "train" for text in rows.texts]
    if not files:
        for split in split_names(locations[0], config):
            # MNLI has two of each.
            if split not in raw and split.startswith(("validation", "test")):
                held_out += _read(locations[0], config, split, facts, task, labelled=False).texts
    return LoadedTask(facts=facts, train=train, validation=validation, test=test, held_out=held_out)


def _check_places(task: Task, locations: Sequence[Location], files: bool) -> None:
    if files and task.validation is None:
        raise DataError(
            f"{task.data}: expected a file of validation rows beside the training rows; name it with "
            "`task.validation`"
        )
    if not files and (task.validation or task.test):
        raise DataError(
            f"{task.data}: expected a file, as `task.validation` and `task.test` name others, and there is "
            "none of that name; leave them out to take a data set's own splits"
        )
    for location in locations:
        if files and not Path(location.name).is_file():
            raise DataError(
                f"{location.name}: expected a file, as {task.data} is one, got a folder; name a file"
            )


@dataclass(frozen=True, slots=True)
class _Raw:
    """Rows as they were read: `place` says where in errors, `names` are the classes that the data names."""

    texts: list[tuple[str, ...]]
    labels: list[Any]
    names: tuple[str, ...]
    place: str

    def classes(self, facts: TaskFacts) -> tuple[str, ...]:
        several = facts.multi_label or facts.tagging
        labels = [label for _, label in each_label(self.labels, self.place)] if several else self.labels
        return classes_in(labels, self.place)

    def labelled(self, facts: TaskFacts, stated: bool, given: bool) -> LabelledRows:
        """Turns labels into class numbers, indicators of classes, or values for regression."""
        labels = with_names(self.labels, self.names, facts.labels, given) if facts.labels else self.labels
        if facts.tagging:
            return LabelledRows(
                self.texts, numbered_tags(self.texts, labels, facts.labels, stated, self.place)
            )
        pairs = list(enumerate(labels, start=1))
        if facts.multi_label:
            return LabelledRows(self.texts, indicators(labels, facts.labels, stated, self.place))
        if facts.labels:
            return LabelledRows(self.texts, numbers_of_classes(pairs, facts.labels, stated, self.place))
        return LabelledRows(self.texts, values_of(pairs, self.place))


def report_classes(task: LoadedTask) -> Mapping[str, Mapping[str, int]]:
    """Prints how many training rows each class has.

    Returns:
        Rows by split and class; nothing for regression.
    """
    names = task.facts.labels
    if not names:
        return {}
    splits = {"train": task.train, "validation": task.validation}
    splits |= {} if task.test is None else {"test": task.test}
    counts = {split: counted(_each(rows.labels), names) for split, rows in splits.items()}
    commonest = sorted(names, key=lambda name: -counts["train"][name])[:_SHOWN]
    shown = ", ".join(f"{name:.40} {counts['train'][name]:,}" for name in names if name in commonest)
    others = f", and {len(names) - _SHOWN} others" if len(names) > _SHOWN else ""
    words = f"{sum(counts['train'].values()):,} words of " if task.facts.tagging else ""
    log(f"{len(names)} classes in {words}{len(task.train.texts):,} training rows: {shown}{others}")
    return counts


def _each(labels: Labels) -> npt.NDArray[Any]:
    return labels.values if isinstance(labels, PerWord) else labels


def check_columns(source: Source, columns: Sequence[str]) -> None:
    """Refuses a transfer source with another number of text columns than the task.

    Raises:
        DataError: The numbers differ.
    """
    if len(source.columns) != len(columns):
        raise DataError(
            f"{source.name}: the task has {len(columns)} text columns, the source "
            f"{len(source.columns)}; name them with ,column=A+B"
        )


def _splits(
    facts: TaskFacts, locations: Sequence[Location], files: bool, config: str | None
) -> Iterator[tuple[str, Location]]:
    if files:
        # There may be no test rows.
        yield from zip(("train", facts.validation, facts.test), locations, strict=False)
        return
    location = locations[0]
    found = split_names(location, config)
    for split in ("train", facts.validation):
        if split not in found:
            raise DataError(
                f"{location.name}: expected a split {split!r}, found {', '.join(found)}; give files in its "
                "place (`task.data` FILE `task.validation` FILE), or name the split in the folder's README.md"
            )
    for split in ("train", facts.validation, facts.test):
        if split in found:
            yield split, location


def _read(
    location: Location, config: str | None, split: str, facts: TaskFacts, task: Task, labelled: bool
) -> _Raw:
    """Reads texts and labels of a split; where it is not `labelled`, the column may be missing."""
    table, name = open_table(location, config, split), f"{location.name} ({split})"
    kind = {"train": "training", facts.validation: "validation", facts.test: "test"}.get(split, split)
    place = f"{task.name}, {location.name}: {kind}"
    texts: list[tuple[str, ...]] = []
    labels: list[Any] = []
    joined: list[str] = []
    for number, row in enumerate(table.rows(), start=1):
        if facts.tagging:
            texts.append(checked_words(row, facts.columns[0], number, name))
        else:
            texts.append(tuple(checked_text(row, column, number, name) for column in facts.columns))
        # A single column may have a + in its name.
        if facts.multi_label and task.label not in row:
            joined = task.label.split("+")
        missing = [column for column in joined or [task.label] if column not in row]
        if missing and labelled:
            others = [other for other in row if other not in (*facts.columns, _NUMBER)]
            remedy = f"name it with `task.label` {nearest(missing[0], others, 1)}" if others else "add it"
            raise DataError(
                f"{name}: expected a label column {missing[0]!r}, found {', '.join(map(repr, row))}; {remedy}"
            )
        if missing:
            # A test split without the column is one whose labels are withheld.
            labels.append(None)
        elif joined:
            labels.append(list_of_columns({column: row[column] for column in joined}, number, place))
        elif facts.tagging:
            labels.append(checked_tags(row[task.label], texts[-1], number, place))
        else:
            label = row[task.label]
            labels.append(list_of(label, number, place) if facts.multi_label else label)
    if not texts:
        raise DataError(f"{name}: expected rows, found none; check the file or split")
    return _Raw(texts, labels, tuple(joined) or table.class_names.get(task.label, ()), place)


def _require_variety(train: LabelledRows, facts: TaskFacts, place: str) -> None:
    if facts.multi_label and len(facts.labels) < 2:
        raise LabelError(
            f"{place}: expected several classes, got {', '.join(facts.labels) or 'none'}; leave out "
            "`task.multi_label` where a row has one class"
        )
    labels = _each(train.labels)
    if len(np.unique(labels, axis=0)) < 2:
        first = labels[0]
        found: Any = first.item() if first.ndim == 0 else first
        if facts.multi_label:
            found = [name for name, is_one in zip(facts.labels, first, strict=True) if is_one]
        elif facts.labels:
            found = facts.labels[int(first)]
        raise LabelError(
            f"{place}: expected training labels of at least two kinds, got {found!r} in all "
            f"{len(train.texts)} rows; there is nothing to learn"
        )
