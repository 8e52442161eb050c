"""Which columns of a table hold soft labels, and which class each number is for: by name, never by place."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wellread_hf.data.classes import is_missing, numbers_of_classes, shown, with_names
from wellread_hf.data.files import Row
from wellread_hf.errors import DataError, LabelError, listed, nearest
from wellread_hf.labelling.teacher_classes import match_labels, plain_name
from wellread_hf.settings import Imported
from wellread_hf.tasks import TaskFacts

_JSON = ("{", "[")


class Fault(Exception):
    """What is wrong with a row.

    Args:
        expected: What every row should have.
        got: What this one has.
    """

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected, got)
        self.expected, self.got = expected, got


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftColumns:
    """The columns of a table that hold soft labels.

    Attributes:
        facts: The task's classes.
        kind: As `Imported.kind`.
        columns: The columns: one a class in the task's order, one with all classes, or one an annotator.
        per_class: Whether each column is a class's.
        items: For each class, its place in a list; None where the order of lists is not known.
        stated: Whether a whole number may stand for the class at that place.
        names: Class names that the data set has for a column, whose values are numbers of them.
    """

    facts: TaskFacts
    kind: str
    columns: tuple[str, ...]
    per_class: bool
    items: Sequence[int] | None
    stated: bool
    names: Mapping[str, tuple[str, ...]]
    _known: dict[tuple[type, Any], int] = field(default_factory=dict)

    def numbers(self, row: Row) -> list[float]:
        """Reads a row's numbers, one a class in the task's order; NaN for a class that is not listed.

        Raises:
            Fault: There are none, or they are not as they should be.
        """
        if not self.facts.labels:
            return [self._number(row.get(self.columns[0]), "a number")]
        if self.per_class:
            return [self._of_class(row.get(column), column) for column in self.columns]
        if len(self.columns) > 1:
            return self._counted([self._named(column, row.get(column)) for column in self.columns])
        (column,) = self.columns
        found = _decoded(row.get(column))
        if _is_answer(found):
            found = [(each["label"], each["score"]) for each in found]
        # Arrow's maps come as lists of pairs.
        if isinstance(found, list) and found and all(isinstance(each, tuple) for each in found):
            found = dict(found)
        if isinstance(found, dict):
            return self._of_dictionary(found)
        if self.kind == "votes":
            # One vote a row is the table of an annotation tool.
            votes = self._named(column, found)
            return self._counted(votes if isinstance(votes, list) else [votes])
        if isinstance(found, list):
            return self._of_list(found)
        raise Fault(
            f"a dictionary of numbers by class or a list of them in column {column!r} (in CSV as JSON text)",
            shown(found),
        )

    def _of_class(self, value: Any, name: str) -> float:
        if _is_empty(value) and self.kind in ("top-k", "votes"):
            return math.nan if self.kind == "top-k" else 0.0
        return self._number(value, f"a number for {name!r}")

    def _number(self, value: Any, expected: str) -> float:
        if _is_empty(value):
            raise Fault(expected, "none")
        try:
            # Python would read `1_0` as 10, and True as 1, which no table means.
            strange = isinstance(value, bool) or (isinstance(value, str) and "_" in value)
            found = math.nan if strange else float(value)
        except (TypeError, ValueError, OverflowError):
            strange = True
        if strange:
            raise Fault(expected, shown(value))
        if not math.isfinite(found):
            raise Fault("finite numbers", shown(value))
        return found

    def _of_dictionary(self, found: Mapping[Any, Any]) -> list[float]:
        values: dict[int, Any] = {}
        for label, value in found.items():
            number = self._class(label)
            if number in values:
                raise Fault("each class once", f"{shown(label)} twice")
            values[number] = value
        return [self._of_class(values.get(number), name) for number, name in enumerate(self.facts.labels)]

    def _of_list(self, found: Sequence[Any]) -> list[float]:
        if self.items is None:
            raise LabelError(
                "`imported.source` has lists, whose order of classes is not known; name the classes in that "
                "order with `label.teacher_labels`, or with `task.labels`"
            )
        if len(found) != len(self.items):
            raise Fault(f"lists of {len(self.items)} numbers", f"one of {len(found)}")
        return [self._of_class(found[place], self.facts.labels[number])
                for number, place in enumerate(self.items)]  # fmt: skip

    def _named(self, column: str, votes: Any) -> Any:
        """Puts names in the place of a data set's numbers of classes."""
        names = self.names.get(column)
        return with_names([votes], names, self.facts.labels, self.stated)[0] if names else votes

    def _counted(self, votes: Sequence[Any]) -> list[float]:
        counts = [0.0] * len(self.facts.labels)
        for vote in votes:
            # An annotator may leave out a row.
            if not is_missing(vote):
                counts[self._class(vote)] += 1
        return counts

    def _class(self, label: Any) -> int:
        """Returns the number of the class that a label means."""
        key = (type(label), label if isinstance(label, str | int | float) else repr(label))
        if key not in self._known:
            self._known[key] = self._found(label)
        return self._known[key]

    def _found(self, label: Any) -> int:
        plain = [plain_name(name) for name in self.facts.labels]
        if isinstance(label, str) and label not in self.facts.labels and plain.count(plain_name(label)) == 1:
            return plain.index(plain_name(label))
        try:
            return int(numbers_of_classes([(0, label)], self.facts.labels, self.stated, "")[0])
        except LabelError:
            raise Fault(f"classes among {listed(self.facts.labels)}", shown(label)) from None


def find_columns(
    imported: Imported,
    facts: TaskFacts,
    found: Sequence[str],
    label: str,
    named: Sequence[str],
    stated: bool,
    names: Mapping[str, tuple[str, ...]],
) -> SoftColumns:
    """Finds the columns of soft labels by the names of a table's columns.

    Args:
        imported: What is known of the table.
        facts: The task's.
        found: The table's columns beside the texts.
        label: The task's column of labels, where a regression has its numbers.
        named: Names of the classes in the order of lists, or of the columns that are given.
        stated: Whether the order of the task's classes was stated.
        names: Class names that the data set has, by column.

    Raises:
        DataError: A column is missing.
        LabelError: The columns cannot be matched with the classes, or may be matched in several ways.
    """
    _check_kind(imported, facts)
    for column in imported.columns:
        if column not in found:
            raise DataError(
                f"`imported.columns` {column!r}: the table has {', '.join(map(repr, found)) or 'none'} "
                f"beside its texts; the nearest is {nearest(column, found, 1)}"
            )
    place = imported.source or ""
    items = match_labels(named, facts.labels, "the table") if named else None
    if items is None and stated:
        items = list(range(len(facts.labels)))
    columns: Sequence[str] | None = None
    if facts.labels:
        wanted = imported.columns or found
        if imported.columns and named and len(imported.columns) == len(named):
            columns = [imported.columns[place_of] for place_of in items or ()]
            if _of_classes(wanted, facts.labels, place) not in (None, columns):
                raise LabelError(
                    f"`label.teacher_labels` {' '.join(named)}: the columns {', '.join(wanted)} are named "
                    "after other classes; leave the names out"
                )
        else:
            columns = _of_classes(wanted, facts.labels, place)
    per_class = columns is not None
    if columns is None:
        columns = imported.columns or ([label] if not facts.labels and label in found else found)
        annotators = imported.kind == "votes" and bool(imported.columns)
        if len(columns) != 1 and not annotators:
            raise LabelError(_unmatched(columns, facts, place))
    return SoftColumns(
        facts=facts,
        kind=imported.kind,
        columns=tuple(columns),
        per_class=per_class,
        items=items,
        stated=stated,
        names=names,
    )


def _check_kind(imported: Imported, facts: TaskFacts) -> None:
    if facts.multi_label and imported.kind in ("top-k", "votes"):
        raise LabelError(
            f"`imported.kind` {imported.kind}: expected probabilities or logits for a task whose rows may "
            "have several classes; give a probability a class"
        )
    if facts.labels:
        return
    if imported.kind != "probabilities" or imported.temperature != 1 or imported.smoothing:
        raise LabelError(
            "the task is a regression, whose numbers are taken as they are; leave out `imported.kind`, "
            "`imported.temperature` and `imported.smoothing`"
        )


def _of_classes(columns: Sequence[str], classes: Sequence[str], place: str) -> list[str] | None:
    """Returns the column of each class; None where the columns are not named after the classes.

    They may share a beginning and an end: `p_pos`, `p_neg`. Columns of the classes' own names come first.
    """
    plain = all(len({*map(plain_name, names)}) == len(names) for names in (columns, classes))
    # Those that differ in case or marks alone are compared as they are.
    key = plain_name if plain else str
    known, ours = {key(column): column for column in columns}, [*map(key, classes)]
    affixes = sorted(
        {
            (column[:at], column[at + len(ours[0]) :])
            for column in known
            for at in range(len(column) - len(ours[0]) + 1)
            if column[at : at + len(ours[0])] == ours[0]
        },
        key=lambda affix: (len(affix[0]) + len(affix[1]), affix),
    )
    fits = [
        [known[before + name + after] for name in ours]
        for before, after in affixes
        if all(before + name + after in known for name in ours)
    ]
    if len(fits) > 1 and not set(ours) <= set(known):
        raise LabelError(
            f"{place}: expected one column a class, got {', '.join(fits[0])} and {', '.join(fits[1])}; "
            f"name those that are meant with `imported.columns` {' '.join(fits[0])}"
        )
    return fits[0] if fits else None


def _unmatched(columns: Sequence[str], facts: TaskFacts, place: str) -> str:
    what = f"a column for each of {', '.join(facts.labels)}" if facts.labels else "one column of numbers"
    return (
        f"{place}: expected {what} beside the texts, found {listed(columns)}; name the columns with "
        "`imported.columns`" + (", or one that has dictionaries" if facts.labels else "")
    )


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith(_JSON):
        try:
            return json.loads(value, object_pairs_hook=_without_twins)
        except (ValueError, RecursionError):
            return value
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Fault("each class once", shown([name for name, _ in pairs]))
    return found


def _is_answer(found: Any) -> bool:
    """Returns whether these are the classes and scores that a pipeline of transformers answers with."""
    return isinstance(found, list) and all(
        isinstance(each, dict) and each.keys() == {"label", "score"} for each in found
    )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
