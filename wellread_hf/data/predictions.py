"""Predictions in files of the form that GLUE's server takes: a header, then `index<TAB>prediction` a row.

Class names for the sets that the server wants them for, class numbers for the others, a score in regression.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import DataError
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS

PREDICTION, LABEL = "prediction", "label"
# Where STS-B's labels lie; its server's own baseline moves what is outside to the nearest end.
LOWEST_SCORE, HIGHEST_SCORE = 0.0, 5.0


@dataclass(frozen=True, slots=True)
class Predictions:
    """What was said of the rows of one of `GLUE_SETS`.

    Attributes:
        name: The set.
        values: A class number, or a score in regression, by GLUE's number of the row.
    """

    name: str
    values: Mapping[int, float]

    @property
    def text(self) -> str:
        """The file, rows by rising number."""
        written = _writer(self.name)
        lines = [f"{index}\t{written(self.values[index])}" for index in sorted(self.values)]
        return "\n".join([f"index\t{PREDICTION}", *lines]) + "\n"


def file_name(name: str, split: str) -> str:
    """Names the file of stored predictions of a set, `split` being `dev` or `test`."""
    return f"predictions-{name}-{split}.tsv"


def predictions_of(name: str, index: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> Predictions:
    """Joins row numbers [n] and predictions [n]."""
    return Predictions(name, dict(zip(index.tolist(), values.tolist(), strict=True)))


def within_scale(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Moves a regression's scores to the ends of its scale; classes stay as they are."""
    return values if GLUE_TASKS[GLUE_SETS[name].task].labels else values.clip(LOWEST_SCORE, HIGHEST_SCORE)


def parse(text: str, name: str, source: str, column: str = PREDICTION) -> Predictions:
    """Reads a file of predictions, or of labels.

    Args:
        text: What stands in it.
        name: The set, one of `GLUE_SETS`.
        source: Name of the file, for errors.
        column: `prediction` or `label`, the second word of the header.

    Raises:
        DataError: The header or a line is of another form, a value is none of the set's, or a row is
            there twice.
    """
    head, *lines = text.splitlines() or [""]
    if head != f"index\t{column}":
        raise DataError(
            f"{source}: expected the first line 'index<TAB>{column}', got {head!r:.60}; correct the file"
        )
    labels = GLUE_TASKS[GLUE_SETS[name].task].labels
    known = {_writer(name)(number): number for number in range(len(labels))}
    values: dict[int, float] = {}
    for number, line in enumerate(lines, start=2):
        index, tab, value = line.partition("\t")
        # Python refuses to read numbers of thousands of digits; QQP, the largest, has 390,965 rows.
        if not tab or not (index.isascii() and index.isdecimal() and len(index) < 10):
            raise DataError(
                f"{source}, line {number}: expected a row's number, a tab and its {column}, got {line!r:.60}"
            )
        if int(index) in values:
            raise DataError(f"{source}, line {number}: row {index} is there twice; leave out one of the two")
        parsed = known.get(value) if labels else _score(value)
        if parsed is None:
            wanted = " or ".join(known) if labels else f"a score of {LOWEST_SCORE:g} to {HIGHEST_SCORE:g}"
            raise DataError(f"{source}, line {number}: expected {wanted} as {column}, got {value!r:.60}")
        values[int(index)] = parsed
    return Predictions(name, values)


def check_test_rows(predictions: Predictions, source: str) -> None:
    """Refuses predictions that are not of GLUE's test rows, each once.

    Raises:
        DataError: Rows are missing or too many, or a score is off its scale.
    """
    expected = GLUE_SETS[predictions.name].test_rows
    missing = [index for index in range(expected) if index not in predictions.values]
    extra = [index for index in predictions.values if index >= expected]
    if missing or extra:
        words = [f"{len(missing)} missing (the first is row {missing[0]})"] if missing else []
        words += [f"{len(extra)} too many (the first is row {extra[0]})"] if extra else []
        raise DataError(
            f"{source}: expected predictions for the {expected} test rows of "
            f"{GLUE_SETS[predictions.name].title}, 0 to {expected - 1}, got {len(predictions.values)}: "
            f"{' and '.join(words)}; predict GLUE's own test split"
        )
    if GLUE_TASKS[GLUE_SETS[predictions.name].task].labels:
        return
    for index, value in predictions.values.items():
        if not LOWEST_SCORE <= value <= HIGHEST_SCORE:
            raise DataError(
                f"{source}: expected scores of {LOWEST_SCORE:g} to {HIGHEST_SCORE:g}, got {value:g} for row "
                f"{index}; move what is outside to the nearest end"
            )


def _score(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    # `float` reads `nan` and `inf` as well, which are no scores.
    return number if math.isfinite(number) else None


def _writer(name: str) -> Callable[[float], str]:
    """Returns the function that writes a set's values."""
    labels = GLUE_TASKS[GLUE_SETS[name].task].labels
    if not labels:
        # The shortest text that reads back as the same fp32 number, without an exponent.
        return lambda value: np.format_float_positional(np.float32(value), trim="0")
    if GLUE_SETS[name].words:
        return lambda value: labels[int(value)]
    return lambda value: str(int(value))
