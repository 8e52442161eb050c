"""A warning where scores are no better than those of one answer throughout."""

from collections.abc import Mapping
from typing import Any

import pytest

from wellread_hf.metrics.baselines import doubts, with_warnings

COUNTS = {"train": {"bad": 30, "good": 10}, "validation": {"bad": 15, "good": 5}}
TUNED = {"metric": "accuracy", "validation": {"accuracy": 0.9}, "class_counts": COUNTS}
LABELLED = {"metric": "accuracy", "teacher_validation": {"accuracy": 0.9}, "class_counts": COUNTS}


@pytest.mark.parametrize(
    ("outcome", "figures"),
    [
        ({"held_out_loss": 6.95, "unigram_loss": 6.8}, ("6.95", "6.80")),
        ({"held_out_loss": float("nan"), "unigram_loss": 6.8}, ("nan", "6.80")),
        (TUNED | {"validation": {"accuracy": 0.75}}, ("75.0 %", "75.0 % 'bad'")),
        (TUNED | {"metric": "f1", "validation": {"f1": 0.4, "accuracy": 0.7}}, ("70.0 %", "75.0 %")),
        ({"metric": "matthews_correlation", "validation": {"matthews_correlation": 0.0}}, ("0.0 %", "0.0 %")),
        ({"metric": "pearson", "validation": {"pearson": -0.02, "spearman": 0.3}}, ("-2.0 %", "0.0 %")),
        ({"metric": "f1_micro", "validation": {"f1_micro": 0.0, "f1_macro": 0.0}}, ("0.0 %", "0.0 %")),
        # One class throughout: F1 of `bad` 2 · 15 / (20 + 15) and 0 of the other; of `good` 2 · 5 / (20 + 5).
        (
            TUNED | {"metric": "f1_macro", "validation": {"f1_macro": 0.42, "accuracy": 0.8}},
            ("42.0 %", "42.9 %"),
        ),
        (
            TUNED | {"metric": "f1:1:good", "validation": {"f1:1:good": 0.3, "accuracy": 0.8}},
            ("F1 of good 30.0 %", "40.0 %"),
        ),
        (LABELLED | {"teacher_validation": {"accuracy": 0.6}}, ("60.0 % of the teacher", "75.0 %")),
    ],
)
def test_what_has_learnt_nothing_is_warned_about_with_both_figures(
    outcome: Mapping[str, Any], figures: tuple[str, str]
) -> None:
    warned = with_warnings(outcome)
    (sentence,) = warned["warnings"]
    assert all(figure in sentence for figure in figures)
    assert {key: warned[key] for key in outcome} == outcome


def test_a_teacher_is_not_told_to_train_longer() -> None:
    (sentence,) = doubts({"teacher_validation": {"matthews_correlation": 0.0}})
    assert "train" not in sentence
    assert "take another teacher, or another prompt" in sentence


@pytest.mark.parametrize(
    "outcome",
    [
        TUNED,
        LABELLED,
        {"held_out_loss": 3.0, "unigram_loss": 5.0},
        {},
        # Rare classes are found, at the price of some rows of the commonest one.
        TUNED | {"metric": "f1_macro", "validation": {"f1_macro": 0.6, "accuracy": 0.7}},
        TUNED | {"metric": "f1:1:good", "validation": {"f1:1:good": 0.6, "accuracy": 0.7}},
        # Without counts, and of several classes a row, there is nothing to compare with.
        {"metric": "accuracy", "validation": {"accuracy": 0.5}},
        {"metric": "f1_micro", "validation": {"f1_micro": 0.5}, "class_counts": COUNTS},
        {"metric": "pearson", "validation": {"pearson": 0.8, "spearman": 0.8}, "class_counts": {}},
    ],
)
def test_what_has_learnt_something_is_not_warned_about(outcome: Mapping[str, Any]) -> None:
    assert not doubts(outcome)
    assert with_warnings(outcome) is outcome
