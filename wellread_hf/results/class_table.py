"""The table of a classifier's scores by class."""

from collections.abc import Mapping, Sequence
from typing import Any

from wellread_hf.results.tables import Table

# Two classes are uneven where one has more than this many times the rows of the other.
_UNEVEN = 3
# Of more classes the worst are shown.
_MOST = 20


def class_table(per_class: Sequence[Mapping[str, Any]]) -> Table | None:
    """Tables a record's `per_class`; None where there is none, or two even classes.

    Args:
        per_class: As `metrics.per_class.by_class` returns it.
    """
    counts = [each["rows"] for each in per_class]
    if not per_class or (len(per_class) == 2 and max(counts) <= _UNEVEN * min(counts)):
        return None
    shown, notes = per_class, []
    if len(per_class) > _MOST:
        shown = sorted(per_class, key=lambda each: each["f1"])[:_MOST]
        notes = [f"the {_MOST} of {len(per_class)} classes with the lowest F1; the record has all"]
    rows = [
        [
            each["class"],
            f"{each['rows']:,}",
            *(f"{100 * each[name]:.1f}" for name in ("precision", "recall", "f1")),
        ]
        for each in shown
    ]
    return Table(["class", "labels", "precision (%)", "recall (%)", "F1 (%)"], rows, notes)
