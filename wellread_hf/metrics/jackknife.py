"""How far a score depends on the rows it was measured on: the jackknife over groups of rows; intervals.

The jackknife serves any metric, one that is no mean over rows too, and errs on the safe side (Efron and
Stein 1981).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from wellread_hf.metrics.scores import scores_of

Array = npt.NDArray[Any]

# More groups of rows cost time, and Student's t at 49 degrees of freedom is nearly the normal.
_GROUPS = 50
# One tail of a two-sided 95 % interval.
TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends of its two-sided 95 % interval."""

    mean: float
    low: float
    high: float


def scored(predictions: Array, labels: Array, metric: str) -> Array:
    """Scores a run in percent [1 + groups]: on all rows, and without each group of rows.

    The groups are the same for all runs on the same rows.

    Args:
        predictions: One a row.
        labels: The truth.
        metric: One of `METRICS`.
    """
    rows = np.random.default_rng(0).permutation(len(labels))
    groups = np.array_split(rows, min(_GROUPS, len(rows)))
    kept = [np.ones(len(rows), dtype=bool) for _ in range(len(groups) + 1)]
    for left_in, group in zip(kept[1:], groups, strict=True):
        left_in[group] = False
    return np.array([100 * scores_of([metric], predictions[each], labels[each])[metric] for each in kept])


def row_error(without: Array) -> tuple[float, float]:
    """Returns a jackknife's standard error and its degrees of freedom.

    Args:
        without: What is estimated, without each group of rows [groups].
    """
    groups = len(without)
    return sqrt((groups - 1) * without.var()), groups - 1


def half_width(errors: Sequence[tuple[float, float]], tail: float = TAIL) -> float:
    """Returns how far an interval reaches to either side, where several things are drawn.

    The root of the sum of (t * error)^2 has at least its level for any ratio of the errors (Banerjee 1960).

    Args:
        errors: Standard error and degrees of freedom of each source, e.g. seeds and rows.
        tail: Share of the draws beyond one end.
    """
    return hypot(*(float(stdtrit(freedom, tail)) * error for error, freedom in errors))


def interval(scored: Array) -> Interval:
    """Returns the mean over seeds with its interval over seeds and rows.

    Of one seed the spread over seeds is not known, and the rows alone make the interval.

    Args:
        scored: Scores, or differences of scores on the same rows, as `scored` gives them
            [seeds, 1 + groups].
    """
    by_seed, without = scored[:, 0], scored[:, 1:].mean(axis=0)
    errors = [row_error(without)] if len(without) > 1 else []
    if len(by_seed) > 1:
        errors.append((sqrt(by_seed.var(ddof=1) / len(by_seed)), len(by_seed) - 1))
    mean, half = float(by_seed.mean()), half_width(errors)
    return Interval(mean, mean - half, mean + half)
