"""What a task is made of: text columns, class names, metrics, splits. GLUE's by name.

Source: Wang et al. 2019 (GLUE), columns and label order as in `nyu-mll/glue`.
"""

from dataclasses import dataclass

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
    """

    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)
    validation: str = "validation"
    test: str = "test"


_ENTAILMENT = ("entailment", "not_entailment")

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
        validation="validation_matched",
        test="test_matched",
    ),
    "qnli": TaskFacts(columns=("question", "sentence"), labels=_ENTAILMENT),
    "rte": TaskFacts(columns=("sentence1", "sentence2"), labels=_ENTAILMENT),
    "wnli": TaskFacts(columns=("sentence1", "sentence2"), labels=("not_entailment", "entailment")),
}
