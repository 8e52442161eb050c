"""Scores of classifiers: runs that differ in their seeds alone become one result."""

from collections.abc import Mapping, Sequence
from typing import Any

from wellread_hf.hub.cards.facts import ClassCounts, Origin, Result, Score, Split, TaskData, Teaching
from wellread_hf.hub.cards.shelf import Shelf
from wellread_hf.hub.cards.sources import transfer_of
from wellread_hf.store.records import StageRecord
from wellread_hf.tasks import GLUE, GLUE_TASKS


def result_of(shelf: Shelf, runs: Sequence[StageRecord], this_seed: int | None = None) -> Result:
    """Builds the result of runs of one recipe, in the order of their seeds."""
    runs = sorted(runs, key=lambda run: int(run.settings["tuning"]["seed"]))
    record = runs[0]
    tuning = record.settings["tuning"]
    return Result(
        method=shelf.method(record),
        task=task_of(record),
        seeds=tuple(int(run.settings["tuning"]["seed"]) for run in runs),
        scores=tuple(_scores(runs)),
        train_rows=record.outcome.get("train_rows"),
        epochs=float(tuning["epochs"]),
        max_length=int(tuning["max_length"]),
        learning_rate=float(tuning["optim"]["learning_rate"]),
        batch_size=int(tuning["optim"]["batch_size"]),
        teaching=_teaching(shelf, record),
        mlm_loss=record.outcome.get("mlm_loss_at_start"),
        this_seed=this_seed,
        lora_rank=record.settings.get("lora", {}).get("rank"),
    )


def task_of(record: StageRecord) -> TaskData:
    """Reads a classifier's task; GLUE's configurations and splits are GLUE's own."""
    task = record.settings["task"]
    origin = Origin(fingerprint=str(task["content"][0]))
    known = GLUE_TASKS.get(task["name"]) if not task["columns"] else None
    # A file of one's own may bear a name of GLUE's; GLUE itself has a validation split of its own.
    glue = known is not None and not task["validation"] and origin.hub_id in (None, GLUE)
    return TaskData(
        name=str(task["name"]),
        glue=glue,
        origin=origin,
        config=task["config"] or (task["name"] if glue else None),
        validation=known.validation if known is not None and glue else "validation",
        columns=len(known.columns if known is not None else task["columns"]),
        regression=bool(task["regression"]) or (known is not None and not known.labels),
        class_counts=class_counts_of(record.outcome),
    )


def class_counts_of(outcome: Mapping[str, Any]) -> ClassCounts:
    """Reads the rows of each class; nothing where a record does not say, or of regression."""
    counts: Mapping[str, Mapping[str, int]] = outcome.get("class_counts") or {}
    return tuple((split, tuple(of.items())) for split, of in counts.items())


def _scores(runs: Sequence[StageRecord]) -> list[Score]:
    outcome = runs[0].outcome
    known = GLUE_TASKS.get(runs[0].settings["task"]["name"])
    names = list(outcome["validation"])
    # Records of before there was `metric` sort theirs by name.
    first = outcome.get("metric") or (known.metrics[0] if known is not None else names[0])
    names.sort(key=lambda metric: (metric != first, metric))
    splits: tuple[tuple[str, Split], ...] = (("validation", "dev"), ("test", "test"))
    return [
        Score(split=word, metric=metric, values=tuple(float(run.outcome[split][metric]) for run in runs))
        for split, word in splits
        for metric in names
        if all(metric in run.outcome.get(split, {}) for run in runs)
    ]


def _teaching(shelf: Shelf, record: StageRecord) -> Teaching | None:
    distilled = next((step for step in shelf.lineage(record) if step.kind == "distill"), None)
    labelling = shelf.soft_labels(record)
    if distilled is None or labelling is None:
        return None
    teacher: Any = labelling.settings["teacher"]
    behind = shelf.behind(teacher)
    known = GLUE_TASKS.get(record.settings["task"]["name"])
    scores = labelling.outcome.get("teacher_validation", {})
    metric = labelling.outcome.get("metric") or (known.metrics[0] if known else next(iter(scores), None))
    objective = distilled.settings["objective"]
    return Teaching(
        teacher=Origin(fingerprint=str(teacher)),
        teacher_name=None if behind is None else behind.name,
        transfer=transfer_of(labelling.settings["transfer"]),
        rows=labelling.outcome.get("rows"),
        metric=metric if metric in scores else None,
        score=scores.get(metric),
        temperature=float(objective["temperature"]),
        hard_label_share=float(objective["hard_label_share"]),
        # Left out where it is the default.
        method=str(objective.get("method", "soft-labels")),
    )
