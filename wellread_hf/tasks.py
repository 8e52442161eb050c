"""What a task is made of: text columns, class names, metrics, splits. GLUE's by name.

Source: Wang et al. 2019 (GLUE), columns and label order as in `nyu-mll/glue`.
"""

import re
from dataclasses import dataclass

from wellread_hf.errors import UnknownNameError, nearest

GLUE = "nyu-mll/glue"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """Everything about a task that does not depend on its rows.

    Attributes:
        columns: One text column, or two for pairs.
        labels: Class names in the order of their numbers; empty for regression.
        metrics: Metric names; the first one chooses the best checkpoint.
        validation: Name of the split that chooses checkpoints.
        test: Name of the test split.
        multi_label: A row may have several classes, or none; labels are [rows, classes] of 0 and 1.
        tagging: Every word of a row has a class; a row's texts are its words.
    """

    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)
    validation: str = "validation"
    test: str = "test"
    multi_label: bool = False
    tagging: bool = False


_ENTAILMENT = ("entailment", "not_entailment")

# Metrics are in the order of GLUE's table, and the first one chooses the checkpoint.
GLUE_TASKS: dict[str, TaskFacts] = {
    "cola": TaskFacts(
        columns=("sentence",),
        labels=("unacceptable", "acceptable"),
        metrics=("matthews_correlation",),
    ),
    "sst2": TaskFacts(columns=("sentence",), labels=("negative", "positive")),
    "mrpc": TaskFacts(
        columns=("sentence1", "sentence2"),
        labels=("not_equivalent", "equivalent"),
        metrics=("f1", "accuracy"),
    ),
    "stsb": TaskFacts(columns=("sentence1", "sentence2"), labels=(), metrics=("pearson", "spearman")),
    "qqp": TaskFacts(
        columns=("question1", "question2"),
        labels=("not_duplicate", "duplicate"),
        metrics=("f1", "accuracy"),
    ),
    "mnli": TaskFacts(
        columns=("premise", "hypothesis"),
        labels=("entailment", "neutral", "contradiction"),
        # Of two sets one has to choose the checkpoint: the one of the training rows' genres.
        validation="validation_matched",
        test="test_matched",
    ),
    "qnli": TaskFacts(columns=("question", "sentence"), labels=_ENTAILMENT),
    "rte": TaskFacts(columns=("sentence1", "sentence2"), labels=_ENTAILMENT),
    # Not in RTE's order: numbers of classes are those of GLUE's own data set.
    "wnli": TaskFacts(columns=("sentence1", "sentence2"), labels=("not_entailment", "entailment")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueSet:
    """Rows that GLUE scores by themselves, and how its server wants them predicted.

    Attributes:
        title: GLUE's name for them: the file in a submission, the column of its table.
        task: The task whose model predicts them.
        config: Configuration of `nyu-mll/glue` that holds them.
        dev: Their split with labels; None where no labels are public.
        test: Their split without.
        test_rows: Rows of that split.
        commonest: The most frequent class of the task's training rows, by number; the mean in regression.
        metrics: Metric names, in GLUE's order.
        words: Classes are handed in by name; else by number.
    """

    title: str
    task: str
    config: str
    dev: str | None
    test: str
    test_rows: int
    commonest: float
    metrics: tuple[str, ...]
    words: bool = False


def _own(task: str, title: str, test_rows: int, commonest: float, words: bool = False) -> GlueSet:
    facts = GLUE_TASKS[task]
    return GlueSet(
        title=title,
        task=task,
        config=task,
        dev=facts.validation,
        test=facts.test,
        test_rows=test_rows,
        commonest=commonest,
        metrics=facts.metrics,
        words=words,
    )


# In the order of GLUE's table. Words or numbers as in the benchmark's own code (jiant): WNLI takes numbers.
GLUE_SETS: dict[str, GlueSet] = {
    "cola": _own("cola", "CoLA", 1_063, 1),
    "sst2": _own("sst2", "SST-2", 1_821, 1),
    "mrpc": _own("mrpc", "MRPC", 1_725, 1),
    "stsb": _own("stsb", "STS-B", 1_379, 2.7),
    "qqp": _own("qqp", "QQP", 390_965, 0),
    "mnli": _own("mnli", "MNLI-m", 9_796, 2, words=True),
    "mnli_mismatched": GlueSet(
        title="MNLI-mm",
        task="mnli",
        config="mnli",
        dev="validation_mismatched",
        test="test_mismatched",
        test_rows=9_847,
        commonest=2,
        metrics=GLUE_TASKS["mnli"].metrics,
        words=True,
    ),
    "qnli": _own("qnli", "QNLI", 5_463, 1, words=True),
    "rte": _own("rte", "RTE", 3_000, 0, words=True),
    "wnli": _own("wnli", "WNLI", 146, 0),
    "ax": GlueSet(
        title="AX",
        # GLUE has these rows predicted by the model of MNLI.
        task="mnli",
        config="ax",
        # AX has no labelled rows anywhere.
        dev=None,
        test="test",
        test_rows=1_104,
        commonest=2,
        metrics=("matthews_correlation",),
        words=True,
    ),
}


def sets_of(task: str) -> dict[str, GlueSet]:
    """Returns what the model of one of GLUE's tasks predicts, by name."""
    return {name: rows for name, rows in GLUE_SETS.items() if rows.task == task}


def parse_glue_tasks(text: str) -> tuple[str, ...]:
    """Reads `all`, or names of GLUE's tasks joined by commas; returns them in GLUE's order.

    Raises:
        UnknownNameError: A name is none of GLUE's.
    """
    names = [name.strip() for name in text.split(",")] if text != "all" else list(GLUE_TASKS)
    for name in names:
        if name not in GLUE_TASKS:
            raise UnknownNameError(
                f"`tasks` {text}: expected all or GLUE's tasks joined by commas ({', '.join(GLUE_TASKS)}), "
                f"got {name!r}; the nearest is {nearest_task(name)}"
            )
    return tuple(name for name in GLUE_TASKS if name in names)


def nearest_task(name: str) -> str:
    """Returns GLUE's task that is meant by a name like `SST-2` or `mnli-mm`."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((task for task in GLUE_TASKS if task in plain), nearest(plain, GLUE_TASKS, 1))
