"""What a report computes of stored predictions, for every kind of task."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.results.report_sections import pareto_front
from wellread_hf.results.row_facts import by_length, confusion, disagreements, length_edges

ROWS = 300


def _rows(seed: int, labels: np.ndarray, outputs: int, pairs: bool = False) -> EvaluatedRows:
    texts = [(f"text {row}", "its pair") if pairs else (f"text {row}",) for row in range(ROWS)]
    logits = np.random.default_rng(seed).normal(size=(ROWS, outputs)).astype(np.float32)
    return EvaluatedRows(texts, labels, logits, np.random.default_rng(9).integers(3, 60, ROWS))


DRAW = np.random.default_rng(0)
CLASSES = DRAW.integers(0, 3, ROWS)
SEVERAL = DRAW.integers(0, 2, (ROWS, 3))
VALUES = DRAW.uniform(0, 5, ROWS)


@pytest.mark.parametrize(
    ("labels", "outputs", "names", "kinds"),
    [
        (CLASSES, 3, "abc", {"both right", "both wrong", "student wrong", "teacher wrong"}),
        (SEVERAL, 3, "abc", {"both wrong", "student wrong", "teacher wrong", "both right"}),
        (VALUES, 1, "", {""}),
    ],
    ids=["classes", "independent classes", "values"],
)
def test_the_most_different_rows_come_first(
    labels: np.ndarray, outputs: int, names: str, kinds: set[str]
) -> None:
    student, teacher = _rows(1, labels, outputs, pairs=True), _rows(2, labels, outputs, pairs=True)
    found = disagreements(student, teacher, names)
    distances = [each.distance for each in found]
    assert distances == sorted(distances, reverse=True)
    assert {each.kind for each in found} <= kinds
    assert all("its pair" in each.text for each in found)
    # The same answers differ nowhere, and answers to other rows cannot be compared.
    assert {each.distance for each in disagreements(student, student, names)} == {0.0}
    other = EvaluatedRows([("other",)] * ROWS, labels, teacher.logits, teacher.tokens)
    assert disagreements(student, other, names) == []


def test_ranges_of_lengths_hold_all_rows_and_their_accuracy() -> None:
    rows = _rows(1, CLASSES, 3)
    edges = length_edges(rows)
    found = by_length(rows, edges)
    counts, shares = [count for count, *_ in found], [share for _, share, _ in found]
    assert sum(counts) == ROWS
    assert max(counts) < 2 * min(counts)
    right = 100 * (rows.logits.argmax(1) == CLASSES).mean()
    assert np.average(shares, weights=counts) == pytest.approx(right)


def test_confusion_counts_labels_down_and_predictions_across() -> None:
    rows = _rows(1, CLASSES, 3)
    counts = confusion(rows, 3)
    assert counts.sum(axis=1).tolist() == np.bincount(CLASSES).tolist()
    assert np.trace(counts) == (rows.logits.argmax(1) == CLASSES).sum()


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12))
def test_the_front_is_what_nothing_cheaper_reaches(points: list[tuple[int, int]]) -> None:
    ahead = {
        (cost, score)
        for cost, score in points
        if not any(other != (cost, score) and other[0] <= cost and other[1] >= score for other in points)
    }
    assert pareto_front(points) == sorted(ahead)
