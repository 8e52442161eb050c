"""Differences over seeds and rows by hand and by simulation; the rule that turns them into verdicts."""

from math import hypot, inf

import numpy as np
import pytest
from scipy import stats

from wellread_hf.experiments.study.statistics import (
    MARGIN,
    Claim,
    Difference,
    difference,
    holm,
    verdict,
)
from wellread_hf.experiments.study.texts import rank_correlation
from wellread_hf.metrics.jackknife import row_error, scored

NO_ROWS = (0.0, inf)


def test_a_difference_by_hand() -> None:
    # Mean 3; standard deviation sqrt(10 / 4); standard error 0.7071; t = 4.2426; t(0.975, 4) = 2.7764.
    by_seed = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = difference(by_seed, NO_ROWS, "better")
    assert found.mean == 3.0
    assert found.low == pytest.approx(3 - 2.7764 * 0.70711, abs=1e-4)
    assert found.high == pytest.approx(3 + 2.7764 * 0.70711, abs=1e-4)
    assert found.p == pytest.approx(0.00662, abs=1e-5)
    # Rows widen it: t(0.975, 49) = 2.0096.
    found = difference(by_seed, (0.5, 49), "better")
    half = hypot(2.7764 * 0.70711, 2.0096 * 0.5)
    assert (found.low, found.high) == (pytest.approx(3 - half, abs=1e-4), pytest.approx(3 + half, abs=1e-4))
    p = found.p
    assert p is not None
    assert hypot(stats.t.isf(p, 4) * 0.70711, stats.t.isf(p, 49) * 0.5) == pytest.approx(3, abs=1e-4)


def test_without_noise_of_rows_it_is_the_t_test_and_without_noise_of_seeds_that_of_rows() -> None:
    by_seed = np.random.default_rng(0).normal(1, 2, 10)
    expected = stats.ttest_1samp(by_seed, 0, alternative="greater").pvalue
    assert difference(by_seed, NO_ROWS, "better").p == pytest.approx(expected, rel=1e-6)
    opposite = stats.ttest_1samp(-by_seed, 0, alternative="greater").pvalue
    assert difference(-by_seed, NO_ROWS, "better").p == pytest.approx(opposite, rel=1e-6)
    alike = np.array([1.0, 1.0 + 1e-6, 1.0 - 1e-6])
    assert difference(alike, (0.5, inf), "better").p == pytest.approx(stats.norm.sf(2), rel=1e-4)


def test_alike_is_two_one_sided_tests_and_no_worse_the_lower_one() -> None:
    by_seed = np.array([0.3, -0.2, 0.4, 0.1, -0.1, 0.2])
    lower = stats.ttest_1samp(by_seed, -MARGIN, alternative="greater").pvalue
    upper = stats.ttest_1samp(by_seed, MARGIN, alternative="less").pvalue
    assert lower < upper
    assert difference(by_seed, NO_ROWS, "alike").p == pytest.approx(upper, rel=1e-6)
    assert difference(by_seed, NO_ROWS, "no worse").p == pytest.approx(lower, rel=1e-6)


def test_one_seed_is_refused_and_seeds_without_spread_are_no_test() -> None:
    with pytest.raises(ValueError, match="needs two, got 1"):
        difference(np.array([1.0]), NO_ROWS, "better")
    assert difference(np.array([2.0, 2.0, 2.0]), (0.5, 49), "better").p is None
    assert difference(np.array([0.1 + 0.2, 0.3, 0.3]), NO_ROWS, "better").p is None


def _study(rng: np.random.Generator, seeds: int, noise: float, effect: float, claim: Claim) -> Difference:
    """Two arms and their true difference in points, on 500 rows that all runs share; the row error is 0.8.

    Rows that only one arm ever gets right give that error; each arm has its own share of them.
    """
    rows = 500
    labels = np.zeros(rows, dtype=np.int64)
    only = rng.choice(3, rows, p=[0.968, 0.016, 0.016])
    scores = []
    for arm, gain in ((1, effect), (2, 0.0)):
        each = []
        for _ in range(seeds):
            # Of what no arm decides, so many rows are right, by this seed's luck.
            right = rng.random(rows) < 0.8 + (gain + rng.normal(0, noise)) / 100 / 0.968
            each.append(scored(np.where(only == 0, ~right, only != arm).astype(np.int64), labels, "accuracy"))
        scores.append(np.array(each))
    apart = scores[0] - scores[1]
    return difference(apart[:, 0], row_error(apart[:, 1:].mean(axis=0)), claim)


@pytest.mark.parametrize(("seeds", "noise"), [(3, 0.3), (3, 2.0), (5, 1.0)])
def test_where_there_is_nothing_at_most_one_study_in_twenty_confirms(seeds: int, noise: float) -> None:
    rng = np.random.default_rng(1)
    found = [_study(rng, seeds, noise, 0.0, "better") for _ in range(200)]
    confirmed = sum(verdict(each, each.p, "better") == "confirmed" for each in found)
    # 17 and more of 200 would come once in a hundred.
    assert confirmed <= 16


@pytest.mark.parametrize(
    ("values", "corrected"),
    [
        # The smallest times 3, the next times 2, and never less than the one before.
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        # A test that could not be made counts as one.
        ([0.01, None], [0.02, None]),
        ([], []),
    ],
)
def test_holm_by_hand(values: list[float | None], corrected: list[float | None]) -> None:
    assert holm(values) == [None if each is None else pytest.approx(each) for each in corrected]


def _found(low: float, high: float) -> Difference:
    return Difference(mean=(low + high) / 2, low=low, high=high, seed_error=1.0, row_error=1.0, p=0.5)


@pytest.mark.parametrize(
    ("low", "high", "corrected", "claim", "expected"),
    [
        (0.5, 3.0, 0.01, "better", "confirmed"),
        (0.1, 3.0, 0.06, "better", "not decidable"),
        (-0.5, 3.0, 0.2, "better", "not decidable"),
        (-3.0, -0.5, 1.0, "better", "not confirmed"),
        # Less than a point in the paper's direction, if anything.
        (-0.5, 0.9, 0.4, "better", "not confirmed"),
        # There is something in the paper's direction, small as it is.
        (0.1, 0.9, 0.06, "better", "not decidable"),
        (-0.4, 0.4, 0.01, "alike", "confirmed"),
        (-3.0, 2.0, 0.6, "alike", "not decidable"),
        (0.5, 3.0, 0.9, "alike", "not confirmed"),
        (-3.0, -0.5, 0.9, "alike", "not confirmed"),
        (-0.4, 3.0, 0.01, "no worse", "confirmed"),
        (-2.0, 3.0, 0.3, "no worse", "not decidable"),
        (-2.0, -0.1, 0.5, "no worse", "not confirmed"),
        (2.0, 2.0, None, "better", "not decidable"),
    ],
)
def test_verdicts(low, high, corrected, claim, expected) -> None:
    assert verdict(_found(low, high), corrected, claim) == expected


def test_rank_correlation_by_hand() -> None:
    assert rank_correlation(["a a a", "b b c"], ["c b b a a a"]) == pytest.approx(1.0)
    assert rank_correlation(["a a a b b c"], ["c c c b b a"]) == pytest.approx(-1.0)
    # a 3, b 1, c 0 against a 0, b 1, c 2: a word that a text has not got counts 0 there.
    assert rank_correlation(["a A a b"], ["b C c"]) == pytest.approx(-1.0)
    # Ranks 4, 3, 2, 1 against 4, 2, 3, 1: 1 - 6 * 2 / (4 * 15).
    assert rank_correlation(["a a a a b b b c c d"], ["a a a a c c c b b d"]) == pytest.approx(0.8)
