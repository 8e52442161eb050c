"""Warnings where a score is no better than that of one answer throughout."""

from collections.abc import Mapping, Sequence
from typing import Any

from wellread_hf.metrics.per_class import class_of
from wellread_hf.metrics.scores import metric_at

# A score up to this may come of one answer throughout: correlations by chance, on a few hundred rows.
_NOTHING = {
    "matthews_correlation": 0.05,
    "pearson": 0.05,
    "spearman": 0.05,
    "f1_micro": 0.0,
    "entity_f1": 0.0,
}
# Characters of a class in a sentence: a column of texts taken for labels has classes of any length.
_LONGEST_NAME = 40
# Metrics of tasks whose rows have one class each.
_OF_ONE_CLASS = {"accuracy", "f1", "matthews_correlation"}
_REMEDY = "nothing was learnt from the texts; train longer or at another learning rate, and look at the rows"
# A teacher is not trained here, and may be a prompt or a table.
_TEACHERS = "its soft labels say nothing of the texts; take another teacher, or another prompt if it has one"


def commonest(counts: Mapping[str, int]) -> tuple[str, float] | None:
    """Returns the commonest class and its share of the rows, 0 to 1; None where there are no counts."""
    if not sum(counts.values()):
        return None
    name = max(counts, key=lambda name: counts[name])
    return name[:_LONGEST_NAME], counts[name] / sum(counts.values())


def doubt(
    scores: Mapping[str, float], counts: Mapping[str, int], what: str, remedy: str = _REMEDY
) -> str | None:
    """Says that scores are no better than those of one answer throughout, with both figures; else None.

    Args:
        scores: By metric, 0 to 1, the first one first.
        counts: Rows of each class; empty where they are not known.
        what: Whose scores on which rows, for the sentence.
        remedy: What it means, and what to do.
    """
    first = next(iter(scores), "")
    if counts and (nothing := _of_one_answer(first, counts)) is not None:
        if scores[first] > nothing:
            return None
        return (
            f"{metric_at(first)} {100 * scores[first]:.1f} % {what} is no better than that of one answer "
            f"throughout, {100 * nothing:.1f} %: {remedy}"
        )
    constant = commonest(counts)
    if "accuracy" in scores and constant is not None:
        name, share = constant
        if scores["accuracy"] <= share:
            return (
                f"accuracy {100 * scores['accuracy']:.1f} % {what} is no better than the share of the "
                f"commonest class, {100 * share:.1f} % {name!r}: {remedy}"
            )
    for metric, nothing in _NOTHING.items():
        if metric in scores and scores[metric] <= nothing:
            return (
                f"{metric} {100 * scores[metric]:.1f} % {what} is no better than that of one answer "
                f"throughout, 0.0 %: {remedy}"
            )
    return None


def _of_one_answer(metric: str, counts: Mapping[str, int]) -> float | None:
    """Returns what one class throughout reaches at best in F1 of classes; None of another metric."""
    of, rows = class_of(metric), sum(counts.values())
    # Precision is the class's share p of the rows, recall 1.
    f1 = {name: 2 * count / (rows + count) for name, count in counts.items()}
    if of is not None:
        return f1.get(of[1])
    return max(f1.values()) / len(f1) if metric == "f1_macro" else None


def doubts(outcome: Mapping[str, Any]) -> Sequence[str]:
    """Returns the warnings for a finished stage's outcome, a sentence each."""
    found: list[str | None] = []
    reached, unigram = outcome.get("held_out_loss"), outcome.get("unigram_loss")
    if reached is not None and unigram is not None and not reached < unigram:
        found.append(
            f"held-out MLM loss {reached:.2f} nats is not below that of word frequencies alone, "
            f"{unigram:.2f}: the student has learnt nothing of context; train longer, or at a lower "
            "learning rate"
        )
    # Not of test rows: the remedy is another choice of settings, which is made on validation rows.
    counts = counts_of(outcome, "validation")
    found.append(doubt(outcome.get("validation", {}), counts, "on validation"))
    found.append(
        doubt(outcome.get("teacher_validation", {}), counts, "of the teacher on validation", _TEACHERS)
    )
    return [sentence for sentence in found if sentence is not None]


def counts_of(outcome: Mapping[str, Any], split: str) -> Mapping[str, int]:
    """Returns the rows of each class of a split; none where they are not known, or have several classes."""
    scored = {outcome.get("metric"), *outcome.get(split, {}), *outcome.get("teacher_validation", {})}
    if not scored & _OF_ONE_CLASS:
        return {}
    counts: Mapping[str, int] = (outcome.get("class_counts") or {}).get(split, {})
    return counts


def with_warnings(outcome: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns an outcome with its warnings, new ones after those that it has."""
    found = [*outcome.get("warnings", ()), *doubts(outcome)]
    return {**outcome, "warnings": found} if found else outcome
