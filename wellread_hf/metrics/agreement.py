"""Two sets of answers to the same rows: how often they agree, and what one scores below the other."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from wellread_hf.metrics.jackknife import interval, scored
from wellread_hf.metrics.scores import predictions_from

Array = npt.NDArray[Any]
AnswerKind = Literal["classification", "multi-label", "regression", "tagging"]


def agreement(ours: Any, reference: Any, kind: AnswerKind) -> float:
    """Returns the share of rows with the same answer, 0 to 1.

    That is the same class; of words the share of words with the same class; of independent classes, the
    share of all decisions. Values have no answer of their own: it is the share of pairs of rows of which both
    put the same one first (Kendall's tau, from 0).

    Args:
        ours: Logits [rows, outputs].
        reference: Those of the reference.
        kind: What the outputs are.
    """
    ours, reference = (predictions_from(logits, kind == "multi-label") for logits in (ours, reference))
    if kind == "regression":
        from scipy.stats import kendalltau

        return float(1 + kendalltau(ours, reference).statistic) / 2
    if kind == "tagging":
        return float(np.mean(ours.values == reference.values))
    return float(np.mean(ours == reference))


def score_drop(
    ours: Any, reference: Any, labels: Any, metric: str, kind: AnswerKind
) -> tuple[float, tuple[float, float]]:
    """Returns how far a metric, 0 to 1, lies below the reference's, and its 95 % interval.

    The rows are the same for both, so the interval is of the paired difference (`jackknife`).
    """
    multi = kind == "multi-label"
    theirs, mine = (scored(predictions_from(each, multi), labels, metric) for each in (reference, ours))
    drop = interval((theirs - mine)[None] / 100)
    return drop.mean, (drop.low, drop.high)
