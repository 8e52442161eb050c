"""From scores of seeds on shared rows to a verdict that holds for other seeds and for other rows.

Two things that are drawn decide a difference between arms: the seed of each run, pre-training included, and
the rows on which all runs are scored. A t-test over pairs sees the first alone, and takes the luck of the
rows for an effect. Here both count. With D the mean over S seeds of the differences D_s,

- V_s = var(D_1 ... D_S) / S, with S - 1 degrees of freedom;
- V_r = (g - 1) / g * sum of (D_(j) - mean of D_(j))^2, with g - 1 degrees of freedom: the jackknife over g
  groups of rows (`metrics/jackknife.py`), D_(j) being D without the rows of group j;
- D is above c with a one-sided p that solves (D - c)^2 = t(p; S - 1)^2 V_s + t(p; g - 1)^2 V_r.

That sum never has less than its level (Banerjee 1960, for means of two samples): given the V, D is as likely
to lie within as chi^2(1) is below a weighted mean of the t^2 terms, chi^2(1)'s distribution is concave, and
each term alone has its level. It holds for any ratio of the two noises and for as few as two seeds, unlike a
bootstrap or estimated degrees of freedom. What seed and row do together is part of both V, which again is
safe. The differences over seeds have to be nearly normal. Students, task, training rows and teacher are
not drawn again: a verdict is about these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy.typing as npt
from scipy.optimize import brentq

from wellread_hf.metrics.jackknife import half_width

Array = npt.NDArray[Any]

# A difference below one point of the score counts as none where a finding says that there is none.
MARGIN = 1.0
LEVEL = 0.05
# Fewer give no useful estimate of the spread.
FEWEST_SEEDS = 3
# Scores are fractions times 100; what differs by less than this in points does not differ.
_ROUNDING = 1e-9
_LEAST_P = 1e-12

Claim = Literal["better", "alike", "no worse"]
Verdict = Literal["confirmed", "not confirmed", "not decidable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The mean difference between arms in points of the score.

    Attributes:
        mean: The mean over seeds.
        low: Lower end of its two-sided 95 % interval over seeds and rows.
        high: Upper end.
        seed_error: Standard error of the mean from seed to seed.
        row_error: The same from row to row.
        p: Of the test of the claim, uncorrected; None where seeds have no spread, which is no estimate of
            one.
    """

    mean: float
    low: float
    high: float
    seed_error: float
    row_error: float
    p: float | None


def difference(by_seed: Array, over_rows: tuple[float, float], claim: Claim) -> Difference:
    """Tests a claim.

    Against the claim stands: for `better` a mean of 0 or less; for `no worse` one of -`MARGIN` or less; for
    `alike` one of `MARGIN` or more to either side (two one-sided tests, Schuirmann 1987).

    Args:
        by_seed: Points [seeds], above 0 where the claim's first side scored more.
        over_rows: Standard error of their mean from row to row, and its degrees of freedom.
        claim: What is claimed.

    Raises:
        ValueError: There are fewer than two seeds.
    """
    seeds = len(by_seed)
    if seeds < 2:
        raise ValueError(f"a spread over seeds needs two, got {seeds}")
    mean, seed_error = float(by_seed.mean()), sqrt(by_seed.var(ddof=1) / seeds)
    errors = ((seed_error, seeds - 1), over_rows)

    def half(p: float) -> float:
        return half_width(errors, p)

    def p_of(above: float) -> float:
        """Returns the one-sided p of a mean so far above what stands against the claim."""
        if above <= 0:
            return 1 - p_of(-above) if above else 0.5
        return float(brentq(lambda p: half(p) - above, _LEAST_P, 0.5)) if half(_LEAST_P) > above else _LEAST_P

    p = None
    # Without a spread over seeds there is nothing to test against.
    if seed_error > _ROUNDING:
        p = p_of(mean if claim == "better" else mean + MARGIN)
        if claim == "alike":
            p = max(p, p_of(MARGIN - mean))
    wide = half(LEVEL / 2)
    return Difference(
        mean=mean,
        low=mean - wide,
        high=mean + wide,
        seed_error=seed_error,
        row_error=over_rows[0],
        p=p,
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
    - not decidable: all else, and what could not be tested.
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
