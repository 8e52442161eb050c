"""Which output of a teacher stands for which class of the task."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.errors import LabelError
from wellread_hf.labelling.teacher_classes import match_labels, teacher_order

TASK = ("negative", "positive")
NAMES = ("insult", "threat", "toxic")
MULTI, SINGLE = "multi_label_classification", "single_label_classification"


def config(*names: str, problem: str | None = None) -> Any:
    return SimpleNamespace(num_labels=len(names), id2label=dict(enumerate(names)), problem_type=problem)


@settings(derandomize=True, deadline=None)
@given(st.permutations(["entailment", "neutral", "contradiction", "other thing"]))
def test_labels_are_matched_by_name_in_any_order(teacher: list[str]) -> None:
    task = ["neutral", "contradiction", "other thing", "entailment"]
    assert [teacher[index] for index in match_labels(teacher, task)] == task


def test_case_spaces_and_dashes_do_not_matter_in_names() -> None:
    assert match_labels(["NOT_ENTAILMENT", "Entailment"], ["entailment", "not entailment"]) == [1, 0]
    assert match_labels(["Very-Good", "bad"], ["very_good", "bad"]) == [0, 1]
    # One letter, or a letter and its accent.
    assert match_labels(["u\u0308bel", "gut"], ["gut", "\u00fcbel"]) == [1, 0]


@pytest.mark.parametrize(
    ("teacher", "task"),
    [
        (["LABEL_0", "LABEL_1"], TASK),
        ([*TASK, "neutral"], TASK),
        (["good", "Good"], ["good", "GOOD"]),
        (["a", "a"], ["a", "b"]),
    ],
)
def test_names_that_do_not_match_are_refused_with_both_lists(teacher: Any, task: Any) -> None:
    with pytest.raises(LabelError) as refusal:
        match_labels(teacher, task)
    for words in (
        f"({', '.join(teacher)})",
        f"({', '.join(task)})",
        "in their order with `label.teacher_labels`",
    ):
        assert words in str(refusal.value)


def test_a_teachers_order_is_found_by_its_names_or_the_given_ones() -> None:
    assert teacher_order(config("POSITIVE", "NEGATIVE"), TASK, ()) == [1, 0]
    assert teacher_order(config("LABEL_0", "LABEL_1"), TASK, ("positive", "negative")) == [1, 0]
    assert teacher_order(config("LABEL_0"), (), ()) == [0]
    assert teacher_order(config("score", problem="regression"), (), ()) == [0]
    turned = config(*reversed(NAMES), problem=MULTI)
    assert teacher_order(turned, NAMES, (), multi_label=True) == [2, 1, 0]


def test_given_names_do_not_contradict_the_config() -> None:
    sure = config("positive", "negative")
    assert teacher_order(sure, TASK, ("Positive", "negative")) == [1, 0]
    with pytest.raises(LabelError, match=r"negative positive: the config of A .* positive, negative; leave"):
        teacher_order(sure, TASK, TASK, "A")


@pytest.mark.parametrize(
    ("teacher", "task", "multi_label", "expected"),
    [
        (
            config("score"),
            TASK,
            False,
            r"trained for regression, the task is 2 classes \(negative, positive\)",
        ),
        (config(*TASK), (), False, "trained for 2 classes, the task is regression; take a teacher"),
        (config("a", "b", "c"), ("a", "b"), False, r"trained for 3 classes, the task is 2 classes \(a, b\)"),
        (
            config(*NAMES, problem=MULTI),
            NAMES,
            False,
            "trained for 3 independent classes, the task is 3 classes",
        ),
        (config(*NAMES, problem=SINGLE), NAMES, True, "for 3 classes, the task is 3 independent classes"),
        (config(*NAMES), NAMES, True, "or correct problem_type in its config.json"),
        (config(*NAMES, problem="regression"), NAMES, False, "for regression, the task is 3 classes"),
        (config("score", problem=MULTI), (), False, "for 1 independent classes, the task is regression"),
    ],
)
def test_a_teacher_of_another_task_or_kind_is_refused(
    teacher: Any, task: Any, multi_label: bool, expected: str
) -> None:
    with pytest.raises(LabelError, match=expected):
        teacher_order(teacher, task, (), multi_label=multi_label)


@pytest.mark.parametrize(
    "names", [{1: "neg", 2: "pos"}, {0: 0, 1: 1}, {0: "neg", 1: None}, {0: "neg", 2: "pos"}]
)
def test_names_of_outputs_that_are_no_names_from_0_are_refused(names: Any) -> None:
    teacher = SimpleNamespace(num_labels=2, id2label=names)
    with pytest.raises(LabelError, match=r"t was saved with id2label .*: expected a name"):
        teacher_order(teacher, ("neg", "pos"), (), "t")
