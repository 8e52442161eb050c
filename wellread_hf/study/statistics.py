"""From paired scores to a verdict: paired t-tests, Holm's correction, intervals of the mean difference.

A pair is a student with a seed, trained both ways; its difference is free of what student and seed do to
both. With five seeds an exact sign-flip test cannot come below p = 1/32, so the t-test it is: it asks that
the mean of the differences be nearly normal, which means of like runs are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import ttest_1samp

# A difference below one point of the score counts as none where a finding says that there is none.
MARGIN = 1.0
LEVEL = 0.05
# Scores are fractions times 100; what differs by less than this in points does not differ.
_ROUNDING = 1e-9

Claim = Literal["better", "alike", "no worse"]
Verdict = Literal["confirmed", "not confirmed", "not decidable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The mean of paired differences in points of the score.

    Attributes:
        mean: The mean.
        low: Lower end of its two-sided 95 % interval (Student's t).
        high: Upper end.
        pairs: How many pairs there are.
        p: Of the test of the claim, uncorrected; None where the pairs have no spread, which is no estimate
            of one.
    """

    mean: float
    low: float
    high: float
    pairs: int
    p: float | None


def difference(differences: Sequence[float], claim: Claim) -> Difference:
    """Tests a claim on paired differences.

    Against the claim stands: for `better` a mean of 0 or less; for `no worse` one of -`MARGIN` or less; for
    `alike` one of `MARGIN` or more to either side (two one-sided tests, Schuirmann 1987).

    Args:
        differences: One number a pair, in points; above 0 where the claim's first side scored more.
        claim: What is claimed.

    Raises:
        ValueError: There are fewer than two pairs.
    """
    if len(differences) < 2:
        raise ValueError(f"a paired test needs two pairs, got {len(differences)}")
    mean = sum(differences) / len(differences)
    if max(differences) - min(differences) < _ROUNDING:
        return Difference(mean=mean, low=mean, high=mean, pairs=len(differences), p=None)
    interval = ttest_1samp(differences, 0.0).confidence_interval(1 - LEVEL)
    above = ttest_1samp(differences, 0.0 if claim == "better" else -MARGIN, alternative="greater")
    below = ttest_1samp(differences, MARGIN, alternative="less")
    p = float(max(above.pvalue, below.pvalue) if claim == "alike" else above.pvalue)
    return Difference(
        mean=mean, low=float(interval.low), high=float(interval.high), pairs=len(differences), p=p
    )


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Corrects p-values of one study for their number (Holm 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may fall below one before it, or
    above 1. None stands for a test that could not be made, and counts as one that was.
    """
    ordered = sorted((value, index) for index, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (value, index) in enumerate(ordered):
        least = max(least, min(1.0, (len(values) - rank) * value))
        corrected[index] = least
    return corrected


def verdict(found: Difference, corrected: float | None, claim: Claim) -> Verdict:
    """Decides on a claim.

    - confirmed: the corrected p is below 0.05;
    - not confirmed, for `better`: the 95 % interval neither lies above 0 nor reaches `MARGIN`, so whatever
      there is in the paper's direction is less than a point; for `no worse`: it lies below 0; for `alike`:
      it does not contain 0;
    - not decidable: all else, and pairs without any spread.
    """
    if corrected is None:
        return "not decidable"
    if corrected < LEVEL:
        return "confirmed"
    against = {
        "better": found.low <= 0 and found.high < MARGIN,
        "no worse": found.high < 0,
        "alike": found.low > 0 or found.high < 0,
    }
    return "not confirmed" if against[claim] else "not decidable"
