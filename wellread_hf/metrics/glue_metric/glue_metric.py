"""The package's metrics as an `evaluate` module: every score comes from here, without a network.

`evaluate.load(FOLDER_OF_THIS_FILE, "mrpc").compute(predictions=[1, 0], references=[1, 1])`; the configuration
is one of GLUE's tasks, `mnli_mismatched` or `ax`. `evaluate` reads the imports below as text and runs a copy
of this file from its cache, so they are absolute and stand one a line. scikit-learn and SciPy do the
arithmetic.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

from wellread_hf.errors import DataError, UnknownNameError, nearest
from wellread_hf.metrics.finite import require_finite
from wellread_hf.metrics.per_class import class_of
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS

Array = npt.NDArray[Any]


class GlueMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """Scores class numbers, or values in regression (`stsb`), 0 to 1 (correlations -1 to 1)."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in GLUE_SETS:
            raise UnknownNameError(
                f"expected a configuration among {', '.join(GLUE_SETS)}, got {self.config_name!r}; the "
                f"nearest is {nearest(str(self.config_name), GLUE_SETS, 1)}"
            )
        rows = GLUE_SETS[self.config_name]
        kind = datasets.Value("int64" if GLUE_TASKS[rows.task].labels else "float64")
        return evaluate.MetricInfo(
            description=f"{', '.join(rows.metrics)} as GLUE defines them for {rows.title}",
            citation="Wang et al. 2019, GLUE",
            inputs_description="predictions and references: class numbers, or values in regression",
            features=datasets.Features({"predictions": kind, "references": kind}),
        )

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        metrics = GLUE_SETS[str(self.config_name)].metrics
        return self.score(metrics, np.asarray(predictions), np.asarray(references))

    @staticmethod
    def score(metrics: Sequence[str], predictions: Array, labels: Array) -> dict[str, float]:
        """Scores arrays in memory: `compute` would first write them to an Arrow table, 8 ms for 1,000 rows.

        Where a metric is not defined it is 0: a correlation with a constant, F1 without a positive.

        Args:
            metrics: Names among `METRICS`, or of `f1_of_class`.
            predictions: Class numbers or values [n]; of multi-label tasks 0 or 1 for each class [n, classes].
            labels: The same of the truth.

        Raises:
            UnknownNameError: A metric is not known.
            DataError: There are no rows, or not as many predictions as labels.
            NotFiniteError: A prediction or label is NaN or infinite.
        """
        for name in metrics:
            if name not in METRICS and class_of(name) is None:
                raise UnknownNameError(
                    f"expected a metric among {', '.join(METRICS)}, got {name!r}; the nearest is "
                    f"{nearest(name, METRICS, 1)}"
                )
        if len(predictions) != len(labels) or len(labels) == 0:
            raise DataError(
                "expected one prediction a label and at least one of each, got "
                f"{len(predictions)} predictions for {len(labels)} labels; give both for the same rows"
            )
        require_finite("predictions", predictions)
        require_finite("labels", labels)
        return {name: _metric(name)(predictions, labels) for name in metrics}


def _accuracy(predictions: Array, labels: Array) -> float:
    return float(np.mean(predictions == labels))


def _f1(predictions: Array, labels: Array, average: str = "binary") -> float:
    from sklearn.metrics import f1_score

    # 0 is scikit-learn's own choice where F1 has no value, but with a warning at each evaluation.
    return float(f1_score(labels, predictions, average=average, zero_division=0))


def _f1_of_class(predictions: Array, labels: Array, number: int) -> float:
    one, truth = (
        of[:, number] if of.ndim == 2 else (of == number).astype(int) for of in (predictions, labels)
    )
    return _f1(one, truth)


def _matthews(predictions: Array, labels: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    # One class throughout is no correlation; scikit-learn would warn of it at each evaluation.
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(matthews_corrcoef(labels, predictions))


def _correlation(predictions: Array, labels: Array, function: str) -> float:
    import scipy.stats

    # A constant has no correlation with anything; 0, like Matthews, lets a run with such a start go on.
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    correlate = getattr(scipy.stats, function)
    found = float(correlate(predictions.astype(np.float64), labels.astype(np.float64)).statistic)
    # Values that differ by less than the arithmetic resolves are a constant too.
    return found if np.isfinite(found) else 0.0


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews_correlation": _matthews,
    "pearson": partial(_correlation, function="pearsonr"),
    "spearman": partial(_correlation, function="spearmanr"),
    # How F1 of the classes of a multi-label task becomes one number.
    "f1_micro": partial(_f1, average="micro"),
    "f1_macro": partial(_f1, average="macro"),
}


def _metric(name: str) -> Callable[[Array, Array], float]:
    of = class_of(name)
    return METRICS[name] if of is None else partial(_f1_of_class, number=of[0])
