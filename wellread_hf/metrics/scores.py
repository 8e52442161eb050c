"""From a classifier's logits to predictions and scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.metrics.finite import require_finite
from wellread_hf.metrics.per_class import by_class, class_of
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.metrics.tags import settled, tag_scores

Array = npt.NDArray[Any]

# A class of a multi-label task is predicted where its probability is above this.
THRESHOLD = 0.5


def predictions_from(logits: Any, multi_label: bool = False) -> Any:
    """Returns the class of the largest logit [n], or the value itself where there is one output.

    Args:
        logits: [n, classes]; or a `PerWord` of them, whose predictions are one, too: -1 where there are none.
        multi_label: Whether classes are independent; predictions are then 0 or 1 each, [n, classes].

    Raises:
        NotFiniteError: A logit is NaN or infinite; its row has no prediction.
    """
    if isinstance(logits, PerWord):
        numbers = np.full(len(logits.values), -1)
        seen = ~np.isnan(logits.values).all(axis=1)
        numbers[seen] = predictions_from(logits.values[seen]) if seen.any() else 0
        return PerWord(numbers, logits.offsets)
    require_finite("model's outputs", logits)
    if multi_label:
        # Of logits, without rounding: a sigmoid is above 0.5 where its logit is above 0.
        return np.asarray(logits > np.log(THRESHOLD / (1 - THRESHOLD)), dtype=np.int64)
    return logits[:, 0] if logits.shape[1] == 1 else logits.argmax(axis=1)


def scores(metrics: Sequence[str], logits: Any, labels: Any) -> dict[str, float]:
    """Scores logits [n, classes] against labels [n], multi-label ones [n, classes]; see `scores_of`."""
    return scores_of(metrics, predictions_from(logits, labels.ndim == 2), labels)


def scores_of(metrics: Sequence[str], predictions: Any, labels: Any) -> dict[str, float]:
    """Scores predictions [n] against labels [n]; see `GlueMetric.score`, and for words `tag_scores`."""
    if isinstance(labels, PerWord):
        return tag_scores(metrics, predictions, labels)
    # `evaluate` takes seconds to import, and commands that score nothing import this module.
    from wellread_hf.metrics.glue_metric.glue_metric import GlueMetric

    return GlueMetric.score(metrics, predictions, labels)


def per_class(logits: Any, labels: Any, names: Sequence[str]) -> dict[str, Any]:
    """Returns what a record has of logits [n, classes] by class (`by_class`); nothing of values."""
    if not names:
        return {}
    predictions = predictions_from(logits, labels.ndim == 2)
    if isinstance(labels, PerWord):
        predictions, labels = settled(predictions, labels).values, labels.values
    return {"per_class": by_class(predictions, labels, names)}


def metric_at(name: str) -> str:
    """Returns a metric's name for people, with its class, or the threshold of several classes a row."""
    if (of := class_of(name)) is not None:
        return f"F1 of {of[1]}"
    # Macro F1 is also a metric of tasks with one class a row, and stands beside this one elsewhere.
    return f"{name} at threshold {THRESHOLD}" if name == "f1_micro" else name
