"""Scores of each class, and one class's F1 as a metric."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


def f1_of_class(number: int, name: str) -> str:
    """Returns the metric that is F1 of one class: with its number, so that a record scores by itself."""
    return f"f1:{number}:{name}"


def class_of(metric: str) -> tuple[int, str] | None:
    """Returns number and name of the class that a metric is F1 of; None of any other metric."""
    kind, _, named = metric.partition(":")
    number, _, name = named.partition(":")
    return (int(number), name) if kind == "f1" and number.isdecimal() else None


def by_class(predictions: Array, labels: Array, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns rows, precision, recall and F1 of each class, 0 to 1, in the order of `names`.

    0 where a value is not defined: the precision of a class that is never predicted.

    Args:
        predictions: Class numbers [n], or 0 or 1 for each class [n, classes].
        labels: The same of the truth.
        names: Of the classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    numbers = range(len(names))
    found = precision_recall_fscore_support(labels, predictions, labels=numbers, zero_division=0)
    return [
        {"class": name, "rows": int(rows), "precision": precision, "recall": recall, "f1": f1}
        for name, precision, recall, f1, rows in zip(names, *(part.tolist() for part in found), strict=True)
    ]
