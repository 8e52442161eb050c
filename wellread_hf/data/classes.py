"""Which classes a task has, and which of them a label means: one rule for every format.

Formats differ in what they can say: CSV has text alone, JSON keeps numbers and booleans apart from it, pandas
makes floats of integers beside a missing one. So labels are compared by what they mean: numbers by value
(`"0.0"`, `0` and `0.0` are one class), booleans too (`"true"` and `True`), all else by its text as it is.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import LabelError, listed

# `01` and `1e3` are codes, not numbers; longer ones are no names of classes.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,30})(\.\d{0,30})?", re.ASCII)
_BOOLEANS = {"false": False, "true": True}
# What programs write for a missing value; a class of that name is one among other words, not among numbers.
_MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nil"}
# Those of a test set that are withheld on the Hub, and those that PyTorch's losses leave out.
_WITHHELD = {-1, -100}
# A class needs rows to be learnt from: two on average, of more than a handful of classes.
_HANDFUL = 10
# Characters of a name; what is longer is a text.
_LONGEST_NAME = 256

# The number of a row, from 1, and a label of it.
Numbered = tuple[int, Any]


def is_missing(label: Any) -> bool:
    """Returns whether a label stands for none: empty, null, NaN, or -1 or -100 for one that is withheld."""
    if isinstance(label, str):
        return not label.strip() or number_of(label) in _WITHHELD
    value = _plain(label)
    return value is None or (isinstance(value, float) and math.isnan(value)) or number_of(label) in _WITHHELD


def number_of(label: Any) -> int | float | None:
    """Reads a label that is a finite number, as number or as text; whole ones as int."""
    value = _plain(label)
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            return None
        value = int(value) if value.lstrip("+-").isdecimal() else float(value)
    # In Python True is an int; here it is a class of another kind.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        return (int(value) if value.is_integer() else value) if math.isfinite(value) else None
    return value


def _plain(label: Any) -> Any:
    """Takes a number out of NumPy's and Arrow's own types."""
    if isinstance(label, np.generic):
        return label.item()
    if isinstance(label, Decimal):
        return int(label) if label == label.to_integral_value() else float(label)
    return label


def boolean_of(label: Any) -> bool | None:
    """Reads a label that is a boolean, as such or as text."""
    value = _plain(label)
    if isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def classes_in(labels: Sequence[Any], place: str) -> tuple[str, ...]:
    """Names the classes of a task whose settings name none: the distinct labels, in order.

    Labels that are missing, or of another kind than the others, make no class; `numbers_of_classes` refuses
    them by row.

    Args:
        labels: All labels of the training rows.
        place: What the rows are called in an error.

    Raises:
        LabelError: There is no class, two classes differ in case or blanks alone, or there are more classes
            than rows to learn them from.
    """
    kinds = Counter(_kind(label) for label in labels)
    known = [label for _, label in kinds if not is_missing(label)]
    if all(boolean_of(label) is not None for label in known):
        found = [str(value) for value in sorted({bool(boolean_of(label)) for label in known})]
    elif any(map(_is_number, known)) and all(_is_number(label) or _says_missing(label) for label in known):
        # 1.5 is no class: a column of such numbers is for regression.
        numbers = {value for value in map(number_of, known) if isinstance(value, int)}
        found = [str(value) for value in sorted(numbers)]
    else:
        words = {label if isinstance(label, str) else number_of(label) for label in known}
        # Sorted, so that the numbers of classes do not depend on the order of rows.
        found = sorted(str(word) for word in words if word is not None)
    if not found:
        raise LabelError(
            f"{place}: expected classes (words or whole numbers) as training labels, got "
            f"{shown(labels[0]) if labels else 'none'}; name the column with `task.label`, or give "
            "`task.regression` for numbers, `task.multi_label` for lists of classes"
        )
    if len(longest := max(found, key=len)) > _LONGEST_NAME:
        raise LabelError(
            f"{place}: expected names of classes as labels, got one of {len(longest):,} characters "
            f"({shown(longest)}); name the column of the classes with `task.label`"
        )
    most = max(_HANDFUL, len(labels) // 2)
    if len(found) > most:
        raise LabelError(
            f"{place}: expected at most {most} classes of {len(labels)} labels, two or more of each to learn "
            f"from, got {len(found)} ({listed(found)}); name the column of the classes with `task.label`, "
            "give `task.regression` for numbers, or name all classes with `task.labels`"
        )
    _refuse_twins(found, place)
    return tuple(found)


def _kind(label: Any) -> tuple[type, Any]:
    """Returns what equal labels of one type have in common; nothing of what can be no class."""
    return type(label), label if isinstance(label, str | int | float | Decimal | np.generic) else None


def _is_number(label: Any) -> bool:
    # Infinity is one, too, that is no class.
    return number_of(label) is not None or isinstance(_plain(label), float)


def _says_missing(label: Any) -> bool:
    return isinstance(label, str) and label.strip().lower() in _MISSING


def _refuse_twins(names: Sequence[str], place: str) -> None:
    known: dict[str, str] = {}
    for name in names:
        value = number_of(name.lstrip("0") or "0")
        plain = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        twin = known.setdefault(plain if value is None else str(value), name)
        if twin != name:
            # Those that look alike are shown by their code points.
            show = (
                ascii if unicodedata.normalize("NFKC", twin) == unicodedata.normalize("NFKC", name) else repr
            )
            raise LabelError(
                f"{place}: expected classes that differ in more than case, blanks or leading zeros, got "
                f"{show(twin)} and {show(name)}; write them alike, or name all classes with `task.labels`"
            )


def numbers_of_classes(
    labels: Sequence[Numbered], names: Sequence[str], stated: bool, place: str
) -> npt.NDArray[np.int64]:
    """Finds which class each label means [n].

    A class of that name comes first: classes named 1 to 5 are not numbered so. Where none is a number, a
    whole number is taken for the position of a class, if their order was `stated`.

    Raises:
        LabelError: A label is missing or none of the task's.
    """
    known: dict[tuple[str, Any], int] = {}
    for place_of, name in enumerate(names):
        for meaning in _meanings(name):
            known.setdefault(meaning, place_of)
    # A number means a class by its place only where somebody gave the order, and no name is a number.
    by_place = stated and all(number_of(name) is None for name in names)
    found = []
    seen: dict[tuple[type, Any], int] = {}
    for row, label in labels:
        # Of a million labels few differ.
        if (kind := _kind(label)) in seen:
            found.append(seen[kind])
            continue
        number = next((known[meaning] for meaning in _meanings(label) if meaning in known), None)
        value = number_of(label)
        if number is None and by_place and isinstance(value, int) and 0 <= value < len(names):
            number = value
        if number is None:
            also = f" (or 0 to {len(names) - 1})" if by_place else ""
            remedy = "correct or leave out the row"
            if isinstance(value, float):
                remedy += ", or give `task.regression` for numbers"
            elif value in _WITHHELD:
                remedy += ": it stands for a withheld label, unless `task.labels` names it as a class"
            raise LabelError(
                f"{place} row {row}: expected a label among {listed(names)}{also}, got "
                f"{shown(label)}; {remedy}"
            )
        seen[kind] = number
        found.append(number)
    return np.array(found, dtype=np.int64)


def _meanings(label: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(label, str):
        yield "text", label
    if (truth := boolean_of(label)) is not None:
        yield "boolean", truth
    if (value := number_of(label)) is not None:
        yield "number", value


def values_of(labels: Sequence[Numbered], place: str) -> npt.NDArray[np.float32]:
    """Reads the numbers of a regression [n].

    Raises:
        LabelError: A label is none.
    """
    found = []
    for row, label in labels:
        try:
            # Python would read `1_0` as 10, which no table means.
            number = math.nan if isinstance(label, str) and "_" in label else float(label)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        # Labels are kept in fp32, where larger numbers are infinite.
        # Not `>`: NaN has to be refused, and compares with nothing.
        if not abs(number) <= np.finfo(np.float32).max:
            raise LabelError(
                f"{place} row {row}: expected a number as label, got {shown(label)}; "
                "correct or leave out the row"
            )
        found.append(number)
    return np.array(found, dtype=np.float32)


def with_names(labels: Iterable[Any], names: Sequence[str], classes: Sequence[str], given: bool) -> list[Any]:
    """Puts names in the place of the numbers that `ClassLabel` stores.

    Args:
        labels: As they were read: numbers, lists of numbers, or names already.
        names: Those of the file or data set that the labels are from.
        classes: The task's.
        given: Whether the settings name these; where they differ, they are in the order of the numbers.
            Names of another file may come in any order.
    """
    if given and len(classes) == len(names) and set(classes) != set(names):
        names = classes
    elif not set(classes) & set(names) and all(number_of(name) is not None for name in classes):
        # They were found in a file that has numbers alone.
        return list(labels)

    def named(label: Any) -> Any:
        if isinstance(label, list):
            return [named(each) for each in label]
        known = isinstance(label, int) and 0 <= label < len(names)
        return names[label] if known else label

    return [named(label) for label in labels]


def counted(labels: npt.NDArray[Any], names: Sequence[str]) -> Mapping[str, int]:
    """Counts the rows of each class: of class numbers [n], or of indicators [n, classes]."""
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def shown(label: Any) -> str:
    """Quotes a label in an error, however long it is."""
    if isinstance(label, str):
        return repr(label[:60])
    return f"{label!r:.60}"
