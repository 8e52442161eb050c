"""The part of true labels in a training: where they have to be there, and the weights of their classes."""

from typing import Any

from wellread_hf.errors import SettingsError, UnknownNameError, listed, nearest
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.settings import Task, Transfer, Tuning
from wellread_hf.settings.training import BALANCED
from wellread_hf.stages.transfer_set import TASK
from wellread_hf.tasks import TaskFacts


def check_hard_labels(task: Task, transfer: Transfer) -> None:
    """Refuses a hard-label share where rows of the transfer set have no true label.

    Raises:
        SettingsError: There is text without labels, or only some of the labels are allowed.
    """
    if task.train_rows is not None:
        raise SettingsError(
            f"`task.train_rows` allows {task.train_rows} labels, but a hard-label share uses those of the "
            "whole transfer set; leave out one of the two"
        )
    if transfer.sources != (TASK,):
        raise SettingsError(
            "`objective.hard_label_share` needs true labels, and this transfer set has text without labels; "
            "use `transfer.sources` task, or a share of 0"
        )


def check_class_weights(tuning: Tuning, task: Task, facts: TaskFacts | None, share: float) -> None:
    """Refuses weights that would have no effect, or are of no class of the task.

    Args:
        tuning: What names them.
        task: The task.
        facts: Its facts with its classes; None where a stage has yet to make its rows.
        share: Of the true labels in what is minimised.

    Raises:
        SettingsError: True labels have no part, or the task's rows have not one class each.
        UnknownNameError: The task has no such class.
    """
    if not tuning.class_weights:
        return
    if not share:
        raise SettingsError(
            "`class_weights` weigh true labels, and soft labels alone are learnt here; give "
            "`objective.hard_label_share`, or leave them out"
        )
    kinds = {
        "several classes a row": task.multi_label,
        "tags of words": task.tagging,
        "numbers": task.regression or (facts is not None and not facts.labels),
    }
    for kind in (kind for kind, is_one in kinds.items() if is_one):
        raise SettingsError(
            f"`class_weights`: expected a task of one class a row, got {kind}; leave them out"
        )
    names = () if facts is None else facts.labels
    for name in _named(tuning):
        if names and name not in names:
            raise UnknownNameError(
                f"`class_weights`: expected classes of the task, {listed(names)}, got {name!r}; the nearest "
                f"is {nearest(name, names, 1)}"
            )


def class_weights(tuning: Tuning, facts: TaskFacts, labels: Any) -> list[float] | None:
    """Returns the weight of each class in order; None where all weigh the same.

    Args:
        tuning: What names them.
        facts: The task's classes.
        labels: Class numbers of the training rows [n] or of their words, -100 without one. `balanced` gives
            a class rows / (classes · rows of the class), as scikit-learn does, where rows have it, else 1.
    """
    if not tuning.class_weights:
        return None
    if tuning.class_weights != (BALANCED,):
        named = _named(tuning)
        return [named.get(name, 1.0) for name in facts.labels]
    import numpy as np
    from sklearn.utils.class_weight import compute_class_weight

    numbers = labels.values if isinstance(labels, PerWord) else labels
    known = numbers[numbers >= 0]
    there = np.unique(known)
    weights = np.ones(len(facts.labels))
    weights[there] = compute_class_weight(BALANCED, classes=there, y=known)
    found: list[float] = weights.tolist()
    return found


def _named(tuning: Tuning) -> dict[str, float]:
    if tuning.class_weights == (BALANCED,):
        return {}
    return {
        name: float(weight) for name, _, weight in (each.rpartition("=") for each in tuning.class_weights)
    }
