"""From what a table holds to logits: one form for probabilities, logits, log-probabilities and votes.

All is done in float64 and stored in fp32, so that probabilities and the logits that they were made of are
stored as the same numbers: of 48 million drawn ones, with standard deviations of 1 to 30, all but one were.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit

from wellread_hf.labelling.soft_labels import Logits

Array = npt.NDArray[np.float64]

# A probability of 0 has no finite logit. Smaller ones than fp32's smallest normal number are raised to it.
FLOOR = float(np.finfo(np.float32).tiny)

# Of 53; a softmax and a logarithm between them spoil the last six.
_BITS = 44


def log_probabilities(weights: Array) -> Array:
    """Returns the logarithms of a softmax [n, C] of logits, or of logarithms of probabilities.

    Exact to the last digits near 0 too, where `scipy.special.log_softmax` may lose some: a sure row has to
    be the same number whatever it is made of.

    Args:
        weights: [n, C]; -inf is a probability of 0.
    """
    top = weights.argmax(axis=-1)[:, None]
    # A difference may be too large for a number: it is then infinite, and its probability 0.
    with np.errstate(over="ignore"):
        below = weights - np.take_along_axis(weights, top, axis=-1)
    others = np.exp(below)
    np.put_along_axis(others, top, 0, axis=-1)
    return np.asarray(below - np.log1p(others.sum(axis=-1, keepdims=True)))


def single_label(weights: Array, temperature: float, smoothing: float) -> Logits:
    """Returns the logits [n, C] that are stored of classes that exclude each other.

    Args:
        weights: Logits, or logarithms of probabilities, [n, C].
        temperature: Divides them.
        smoothing: Share of each row that is spread evenly over the classes, after that.
    """
    found = log_probabilities(weights / temperature)
    if smoothing:
        found = np.logaddexp(found + np.log1p(-smoothing), np.log(smoothing / found.shape[1]))
    return _stored(np.maximum(found, np.log(FLOOR)))


def multi_label(weights: Array, temperature: float, smoothing: float) -> Logits:
    """Returns the logits [n, C] that are stored of independent classes, each smoothed towards one half.

    Args:
        weights: Logits [n, C]; infinite ones are probabilities of 0 and 1.
        temperature: Divides them.
        smoothing: Share of each probability that is replaced by one half, after that.
    """
    found = weights / temperature
    if smoothing:
        yes, no = (
            np.logaddexp(log_expit(sign * found) + np.log1p(-smoothing), np.log(smoothing / 2))
            for sign in (1, -1)
        )
        found = yes - no
    return _stored(np.clip(found, np.log(FLOOR), -np.log(FLOOR)))


def _stored(found: Array) -> Logits:
    """Rounds to fp32, by way of fewer digits than float64 has.

    A difference of two fp32 logits often lies in the middle between two numbers of fp32, where the last digit
    of a float64 would decide, and that one is not the same after a softmax and a logarithm.
    """
    digits, exponent = np.frexp(found)
    fewer = np.ldexp(np.round(np.ldexp(digits, _BITS)), exponent - _BITS)
    return np.asarray(fewer, dtype=np.float32)


def log_of(probabilities: Array) -> Array:
    """Returns logarithms, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def logit_of(probabilities: Array) -> Array:
    """Returns log(p / (1 - p)), infinite for 0 and 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probabilities) - np.log1p(-probabilities))


def filled_up(listed: Array) -> Array:
    """Returns log-probabilities of all classes [n, C] from those of some.

    What is left of 1 is shared equally by the classes that are not listed. Where all are, there is none to
    share it, and the row is normalised.

    Args:
        listed: Log-probabilities [n, C], NaN where a class is not listed.
    """
    missing = np.isnan(listed)
    rest = np.clip(1 - np.where(missing, 0, np.exp(listed)).sum(axis=1), 0, None)
    share = log_of(rest / np.maximum(1, missing.sum(axis=1)))
    return np.where(missing, share[:, None], listed)
