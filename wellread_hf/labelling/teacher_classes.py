"""Which output of a teacher stands for which class of the task: matched by name, never by place."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from wellread_hf.errors import LabelError
from wellread_hf.models.problems import MULTI_LABEL, REGRESSION, SINGLE_LABEL, inferred_problem

_KINDS = {REGRESSION: "regression", SINGLE_LABEL: "{} classes", MULTI_LABEL: "{} independent classes"}


def teacher_order(
    config: Any,
    task: Sequence[str],
    named: Sequence[str],
    who: str = "the teacher",
    multi_label: bool = False,
    tagging: bool = False,
) -> list[int]:
    """Returns which output of a teacher belongs to each class of the task.

    Args:
        config: The teacher's config.
        task: Class names of the task; empty for regression.
        named: The teacher's class names, where its config has none of the task's.
        who: What errors call it.
        multi_label: Whether the task's classes are independent of one another.
        tagging: Whether they are classes of words.

    Raises:
        LabelError: Numbers of labels differ, a teacher of one kind (regression, single-label, multi-label, of
            words) meets a task of another, or names cannot be matched, or `named` contradicts the config.
    """
    outputs = config.num_labels
    # A config may say nothing; then as stock heads take it (docs/decisions.md).
    problem = getattr(config, "problem_type", None) or inferred_problem(outputs)
    expected = REGRESSION if not task else MULTI_LABEL if multi_label else SINGLE_LABEL
    if tagging != _tags_words(config):
        theirs, ours = ("texts", "words") if tagging else ("words", "texts")
        raise LabelError(
            f"{who} classifies {theirs}, the task is {len(task)} classes of {ours} ({', '.join(task)}); take "
            "a teacher that was fine-tuned on this task (wellread teacher), or see `task.tagging`"
        )
    if outputs != max(1, len(task)) or problem != expected:
        what = _KINDS.get(problem, problem).format(outputs)
        ours = f"{_KINDS[expected].format(len(task))} ({', '.join(task)})" if task else "regression"
        remedy = "" if problem == expected else ", or correct problem_type in its config.json"
        raise LabelError(
            f"{who} was trained for {what}, the task is {ours}; take a teacher that was fine-tuned "
            f"on this task (wellread teacher){remedy}"
        )
    if not task:
        return [0]
    own = _own_names(config, who)
    order = match_labels(named or own, task, who)
    # Of several teachers one may have the task's names, while `named` is for another.
    if _are_matched(own, task) and match_labels(own, task, who) != order:
        raise LabelError(
            f"`label.teacher_labels` {' '.join(named)}: the config of {who} says that its outputs are "
            f"{', '.join(own)}; leave the names out, or correct id2label in its config.json"
        )
    return order


def _tags_words(config: Any) -> bool:
    return str(getattr(config, "architectures", None)).endswith("ForTokenClassification']")


def _own_names(config: Any, who: str) -> list[str]:
    """Returns the names that a config gives its outputs, in their order."""
    names: dict[int, Any] = config.id2label
    if sorted(names) != list(range(len(names))) or not all(isinstance(name, str) for name in names.values()):
        raise LabelError(
            f"{who} was saved with id2label {names} in its config.json: expected a name for each output, "
            f'numbered from 0, in quotes; write it so, e.g. {{"0": "negative", "1": "positive"}}'
        )
    return [names[number] for number in range(len(names))]


def match_labels(teacher: Sequence[str], task: Sequence[str], who: str = "the teacher") -> list[int]:
    """Finds, for each of the task's classes, the teacher's output of the same name.

    Names are compared without regard to case, spaces, `_` and `-`.

    Raises:
        LabelError: The names are not the same set; the message shows both lists.
    """
    if not _are_matched(teacher, task):
        raise LabelError(
            f"{who}'s classes ({', '.join(teacher)}) and the task's ({', '.join(task)}) cannot be "
            "matched by name; name the task's classes as they are there with `task.labels`, or the teacher's "
            "outputs in their order with `label.teacher_labels`"
        )
    plain = [plain_name(name) for name in teacher]
    return [plain.index(plain_name(name)) for name in task]


def _are_matched(teacher: Sequence[str], task: Sequence[str]) -> bool:
    theirs, ours = sorted(map(plain_name, teacher)), sorted(map(plain_name, task))
    return theirs == ours and len(set(ours)) == len(ours)


def plain_name(name: str) -> str:
    """Returns a class name without what names are compared without: case, spaces, `_` and `-`."""
    # `not_entailment` and `Not-Entailment` are one name. Some systems write é as two characters.
    return unicodedata.normalize("NFC", name.lower()).translate({ord(mark): None for mark in " _-"})
