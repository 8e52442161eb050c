"""Cascades: rules beside brute force, and checks on rows that no rule was fitted on."""

from pathlib import Path

import numpy as np
import pytest

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.errors import NothingFitsError, StoreError
from wellread_hf.metrics.calibration import cross_fit
from wellread_hf.metrics.jackknife import scored
from wellread_hf.results.candidates import Candidate, Member, Offer
from wellread_hf.results.cascade import fit_rule, pick_cascade, read_cascades
from wellread_hf.settings import Picking

ROWS = 400


def _said(labels: np.ndarray, right: float, rng: np.random.Generator) -> np.ndarray:
    """Logits of a calibrated classifier of two classes: what it is surer of is more often right."""
    margin = rng.exponential(right, len(labels))
    hit = rng.random(len(labels)) < 1 / (1 + np.exp(-margin))
    sign = np.where(hit == (labels == 1), 1, -1)
    return np.stack([-sign * margin / 2, sign * margin / 2], axis=1).astype(np.float32)


def test_a_rule_loses_what_it_may_on_rows_that_it_never_saw() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    student, said = _said(labels, 2, rng), _said(labels, 6, rng)
    ours, theirs = (logits.argmax(axis=1) == labels for logits in (student, said))
    lost, calls = [], []
    for _ in range(60):
        rows = rng.integers(0, len(labels), 436)
        rule = fit_rule(student[rows], said[rows].argmax(axis=1), labels[rows], "accuracy", within=1)
        asked = rule.asks(student, several=False)
        lost.append(100 * (theirs.mean() - np.where(asked, theirs, ours).mean()))
        calls.append(asked.mean())
    # As many as half of SST-2 has validation rows; one such fit is off by 1.5 points.
    assert np.mean(lost) == pytest.approx(1, abs=0.5)
    # Calls that nobody fitted: by the truth.
    sure = np.sort(student.max(axis=1))
    gain = (theirs * 1.0 - ours)[np.argsort(student.max(axis=1))]
    best = np.argmax(gain[::-1].cumsum()[::-1] / len(labels) <= 0.01) / len(sure)
    assert np.mean(calls) == pytest.approx(best, abs=0.06)


def test_a_rule_asks_nothing_of_a_teacher_that_is_no_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    student = _said(labels, 2, rng)
    same = fit_rule(student, student.argmax(axis=1), labels, "accuracy", within=0)
    assert not same.asks(student, several=False).any()
    # Of one that is always right everything, where nothing may be lost and the student knows nothing.
    knows_nothing = np.tile(np.float32([0.1, 0]), (400, 1))
    assert (
        fit_rule(knows_nothing, labels, labels, "accuracy", within=0.1)
        .asks(knows_nothing, several=False)
        .all()
    )


def _offer(folder: Path, several: bool = False, own: float = 3.0) -> Offer:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (ROWS, 2) if several else ROWS)
    texts = [("a text",)] * ROWS

    def member(name: str, right: float) -> Member:
        if several:
            logits = np.stack([_said(column, right, rng)[:, 1] for column in labels.T], axis=1)
        else:
            logits = _said(labels, right, rng)
        at = folder / name
        at.mkdir(parents=True)
        EvaluatedRows(texts, labels, logits, np.full(ROWS, 5)).write(at)
        metric = "f1_micro" if several else "accuracy"
        predictions = (logits > 0).astype(int) if several else logits.argmax(axis=1)
        return Member(name, None, 0, scored(predictions, labels, metric), at, None, operations=len(name))

    def candidate(name: str, right: float, teacher: Member | None = None) -> Candidate:
        return Candidate(
            name=name, method="PD", arm=name, format="torch", members=(member(name, right),), ms=None,
            mb=float(len(name)), teacher=teacher,
        )  # fmt: skip

    teacher = candidate("a-large-one", 8)
    return Offer(
        task="mine", metric="f1_micro" if several else "accuracy", students=[candidate("small", own)],
        teachers=[teacher], machines=[],
    )  # fmt: skip


@pytest.mark.parametrize("several", [False, True])
def test_a_cascade_nearly_keeps_the_teachers_score_with_fewer_calls(tmp_path: Path, several: bool) -> None:
    offer = _offer(tmp_path, several)
    pick = pick_cascade(offer, Picking(within=2))
    found = pick.picked
    assert 0 < found.calls < 1
    assert offer.students[0].score.mean < found.score.mean
    assert found.gap.high >= -2
    assert pick.keeps is (found.gap.mean >= -2)
    assert found.cost == pytest.approx(5 / 11 + found.calls)
    assert found.cost_in == "operations"


def test_no_row_is_judged_by_a_rule_that_saw_its_label(tmp_path: Path) -> None:
    offer = _offer(tmp_path)
    student, said = (EvaluatedRows.read(tmp_path / name) for name in ("small", "a-large-one"))
    teacher, times = said.logits.argmax(axis=1), np.zeros(ROWS, int)
    asked = np.zeros(ROWS, bool)
    for fitted, rest in cross_fit(ROWS):
        assert not (fitted & rest).any()
        times += rest
        rule = fit_rule(student.logits[fitted], teacher[fitted], student.labels[fitted], "accuracy", within=2)
        asked |= rest & rule.asks(student.logits, several=False)
    assert (times == 1).all()
    found = read_cascades(offer, Picking(within=2))[0]
    assert found.calls == pytest.approx(asked.mean())
    answers = np.where(asked, teacher, student.logits.argmax(axis=1))
    assert found.score.mean == pytest.approx(100 * (answers == student.labels).mean())


def test_what_cannot_be_a_cascade_is_refused(tmp_path: Path) -> None:
    offer = _offer(tmp_path, own=0.1)
    with pytest.raises(NothingFitsError, match="no student keeps to `max_mb` 1"):
        pick_cascade(offer, Picking(max_mb=1))
    with pytest.raises(StoreError, match="wellread eval TEACHER"):
        pick_cascade(Offer(task="t", metric="accuracy", students=(), teachers=(), machines=()), Picking())
    values = EvaluatedRows([("a",)] * 4, np.ones(4), np.ones((4, 1), np.float32), np.ones(4, np.int64))
    values.write(tmp_path / "a-large-one")
    with pytest.raises(StoreError, match="is a regression"):
        pick_cascade(offer, Picking())
