"""What the settings of a task state of it, before its rows are read."""

from dataclasses import replace

from wellread_hf.data.conll import WORDS
from wellread_hf.errors import DataError, UnknownNameError, listed, nearest
from wellread_hf.metrics.per_class import f1_of_class
from wellread_hf.metrics.tags import tag_metrics
from wellread_hf.settings import Task
from wellread_hf.tasks import GLUE, GLUE_TASKS, TaskFacts, nearest_task

# Metrics that can choose, by the kind of task; beside them one class's F1.
_OF_VALUES = ("pearson", "spearman")
_OF_SEVERAL_CLASSES = ("f1_micro", "f1_macro")
_OF_WORDS = ("entity_f1", "accuracy")
_OF_ONE_CLASS = ("accuracy", "f1", "f1_macro", "matthews_correlation")


def finds_classes(task: Task) -> bool:
    """Returns whether a task's classes are found in its data, as its settings name none."""
    return not (task.labels or task.regression or is_glue(task))


def is_glue(task: Task) -> bool:
    """Returns whether a task is one of GLUE's, whose facts are known."""
    # Columns are named for a user's own data, which may have the name of a GLUE task.
    return task.name in GLUE_TASKS and not task.columns and not task.tagging


def task_home(task: Task) -> str:
    """Returns where a task's data is: what its settings name, or GLUE's place on the Hub.

    Raises:
        UnknownNameError: The settings name no data and the task is not one of GLUE's.
    """
    if task.data is not None:
        return task.data
    if not is_glue(task):
        raise UnknownNameError(
            f"`task.name` {task.name!r}: expected one of GLUE's tasks ({', '.join(GLUE_TASKS)}), the nearest "
            f"is {nearest_task(task.name)}; for data of your own give `task.data` and `task.columns`"
        )
    return GLUE


def facts_of(task: Task) -> TaskFacts:
    """Returns the facts of a task that its settings state, before its rows are read.

    Raises:
        DataError: The settings do not name its columns, or name them wrongly.
    """
    if is_glue(task) and task.multi_label:
        raise DataError(
            f"`task.multi_label`: the rows of GLUE's {task.name} have one class each; name another task"
        )
    if is_glue(task):
        return with_metric(GLUE_TASKS[task.name], task)
    if task.tagging:
        # What a .conll file has is called so.
        columns = task.columns or (WORDS,)
    elif not (columns := task.columns):
        raise DataError(
            f"task {task.name!r}: expected the names of one or two text columns; give `task.columns`"
        )
    if task.label in columns:
        raise DataError(
            f"task {task.name!r}: expected a column of labels beside the texts, got {task.label!r} as both; "
            "name it with `task.label`"
        )
    # GLUE's own for its one regression, STS-B.
    metrics: tuple[str, ...] = ("pearson", "spearman") if task.regression else ("accuracy",)
    if task.multi_label:
        metrics = ("f1_micro", "f1_macro")
    if task.tagging:
        metrics = tag_metrics(task.labels)
    facts = TaskFacts(
        columns=columns,
        labels=task.labels,
        metrics=metrics,
        multi_label=task.multi_label,
        tagging=task.tagging,
    )
    return with_metric(facts, task)


def with_metric(facts: TaskFacts, task: Task) -> TaskFacts:
    """Returns facts whose first metric is the one that the settings name, where they name one.

    Args:
        facts: The task's; where its classes are not known yet, one class's F1 waits for them.
        task: The settings.

    Raises:
        UnknownNameError: There is no such metric, or no such class.
        DataError: The task is of another kind than the metric.
    """
    if task.metric is None:
        return facts
    kind, of, name = task.metric.partition(":")
    has_classes = bool(facts.labels) or finds_classes(task)
    of_classes = _OF_SEVERAL_CLASSES if facts.multi_label else _OF_ONE_CLASS
    known: tuple[str, ...] = of_classes if has_classes else _OF_VALUES
    if facts.tagging:
        known = facts.metrics if facts.labels else _OF_WORDS
    by_class = has_classes and not facts.tagging
    if not (by_class and of and kind == "f1") and task.metric not in known:
        more = " or f1:CLASS" if by_class else ""
        raise UnknownNameError(
            f"`task.metric` {task.metric!r}: expected one of {', '.join(known)}{more} for this kind of task; "
            f"the nearest is {nearest(task.metric, known, 1)}"
        )
    if not facts.labels and has_classes:
        return facts
    if of and name not in facts.labels:
        raise UnknownNameError(
            f"`task.metric` {task.metric!r}: expected one of the task's classes after f1:, "
            f"{listed(facts.labels)}; the nearest is {nearest(name, facts.labels, 1)}"
        )
    if task.metric == "f1" and len(facts.labels) > 2:
        raise DataError(
            f"`task.metric` f1 is of the second of two classes, got {len(facts.labels)}; take f1_macro, the "
            "mean over classes, or f1:CLASS"
        )
    first = f1_of_class(facts.labels.index(name), name) if of else task.metric
    return replace(facts, metrics=tuple(dict.fromkeys([first, *facts.metrics])))
