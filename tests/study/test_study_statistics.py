"""Paired tests against SciPy and by hand; the rule that turns them into verdicts."""

import numpy as np
import pytest
from scipy import stats

from wellread_hf.study.likeness import rank_correlation
from wellread_hf.study.statistics import MARGIN, Difference, difference, holm, verdict


def test_a_difference_by_hand() -> None:
    # Mean 3; standard deviation sqrt(10 / 4); standard error 0.7071; t = 4.2426; t(0.975, 4) = 2.7764.
    found = difference([1.0, 2.0, 3.0, 4.0, 5.0], "better")
    assert found.pairs == 5
    assert found.mean == 3.0
    assert found.low == pytest.approx(3 - 2.7764 * 0.70711, abs=1e-4)
    assert found.high == pytest.approx(3 + 2.7764 * 0.70711, abs=1e-4)
    assert found.p == pytest.approx(0.00662, abs=1e-5)


def test_it_is_the_paired_test_and_what_a_pair_has_in_common_does_not_count() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(81, 2, 10), rng.normal(80, 2, 10)
    common = rng.normal(0, 30, 10)
    found = difference(list(ours - theirs), "better")
    again = difference(list((ours + common) - (theirs + common)), "better")
    expected = stats.ttest_rel(ours, theirs, alternative="greater")
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert again.p == pytest.approx(found.p, rel=1e-6)
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_alike_is_two_one_sided_tests_and_no_worse_the_lower_one() -> None:
    differences = [0.3, -0.2, 0.4, 0.1, -0.1, 0.2]
    lower = stats.ttest_1samp(differences, -MARGIN, alternative="greater").pvalue
    upper = stats.ttest_1samp(differences, MARGIN, alternative="less").pvalue
    assert lower < upper
    assert difference(differences, "alike").p == pytest.approx(upper)
    assert difference(differences, "no worse").p == pytest.approx(lower)


def test_one_pair_is_refused_and_pairs_without_spread_are_no_test() -> None:
    with pytest.raises(ValueError, match="two pairs, got 1"):
        difference([1.0], "better")
    assert difference([2.0, 2.0, 2.0], "better").p is None
    assert difference([0.1 + 0.2, 0.3, 0.3], "better").p is None


def test_under_the_null_hypothesis_one_in_twenty_is_below_five_percent() -> None:
    rng = np.random.default_rng(1)
    found = [difference(list(rng.normal(0, 2, 10)), "better").p for _ in range(500)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.025)


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
    return Difference(mean=(low + high) / 2, low=low, high=high, pairs=10, p=0.5)


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
