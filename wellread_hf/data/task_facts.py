"""What the settings of a task state of it, before its rows are read."""

from wellread_hf.errors import DataError, UnknownNameError
from wellread_hf.settings import Task
from wellread_hf.tasks import GLUE, GLUE_TASKS, TaskFacts, nearest_task


def finds_classes(task: Task) -> bool:
    """Returns whether a task's classes are found in its data, as its settings name none."""
    return not (task.labels or task.regression or is_glue(task))


def is_glue(task: Task) -> bool:
    """Returns whether a task is one of GLUE's, whose facts are known."""
    # Columns are named for a user's own data, which may have the name of a GLUE task.
    return task.name in GLUE_TASKS and not task.columns


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
        return GLUE_TASKS[task.name]
    if not task.columns:
        raise DataError(
            f"task {task.name!r}: expected the names of one or two text columns; give `task.columns`"
        )
    if task.label in task.columns:
        raise DataError(
            f"task {task.name!r}: expected a column of labels beside the texts, got {task.label!r} as both; "
            "name it with `task.label`"
        )
    # GLUE's own for its one regression, STS-B.
    metrics: tuple[str, ...] = ("pearson", "spearman") if task.regression else ("accuracy",)
    if task.multi_label:
        metrics = ("f1_micro", "f1_macro")
    return TaskFacts(columns=task.columns, labels=task.labels, metrics=metrics, multi_label=task.multi_label)
