"""A cascade: the student answers where it is sure, the teacher answers the rest.

A student is sure where its probability, under its temperature, is at least a threshold. Both are fitted on
nine tenths of the validation rows and checked on the last, each tenth in turn. So every score and every share
of calls is of rows that neither was fitted on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.errors import NothingFitsError, StoreError
from wellread_hf.metrics.calibration import cross_fit, fit_temperature, probabilities
from wellread_hf.metrics.jackknife import Interval, interval, scored
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.metrics.scores import predictions_from, scores_of
from wellread_hf.results.candidates import Candidate, Member, Offer
from wellread_hf.results.picking import bounds, check_known, over
from wellread_hf.results.tables import Table
from wellread_hf.settings import Picking

Array = npt.NDArray[Any]

# Points below the teacher that nobody would notice: two rows in a thousand.
WITHIN = 0.2


@dataclass(frozen=True, slots=True)
class Rule:
    """When a student answers by itself: its probability under the temperature is at least the threshold."""

    temperature: float
    threshold: float

    def asks(self, logits: Array, several: bool) -> Array:
        """Returns the rows [n] that go to the teacher."""
        return _confidence(logits, several, self.temperature) < self.threshold


def _confidence(logits: Array, several: bool, temperature: float) -> Array:
    given = probabilities(logits, several, temperature)
    # Of independent classes the least certain one decides.
    certain = np.maximum(given, 1 - given)
    return np.asarray(certain.min(axis=1) if several else given.max(axis=1))


def fit_rule(logits: Array, teacher: Array, labels: Array, metric: str, within: float) -> Rule:
    """Fits a rule with as few calls as keep the score within so many points of the teacher's.

    Args:
        logits: The student's [n, classes].
        teacher: The teacher's predictions, class numbers [n] or indicators [n, classes].
        labels: The truth, in the form of the predictions.
        metric: One of `METRICS`.
        within: Points.
    """
    several = labels.ndim == 2
    temperature = fit_temperature(logits, labels)
    confidence, own = _confidence(logits, several, temperature), predictions_from(logits, several)
    least = scores_of([metric], teacher, labels)[metric] - within / 100
    # A smooth fit of how often both are right at a confidence chose no better (docs/log.md).
    for threshold in (*np.quantile(confidence, np.arange(0, 1, 0.01)), inf):
        said = _joined(own, teacher, confidence < threshold)
        if scores_of([metric], said, labels)[metric] >= least:
            break
    return Rule(temperature, float(threshold))


def _joined(student: Array, teacher: Array, asked: Array) -> Array:
    return np.where(asked[:, None] if student.ndim == 2 else asked, teacher, student)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cascade:
    """A student before its teacher, checked on rows that its rule was not fitted on.

    Attributes:
        student: An arm in a format; its answers are those of fp32.
        teacher: In its fastest format.
        rule: Of the student's best member, fitted on all rows: the one to use.
        calls: Share of the rows that go to the teacher, the mean over members.
        score: In percent, over seeds and rows.
        gap: Points above the teacher, on the same rows.
        cost: Of a text, as a share of the teacher's alone; None: not known.
        cost_in: What that is measured in.
    """

    student: Candidate
    teacher: Candidate
    rule: Rule
    calls: float
    score: Interval
    gap: Interval
    cost: float | None
    cost_in: str

    @property
    def price(self) -> float:
        """What cascades are compared by: the cost where it is known, else the calls."""
        return self.calls if self.cost is None else self.cost

    @property
    def facts(self) -> dict[str, Any]:
        """The cascade as JSON."""
        best = self.student.best
        return {
            "name": self.student.name,
            "method": self.student.method,
            "format": self.student.format,
            "folder": None if best.folder is None else str(best.folder),
            "teacher": self.teacher.name,
            **asdict(self.rule),
            "calls": self.calls,
            "score": asdict(self.score),
            "beside_teacher": asdict(self.gap),
            "cost": self.cost,
            "cost_in": self.cost_in,
        }


def read_cascades(offer: Offer, picking: Picking) -> list[Cascade]:
    """Checks a cascade of each student that keeps to the budget, from stored predictions.

    Raises:
        StoreError: The teacher was not evaluated, or the task is a regression.
    """
    if not offer.teachers:
        raise StoreError(
            "a cascade needs the teacher's predictions on the same rows; run `wellread eval TEACHER` into "
            "the same folder of runs"
        )
    within = _within(picking)
    teacher = min(offer.teachers, key=lambda each: inf if each.ms is None else each.ms)
    said = EvaluatedRows.read(teacher.members[0].evaluation)
    if said.is_regression:
        raise StoreError(f"{offer.task} is a regression: without probabilities there is no cascade")
    if isinstance(said.labels, PerWord):
        raise StoreError(f"{offer.task} has a class a word: a cascade asks the teacher about whole texts")
    answers = predictions_from(said.logits, said.labels.ndim == 2)
    top = scored(answers, said.labels, offer.metric)

    def checked(member: Member) -> tuple[Array, float]:
        """Returns the cascade's scores [1 + groups] and its share of calls, of rows not fitted on."""
        logits, labels = EvaluatedRows.read(member.evaluation).logits, said.labels
        asked = np.zeros(len(labels), bool)
        for fitted, rest in cross_fit(len(labels)):
            rule = fit_rule(logits[fitted], answers[fitted], labels[fitted], offer.metric, within)
            asked[rest] = rule.asks(logits[rest], labels.ndim == 2)
        own = predictions_from(logits, labels.ndim == 2)
        return scored(_joined(own, answers, asked), labels, offer.metric), float(asked.mean())

    known: dict[str, list[tuple[Array, float]]] = {}
    limits = replace(picking, min_score=None, within=None)
    check_known(offer, limits)
    found = []
    for student in offer.students:
        if over(student, limits):
            continue
        # All formats of an arm have the same predictions.
        if student.arm not in known:
            known[student.arm] = [checked(member) for member in student.members]
        scores = np.stack([each for each, _ in known[student.arm]])
        calls = float(np.mean([share for _, share in known[student.arm]]))
        best = EvaluatedRows.read(student.best.evaluation).logits
        cost, cost_in = _cost(student, teacher, calls)
        found.append(
            Cascade(
                student=student,
                teacher=teacher,
                rule=fit_rule(best, answers, said.labels, offer.metric, within),
                calls=calls,
                score=interval(scores),
                gap=interval(scores - top),
                cost=cost,
                cost_in=cost_in,
            )
        )
    return found


def _cost(student: Candidate, teacher: Candidate, calls: float) -> tuple[float | None, str]:
    """Returns what a text costs as a share of the teacher alone, and in what that is counted."""
    for name, ours, theirs in (
        ("milliseconds", student.ms, teacher.ms),
        ("operations", student.best.operations, teacher.best.operations),
    ):
        if ours is not None and theirs is not None:
            # The student reads every text.
            return ours / theirs + calls, name
    return None, "not known"


@dataclass(frozen=True, slots=True)
class CascadePick:
    """The cascade that was picked, among those that were checked."""

    picked: Cascade
    checked: Sequence[Cascade]
    within: float  # points that were allowed

    @property
    def keeps(self) -> bool:
        """Whether it lost no more than was allowed on rows that its rule was not fitted on."""
        return self.picked.gap.mean >= -self.within

    @property
    def facts(self) -> dict[str, Any]:
        """The pick as JSON."""
        return self.picked.facts | {
            "within": self.within,
            "keeps": self.keeps,
            "checked": [each.facts for each in self.checked],
        }

    def show(self) -> None:
        """Prints all cascades and the one that was picked."""
        head = ["student", "method", "format", "calls", "score (%)", "beside the teacher", "cost of a text"]
        rows = [
            [
                f"**{each.student.name}**" if each is self.picked else each.student.name,
                each.student.method,
                each.student.format,
                f"{100 * each.calls:.0f} %",
                f"{each.score.mean:.1f}",
                f"{each.gap.mean:+.2f} ({each.gap.low:+.1f} to {each.gap.high:+.1f})",
                None if each.cost is None else f"{100 * each.cost:.0f} % of the teacher's {each.cost_in}",
            ]
            for each in sorted(self.checked, key=lambda each: each.calls)
        ]
        note = "calls and scores are of each tenth of the rows, by the rule that was fitted on the others"
        Table(head, rows, [note]).show("the student where it is sure, else the teacher")
        rule = self.picked.rule
        print(
            f"\ncascade: {self.picked.student.title} answers where its probability at temperature "
            f"{rule.temperature:.2f} is at least {rule.threshold:.3f}, else {self.picked.teacher.name}"
        )
        gap, allowed = self.picked.gap, f"the {self.within:g} that `within` allows"
        print(
            f"  {gap.mean:+.2f} points beside the teacher ({bounds(gap, '+')}): "
            + (f"inside {allowed}" if self.keeps else f"beyond {allowed}, but the 95 % interval reaches it")
        )


def pick_cascade(offer: Offer, picking: Picking) -> CascadePick:
    """Picks the cheapest cascade that keeps within some points of the teacher on rows not fitted on.

    Some hundred rows measure a difference to about a point. So a cascade whose mean is below is still taken,
    the nearest one, where no other's is above and its 95 % interval does not rule it out.

    Raises:
        NothingFitsError: All are ruled out, or no student keeps to the budget.
        StoreError: As from `read_cascades`.
    """
    within, checked = _within(picking), read_cascades(offer, picking)
    if not checked:
        raise NothingFitsError(f"no student keeps to {picking.asked}, so there is no cascade; allow more")
    # Formats of an arm share their answers, so the cheaper one is nearer.
    nearest = max(checked, key=lambda each: (each.gap.mean, -each.price))
    if nearest.gap.high < -within:
        raise NothingFitsError(
            f"no cascade is within {within:g} points of the teacher on rows that its rule was not fitted on: "
            f"the nearest is {nearest.student.title} with {nearest.gap.mean:+.2f} points at "
            f"{100 * nearest.calls:.0f} % of calls; allow more by `within`"
        )
    keeping = [each for each in checked if each.gap.mean >= -within]
    picked = min(keeping, key=lambda each: each.price, default=nearest)
    return CascadePick(picked, checked, within)


def _within(picking: Picking) -> float:
    return WITHIN if picking.within is None else picking.within
