"""Scores of classifiers: runs that differ in their seeds alone become one result, and the best is chosen."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wellread_hf.hub.cards.facts import ClassCounts, Result, Score, SoftLabels, Split, TaskData, Teaching
from wellread_hf.hub.cards.origins import Origin, Source
from wellread_hf.results.lineage import TUNED, Stages
from wellread_hf.store.records import StageRecord
from wellread_hf.students import Student
from wellread_hf.tasks import GLUE, GLUE_TASKS


def results_of_encoder(stages: Stages, record: StageRecord) -> tuple[Result, ...]:
    """Returns the best choice of settings a task, method and budget, of all that started from an encoder."""
    here = record.fingerprint
    runs = [run for run in stages.records.values() if run.kind in TUNED]
    return _best(stages, [run for run in runs if stages.start(run)["weights"] == here])


def results_of_classifier(stages: Stages, record: StageRecord, student: Student) -> tuple[Result, ...]:
    """Returns a task student's own result, and the best of every other method at the same budget."""
    # From a folder on its own, as after a download, the model's record is all there is.
    runs = [run for run in {**stages.records, record.digest: record}.values() if run.kind in TUNED]
    mine, encoder, teaching = stages.recipe(record), stages.start(record)["weights"], stages.teaching(record)

    def comparable(run: StageRecord) -> bool:
        start = stages.start(run)
        return (
            stages.method(run) != stages.method(record)
            and stages.budget(run) == stages.budget(record)
            and stages.teaching(run) in ("", teaching)
            and (start["weights"], start["student"]) in ((encoder, None), (None, student.name))
            and stages.tokenizer(run) == stages.tokenizer(record)
        )

    own = [run for run in runs if stages.recipe(run) == mine]
    own_result = _result(stages, own, this_seed=record.settings["tuning"]["seed"])
    return (own_result, *_best(stages, filter(comparable, runs)))


def _best(stages: Stages, runs: Iterable[StageRecord]) -> tuple[Result, ...]:
    groups: dict[str, list[StageRecord]] = defaultdict(list)
    for run in runs:
        groups[stages.recipe(run)].append(run)
    chosen: dict[tuple[str, ...], Result] = {}
    for _, group in sorted(groups.items()):
        result = _result(stages, group)
        key = (result.task.name, result.method, stages.budget(group[0]), stages.teaching(group[0]))
        # More seeds decide between equals; one lucky seed is not preferred to three for a tie.
        if key not in chosen or _rank(result) > _rank(chosen[key]):
            chosen[key] = result
    return tuple(chosen[key] for key in sorted(chosen))


def _rank(result: Result) -> tuple[float, int]:
    return result.first.mean, len(result.seeds)


def _result(stages: Stages, runs: Sequence[StageRecord], this_seed: int | None = None) -> Result:
    """Builds the result of runs of one recipe, in the order of their seeds."""
    runs = sorted(runs, key=lambda run: int(run.settings["tuning"]["seed"]))
    record = runs[0]
    tuning = record.settings["tuning"]
    return Result(
        method=stages.method(record),
        task=_task(record),
        seeds=tuple(run.settings["tuning"]["seed"] for run in runs),
        scores=tuple(_scores(runs)),
        train_rows=record.outcome["train_rows"],
        epochs=tuning["epochs"],
        max_length=tuning["max_length"],
        learning_rate=tuning["optim"]["learning_rate"],
        batch_size=tuning["optim"]["batch_size"],
        teaching=_teaching(stages, record),
        mlm_loss=record.outcome.get("mlm_loss_at_start"),
        this_seed=this_seed,
        lora_rank=record.settings.get("lora", {}).get("rank"),
    )


def _task(record: StageRecord) -> TaskData:
    """Reads a classifier's task; GLUE's configurations and splits are GLUE's own."""
    task = record.settings["task"]
    origin = Origin(fingerprint=task["content"][0])
    known = GLUE_TASKS.get(task["name"]) if not task["columns"] else None
    # A user's own file may have the name of a GLUE task; GLUE itself has a validation split.
    glue = known is not None and not task["validation"] and origin.hub_id in (None, GLUE)
    return TaskData(
        name=task["name"],
        glue=glue,
        origin=origin,
        config=task["config"] or (task["name"] if glue else None),
        validation=known.validation if known is not None and glue else "validation",
        columns=len(known.columns if known is not None else task["columns"]),
        regression=task["regression"] or (known is not None and not known.labels),
        tagging=task.get("tagging", False),
        class_counts=class_counts_of(record.outcome),
    )


def class_counts_of(outcome: Mapping[str, Any]) -> ClassCounts:
    """Reads the rows of each class; nothing where a record does not say, or for regression."""
    counts: Mapping[str, Mapping[str, int]] = outcome.get("class_counts") or {}
    return tuple((split, tuple(rows.items())) for split, rows in counts.items())


def _scores(runs: Sequence[StageRecord]) -> Iterator[Score]:
    outcome = runs[0].outcome
    names = sorted(outcome["validation"], key=lambda metric: (metric != outcome["metric"], metric))
    splits: tuple[tuple[str, Split], ...] = (("validation", "dev"), ("test", "test"))
    for split, word in splits:
        for metric in names:
            if all(metric in run.outcome.get(split, {}) for run in runs):
                values = tuple(run.outcome[split][metric] for run in runs)
                yield Score(split=word, metric=metric, values=values)


def soft_labels_of(record: StageRecord) -> SoftLabels:
    """Reads the record of a labelling stage."""
    transfer: list[Source | None] = []
    for identities in record.settings["transfer"]["sources"]:
        # A word stands for the task's own training text.
        transfer.extend([None] if isinstance(identities, str) else map(Source.of, identities))
    outcome = record.outcome
    # Validation rows may not be among imported ones.
    metric = outcome.get("metric")
    return SoftLabels(
        teacher=Origin(fingerprint=record.settings["teacher"]),
        transfer=tuple(transfer),
        rows=outcome["rows"],
        imported=record.settings.get("imported", {}).get("kind"),
        metric=metric,
        score=None if metric is None else outcome["teacher_validation"][metric],
    )


def _teaching(stages: Stages, record: StageRecord) -> Teaching | None:
    distilled = stages.distillation(record)
    labelling = None if distilled is None else stages.records.get(distilled.settings["labels"])
    if distilled is None or labelling is None:
        return None
    teacher = stages.producer(labelling.settings["teacher"])
    objective = distilled.settings["objective"]
    return Teaching(
        labels=soft_labels_of(labelling),
        teacher_name=None if teacher is None else teacher.name,
        temperature=objective["temperature"],
        hard_label_share=objective["hard_label_share"],
        # Left out where it is the default.
        method=objective.get("method", "soft-labels"),
    )
