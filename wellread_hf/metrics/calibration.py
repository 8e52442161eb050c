"""How far a classifier's probabilities can be believed, and the temperature that corrects them.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks": logits are divided by one temperature,
fitted by the negative log-likelihood; the expected calibration error (ECE) has 15 bins of equal width of the
confidence. Predictions do not change.

For independent classes (multi-label) every class of a row is a decision of its own, with a sigmoid. A
regression has no probabilities.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, softmax

Array = npt.NDArray[Any]

_BINS = 15
# Of which all but one are fitted on: nearly what is fitted on all rows in the end.
_PARTS = 10
# Where a few rows are all predicted rightly the likelihood rises for ever; published temperatures are 1 to 3.
_COLDEST, _HOTTEST = 0.1, 10.0


@dataclass(frozen=True, slots=True)
class Bin:
    """Decisions of like confidence."""

    confidence: float  # mean, 0 to 1
    accuracy: float  # share of right ones, 0 to 1
    decisions: int


def probabilities(logits: Array, multi_label: bool = False, temperature: float | Array = 1.0) -> Array:
    """Returns the probabilities [n, classes] that logits [n, classes] stand for."""
    given = np.asarray(logits, np.float64) / temperature
    return np.asarray(expit(given) if multi_label else softmax(given, axis=1))


def fit_temperature(logits: Array, labels: Array) -> float:
    """Returns the temperature, 0.1 to 10, under which the labels are most likely.

    Args:
        logits: [n, classes].
        labels: Class numbers [n], or indicators of independent classes [n, classes].
    """
    given = np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        scaled = given / np.exp(log_temperature)
        if labels.ndim == 2:
            return -float(log_expit(np.where(labels == 1, scaled, -scaled)).mean())
        return -float(log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean())

    # Convex in 1 / T, so there is one minimum.
    bounds = log(_COLDEST), log(_HOTTEST)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def cross_fit(rows: int) -> Iterator[tuple[Array, Array]]:
    """Yields pairs of masks [n]: rows to fit on, nine in ten, and the others to check on; each row once."""
    part = np.random.default_rng(0).permutation(rows) % min(_PARTS, rows)
    return ((part != own, part == own) for own in np.unique(part))


def cross_fitted(logits: Array, labels: Array) -> Array:
    """Returns a temperature for each row [n, 1], fitted on other rows."""
    found = np.empty((len(labels), 1))
    for fitted, rest in cross_fit(len(labels)):
        found[rest] = fit_temperature(logits[fitted], labels[fitted])
    return found


def reliability(given: Array, labels: Array) -> list[Bin]:
    """Sorts decisions into 15 bins of equal width by their confidence; empty bins are left out.

    Args:
        given: Probabilities [n, classes].
        labels: Class numbers [n], or indicators of independent classes [n, classes].
    """
    if labels.ndim == 2:
        confidence = np.maximum(given, 1 - given).ravel()
        right = ((given > 0.5) == (labels == 1)).ravel()
    else:
        confidence, right = given.max(axis=1), given.argmax(axis=1) == labels
    # A confidence of 1 belongs to the last bin.
    number = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    members = (number == each for each in np.unique(number))
    return [
        Bin(float(confidence[here].mean()), float(right[here].mean()), int(here.sum())) for here in members
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Returns the ECE, 0 to 1: the mean distance of confidence and accuracy over all decisions."""
    distances = [abs(each.confidence - each.accuracy) for each in bins]
    return float(np.average(distances, weights=[each.decisions for each in bins]))


def calibration(logits: Array, labels: Array) -> dict[str, Any] | None:
    """Fits a temperature on all rows, and measures it on rows that it was not fitted on.

    Args:
        logits: [n, outputs].
        labels: Class numbers [n], indicators of independent classes [n, classes], or values [n].

    Returns:
        `temperature`; `ece_before` and `ece_after`, 0 to 1, the latter cross-fitted: each tenth of the rows
        under the temperature of the others; `bins`, as lists of `Bin`s, `before` and `after`; `rows`.
        None for a regression, and for fewer than two rows.
    """
    if (logits.shape[1] == 1 and labels.ndim == 1) or len(labels) < 2:
        return None
    several = labels.ndim == 2
    bins = {
        name: reliability(probabilities(logits, several, temperature), labels)
        for name, temperature in (("before", 1.0), ("after", cross_fitted(logits, labels)))
    }
    return {
        "temperature": fit_temperature(logits, labels),
        "ece_before": calibration_error(bins["before"]),
        "ece_after": calibration_error(bins["after"]),
        "bins": {name: [asdict(each) for each in found] for name, found in bins.items()},
        "rows": len(labels),
    }
