"""Temperatures against truths that are known; ECE by hand and on rows that no fit has seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from wellread_hf.metrics.calibration import (
    Bin,
    calibration,
    calibration_error,
    cross_fitted,
    fit_temperature,
    probabilities,
    reliability,
)


def _drawn(rows: int, temperature: float, seed: int = 0, several: bool = False) -> tuple[np.ndarray, ...]:
    """Logits that are off by a temperature, and labels drawn from the right probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, 3))
    truth = probabilities(logits, several)
    if several:
        labels = (rng.random(truth.shape) < truth).astype(np.int64)
    else:
        labels = (rng.random((rows, 1)) < truth.cumsum(axis=1)).argmax(axis=1)
    return logits * temperature, labels


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float, several: bool) -> None:
    logits, labels = _drawn(20_000, temperature, several=several)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_the_best_of_a_grid() -> None:
    logits, labels = _drawn(300, 2.0)
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return float(-log_softmax(logits / temperature, axis=1)[np.arange(300), labels].mean())

    assert loss(found) <= min(map(loss, np.linspace(0.1, 10, 500))) + 1e-7


def test_rows_that_are_all_right_give_a_finite_temperature() -> None:
    logits = np.eye(2)[[0, 1] * 10]
    assert 0.1 <= fit_temperature(logits, np.array([0, 1] * 10)) <= 0.11
    assert fit_temperature(logits, np.array([1, 0] * 10)) == pytest.approx(10, rel=0.01)


def test_no_row_is_under_a_temperature_that_was_fitted_on_it() -> None:
    logits, labels = _drawn(200, 2.0)
    before = cross_fitted(logits, labels)
    for row in range(0, 200, 20):
        changed = labels.copy()
        changed[row] = (changed[row] + 1) % 3
        after = cross_fitted(logits, changed)
        assert after[row] == before[row]
        assert (after != before).sum() == 180


@pytest.mark.parametrize("several", [False, True])
def test_the_error_is_halved_on_rows_that_were_not_used(several: bool) -> None:
    found = calibration(*_drawn(2_000, 3.0, several=several))
    assert found is not None
    assert found["ece_after"] < found["ece_before"] / 2


def test_an_error_by_hand() -> None:
    # Of four rows at 0.8 three are right, the one at 0.99 is wrong.
    given = np.array([[0.8, 0.2]] * 4 + [[0.01, 0.99]])
    bins = reliability(given, np.array([0, 0, 0, 1, 0]))
    assert bins == [Bin(pytest.approx(0.8), 0.75, 4), Bin(0.99, 0.0, 1)]
    assert calibration_error(bins) == pytest.approx((4 * 0.05 + 0.99) / 5)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5))
def test_predictions_do_not_change_and_every_row_is_in_a_bin(seed: int, temperature: float) -> None:
    logits, labels = _drawn(50, temperature, seed)
    given = probabilities(logits, temperature=temperature)
    assert (given.argmax(axis=1) == logits.argmax(axis=1)).all()
    bins = reliability(given, labels)
    assert sum(each.decisions for each in bins) == 50
    assert 0 <= calibration_error(bins) <= 1


def test_a_regression_has_no_probabilities() -> None:
    assert calibration(np.ones((5, 1)), np.ones(5)) is None
    assert calibration(np.ones((1, 2)), np.ones(1, np.int64)) is None
