"""How far a score depends on the rows it was measured on: the jackknife over groups of rows.

It serves any metric, one that is no mean over rows too, and errs on the safe side (Efron and Stein 1981).
"""

from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.metrics.scores import scores_of

Array = npt.NDArray[Any]

# More groups of rows cost time, and Student's t at 49 degrees of freedom is nearly the normal.
_GROUPS = 50


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
