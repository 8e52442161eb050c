"""Scores of tags: F1 of entities as `seqeval` counts them, and the share of words with the right tag."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from wellread_hf.metrics.per_word import PerWord

OUTSIDE = "O"
# Beginning, inside, end and single, as IOB1, IOB2, IOE and IOBES have them; `seqeval` finds out which.
_OF_ENTITY = re.compile(r"[BIES]-.+", re.DOTALL)


def is_tag(name: str) -> bool:
    """Returns whether a class is a tag of entities: outside, or a place in an entity with its type."""
    return name == OUTSIDE or _OF_ENTITY.fullmatch(name) is not None


def tag_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the metrics of a task with these classes: without entities, as in parts of speech, accuracy."""
    return ("entity_f1", "accuracy") if any(map(_OF_ENTITY.fullmatch, names)) else ("accuracy",)


def tag_scores(metrics: Sequence[str], predictions: PerWord, labels: PerWord) -> dict[str, float]:
    """Scores class numbers of words, 0 to 1; words without a prediction are taken to be outside.

    Args:
        metrics: `entity_f1`: an entity counts where its type and both its ends are right (conlleval's rule);
            0 where there is none. `accuracy`: the share of words.
        predictions: Class numbers.
        labels: Class numbers, with the names of the classes.
    """
    scored = {"entity_f1": _entity_f1, "accuracy": _accuracy}
    return {name: scored[name](settled(predictions, labels), labels) for name in metrics}


def settled(predictions: PerWord, labels: PerWord) -> PerWord:
    """Returns predictions with the class outside, if there is one, for words that have none."""
    outside = labels.names.index(OUTSIDE) if OUTSIDE in labels.names else -1
    return PerWord(np.where(predictions.values < 0, outside, predictions.values), predictions.offsets)


def _accuracy(predictions: PerWord, labels: PerWord) -> float:
    return float(np.mean(predictions.values == labels.values))


def _entity_f1(predictions: PerWord, labels: PerWord) -> float:
    from seqeval.metrics import f1_score

    truth, found = (_named(each, labels.names) for each in (labels, predictions))
    # 0 where nothing was found is seqeval's own choice, but with a warning at each evaluation.
    return float(f1_score(truth, found, zero_division=0))


def _named(numbers: PerWord, names: Sequence[str]) -> list[Any]:
    named = np.array([*names, OUTSIDE], dtype=object)[numbers.values]
    return [row.tolist() for row in np.split(named, numbers.offsets[1:-1])]
