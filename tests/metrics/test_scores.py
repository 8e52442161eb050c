"""The metrics by what must hold of them, degenerate predictions above all; and where they refuse."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.errors import DataError, NotFiniteError, UnknownNameError
from wellread_hf.metrics.glue_metric.glue_metric import METRICS
from wellread_hf.metrics.scores import metric_at, predictions_from, scores, scores_of

OF_CLASSES = ("accuracy", "f1", "matthews_correlation")
OF_VALUES = ("pearson", "spearman")
few = settings(max_examples=60, deadline=None)

two_classes = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)
three_classes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)
# Halves, as STS-B's labels: many ties.
values = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=40)
any_values = st.lists(st.tuples(*[st.floats(-1e6, 1e6, allow_subnormal=True)] * 2), min_size=1, max_size=20)


def columns(rows):
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def one(metric, predictions, labels):
    with warnings.catch_warnings():
        # An undefined score is settled here, not warned of at every evaluation of a run.
        warnings.simplefilter("error")
        return scores_of((metric,), np.asarray(predictions), np.asarray(labels))[metric]


@few
@given(two_classes)
def test_two_classes_agree_with_the_textbook(rows):
    said, true = columns(rows)
    hits, misses = int(((said == 1) & (true == 1)).sum()), int(((said == 0) & (true == 0)).sum())
    extra, lost = int(((said == 1) & (true == 0)).sum()), int(((said == 0) & (true == 1)).sum())
    assert one("accuracy", said, true) == pytest.approx((hits + misses) / len(rows))
    both = 2 * hits + extra + lost
    assert one("f1", said, true) == pytest.approx(2 * hits / both if both else 0)
    spread = (hits + extra) * (hits + lost) * (misses + extra) * (misses + lost)
    matthews = (hits * misses - extra * lost) / spread**0.5 if spread else 0
    assert one("matthews_correlation", said, true) == pytest.approx(matthews)


@few
@given(three_classes)
def test_matthews_of_three_classes_is_symmetric_and_bounded_and_blind_to_names(rows):
    said, true = columns(rows)
    found = one("matthews_correlation", said, true)
    assert -1 <= found <= 1
    assert found == pytest.approx(one("matthews_correlation", true, said))
    assert found == pytest.approx(one("matthews_correlation", (said + 1) % 3, (true + 1) % 3))


@few
@given(two_classes)
def test_being_right_is_1_and_one_class_throughout_is_no_correlation(rows):
    _, true = columns(rows)
    mixed = len(set(true)) == 2
    assert one("accuracy", true, true) == 1
    assert one("f1", true, true) == float(1 in true)
    assert one("matthews_correlation", true, true) == pytest.approx(float(mixed))
    for constant in (0, 1):
        assert one("matthews_correlation", np.full(len(true), constant), true) == 0
    assert one("f1", np.zeros(len(true), int), true) == 0


@few
@given(values, st.sampled_from(OF_VALUES))
def test_correlations_with_ties_are_bounded_symmetric_and_blind_to_scale(rows, metric):
    said, true = columns(rows)
    found = one(metric, said / 2, true / 2)
    assert -1 - 1e-9 <= found <= 1 + 1e-9
    assert found == pytest.approx(one(metric, true / 2, said / 2))
    assert found == pytest.approx(one(metric, 3.0 * said + 7, true / 2), abs=1e-7)
    assert found == pytest.approx(-one(metric, -said / 2, true / 2), abs=1e-9)
    if len(set(true)) > 1:
        assert one(metric, true / 2, true / 2) == pytest.approx(1)


@few
@given(values)
def test_spearman_sees_order_alone(rows):
    said, true = columns(rows)
    assert one("spearman", np.exp(said / 2), true) == pytest.approx(one("spearman", said, true), abs=1e-9)


@few
@given(values, st.sampled_from(OF_VALUES), st.floats(-10, 10))
def test_a_constant_correlates_with_nothing(rows, metric, constant):
    _, true = columns(rows)
    assert one(metric, np.full(len(true), constant), true) == 0
    assert one(metric, true, np.full(len(true), constant)) == 0


@few
@given(any_values, st.sampled_from(OF_VALUES))
def test_every_finite_value_has_a_finite_score(rows, metric):
    said, true = columns(rows)
    # SciPy warns where differences are near the end of what floats can resolve; a number comes anyway.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = scores_of((metric,), said, true)[metric]
    assert np.isfinite(found)
    assert -1 - 1e-6 <= found <= 1 + 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", METRICS)
def test_a_prediction_or_label_that_is_no_number_is_refused_by_row(metric, bad):
    good = np.array([0.0, 1.0, 1.0])
    for said, true, what in (
        (np.array([0, bad, 1]), good, "predictions"),
        (good, np.array([0, bad, 1]), "labels"),
    ):
        with pytest.raises(NotFiniteError, match=f"expected finite {what}, got .* in row 2"):
            scores_of((metric,), said, true)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_a_logit_that_is_no_number_makes_no_prediction(classes):
    logits = np.zeros((4, classes), dtype=np.float32)
    logits[2, -1] = np.nan
    with pytest.raises(NotFiniteError, match="expected finite model's outputs, got nan in row 3"):
        predictions_from(logits)
    with pytest.raises(NotFiniteError):
        scores(("accuracy",), logits, np.zeros(4))


def test_the_largest_logit_is_the_class_and_one_output_is_the_value():
    assert predictions_from(np.array([[0.1, 0.3], [2.0, -1.0]])).tolist() == [1, 0]
    assert predictions_from(np.array([[0.5], [4.0]])).tolist() == [0.5, 4.0]


def test_no_rows_other_numbers_of_rows_and_unknown_metrics_are_refused():
    with pytest.raises(DataError, match="got 0 predictions for 0 labels"):
        scores_of(("accuracy",), np.array([]), np.array([]))
    with pytest.raises(DataError, match="got 1 predictions for 2 labels"):
        scores_of(("accuracy",), np.array([1]), np.array([1, 0]))
    with pytest.raises(UnknownNameError, match="'acuracy'; the nearest is accuracy"):
        scores_of(("acuracy",), np.array([1]), np.array([1]))


def test_f1_over_classes_is_the_textbooks_at_a_threshold_of_one_half() -> None:
    logits = np.array([[2.0, -1.0, 0.1], [-3.0, 0.0, 5.0], [1.0, 1.0, -1.0]])
    labels = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float32)
    # A probability of one half is not above it.
    said = [[1, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert predictions_from(logits, multi_label=True).tolist() == said
    found = scores(("f1_micro", "f1_macro"), logits, labels)
    # Three right, two too many, one missed; by class F1 is 1/2, 1 and 2/3.
    assert found["f1_micro"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["f1_macro"] == pytest.approx((0.5 + 1 + 2 / 3) / 3)
    assert scores(("f1_micro", "f1_macro"), -np.ones((2, 3)), np.zeros((2, 3))) == {
        "f1_micro": 0.0,
        "f1_macro": 0.0,
    }
    assert metric_at("f1_micro") == "f1_micro at threshold 0.5"
    assert metric_at("accuracy") == "accuracy"
    with pytest.raises(NotFiniteError, match="in row 2"):
        scores(("f1_micro",), np.array([[0.0, 1.0], [np.nan, 1.0]]), np.zeros((2, 2)))
