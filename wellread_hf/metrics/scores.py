"""The metrics of the tasks; scikit-learn and SciPy do the arithmetic."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import DataError, NotFiniteError, UnknownNameError, nearest

Array = npt.NDArray[Any]


# A class of a multi-label task is predicted where its probability is above this.
THRESHOLD = 0.5


def predictions_from(logits: Array, multi_label: bool = False) -> Array:
    """Returns the class of the largest logit [n], or the value itself where there is one output.

    Args:
        logits: [n, classes].
        multi_label: Whether classes are independent; predictions are then 0 or 1 each, [n, classes].

    Raises:
        NotFiniteError: A logit is NaN or infinite; its row has no prediction.
    """
    _require_finite("model's outputs", logits)
    if multi_label:
        # Of logits, without rounding: a sigmoid is above 0.5 where its logit is above 0.
        return np.asarray(logits > np.log(THRESHOLD / (1 - THRESHOLD)), dtype=np.int64)
    return logits[:, 0] if logits.shape[1] == 1 else logits.argmax(axis=1)


def scores(metrics: Sequence[str], logits: Array, labels: Array) -> dict[str, float]:
    """Scores logits [n, classes] against labels [n], multi-label ones [n, classes]; see `scores_of`."""
    return scores_of(metrics, predictions_from(logits, labels.ndim == 2), labels)


def metric_at(name: str) -> str:
    """Returns a metric's name, with the threshold of those that have one."""
    return f"{name} at threshold {THRESHOLD}" if name in _AVERAGES else name


def scores_of(metrics: Sequence[str], predictions: Array, labels: Array) -> dict[str, float]:
    """Scores predictions [n] against labels [n], of multi-label tasks 0 or 1 for each class [n, classes].

    Where a metric is not defined it is 0: a correlation with a constant, F1 without a positive.

    Args:
        metrics: Names among `METRICS`.
        predictions: Class numbers, or values for regression.
        labels: The same of the truth.

    Raises:
        UnknownNameError: A metric is not known.
        DataError: There are no rows, or not as many predictions as labels.
        NotFiniteError: A prediction or label is NaN or infinite.
    """
    for name in metrics:
        if name not in METRICS:
            raise UnknownNameError(
                f"expected a metric among {', '.join(METRICS)}, got {name!r}; the nearest is "
                f"{nearest(name, METRICS, 1)}"
            )
    if len(predictions) != len(labels) or len(labels) == 0:
        raise DataError(
            f"expected one prediction a label and at least one of each, got {len(predictions)} predictions "
            f"for {len(labels)} labels; give both for the same rows"
        )
    _require_finite("predictions", predictions)
    _require_finite("labels", labels)
    return {name: METRICS[name](predictions, labels) for name in metrics}


def _require_finite(what: str, values: Array) -> None:
    rows = values.reshape(len(values), -1).sum(axis=1)
    bad = np.flatnonzero(~np.isfinite(rows))
    if len(bad):
        raise NotFiniteError(
            f"expected finite {what}, got {rows[bad[0]]} in row {bad[0] + 1} ({len(bad)} such rows of "
            f"{len(values)}); a model that gives these is broken, train it again at a lower learning rate"
        )


def _accuracy(predictions: Array, labels: Array) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, zero_division=0))


def _f1_over_classes(average: str) -> Callable[[Array, Array], float]:
    def f1(predictions: Array, labels: Array) -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(labels, predictions, average=average, zero_division=0))

    return f1


def _matthews(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    # One class throughout is no correlation; scikit-learn would warn of it at each evaluation.
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(matthews_corrcoef(labels, predictions))


def _pearson(predictions: Array, labels: Array) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, labels)


def _spearman(predictions: Array, labels: Array) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, labels)


def _correlation(function: Callable[[Array, Array], Any], predictions: Array, labels: Array) -> float:
    # A constant has no correlation with anything; 0, like Matthews, lets a run with such a start go on.
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    found = float(function(predictions.astype(np.float64), labels.astype(np.float64)).statistic)
    # Values that differ by less than the arithmetic can see are a constant too.
    return found if np.isfinite(found) else 0.0


# How F1 of the classes of a multi-label task becomes one number.
_AVERAGES = {"f1_micro": "micro", "f1_macro": "macro"}
METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews_correlation": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
    **{name: _f1_over_classes(average) for name, average in _AVERAGES.items()},
}
