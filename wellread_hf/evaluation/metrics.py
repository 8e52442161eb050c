"""The metrics of the tasks; scikit-learn and SciPy do the arithmetic."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import UnknownNameError, nearest

Array = npt.NDArray[Any]


def predictions_from(logits: Array) -> Array:
    """Returns the class of the largest logit [n], or the value itself where there is one output."""
    return logits[:, 0] if logits.shape[1] == 1 else logits.argmax(axis=1)


def scores(metrics: Sequence[str], logits: Array, labels: Array) -> dict[str, float]:
    """Scores logits [n, classes] against labels [n].

    Args:
        metrics: Names among `METRICS`.
        logits: The model's outputs.
        labels: Class numbers, or values for regression.

    Raises:
        UnknownNameError: A metric is not known.
    """
    predictions = predictions_from(logits)
    for name in metrics:
        if name not in METRICS:
            raise UnknownNameError(
                f"expected a metric among {', '.join(METRICS)}, got {name!r}; the nearest is "
                f"{nearest(name, METRICS, 1)}"
            )
    return {name: METRICS[name](predictions, labels) for name in metrics}


def _accuracy(predictions: Array, labels: Array) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, zero_division=0))


def _matthews(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

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
    return float(function(predictions.astype(np.float64), labels.astype(np.float64)).statistic)


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews_correlation": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
