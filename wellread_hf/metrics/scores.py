"""From a classifier's logits to predictions and scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.metrics.finite import require_finite
from wellread_hf.metrics.per_class import by_class, class_of

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
    require_finite("model's outputs", logits)
    if multi_label:
        # Of logits, without rounding: a sigmoid is above 0.5 where its logit is above 0.
        return np.asarray(logits > np.log(THRESHOLD / (1 - THRESHOLD)), dtype=np.int64)
    return logits[:, 0] if logits.shape[1] == 1 else logits.argmax(axis=1)


def scores(metrics: Sequence[str], logits: Array, labels: Array) -> dict[str, float]:
    """Scores logits [n, classes] against labels [n], multi-label ones [n, classes]; see `scores_of`."""
    return scores_of(metrics, predictions_from(logits, labels.ndim == 2), labels)


def scores_of(metrics: Sequence[str], predictions: Array, labels: Array) -> dict[str, float]:
    """Scores predictions [n] against labels [n]; see `GlueMetric.score`."""
    # `evaluate` takes seconds to import, and commands that score nothing import this module.
    from wellread_hf.metrics.glue_metric.glue_metric import GlueMetric

    return GlueMetric.score(metrics, predictions, labels)


def per_class(logits: Array, labels: Array, names: Sequence[str]) -> dict[str, Any]:
    """Returns what a record has of logits [n, classes] by class (`by_class`); nothing of values."""
    if not names:
        return {}
    return {"per_class": by_class(predictions_from(logits, labels.ndim == 2), labels, names)}


def metric_at(name: str) -> str:
    """Returns a metric's name for people, with its class, or the threshold of several classes a row."""
    if (of := class_of(name)) is not None:
        return f"F1 of {of[1]}"
    # Macro F1 is also a metric of tasks with one class a row, and stands beside this one elsewhere.
    return f"{name} at threshold {THRESHOLD}" if name == "f1_micro" else name
