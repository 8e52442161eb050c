"""Soft labels that somebody else made, as a labelling stage: students read them as those of a teacher."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from wellread_hf.data.corpus import is_pending
from wellread_hf.data.task_facts import facts_of, finds_classes
from wellread_hf.errors import SettingsError
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Imported, Label, Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask, Sources
from wellread_hf.stages.toy import toy_task
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.store.progress import log
from wellread_hf.store.stage import Stage
from wellread_hf.tasks import TaskFacts

# Rows of a table on the Hub that are looked at before anything runs.
_CHECKED_REMOTE = 1_000
# Classes that are printed with their counts.
_SHOWN = 20


def import_labels(
    imported: Imported, task: Task, transfer: Transfer, settings: Label, running: Running
) -> Stage:
    """Stores the soft labels of a table for a transfer set, the table's own texts unless another is named.

    Args:
        imported: The table and how it is read.
        task: The task that its classes are of.
        transfer: The transfer set.
        settings: Names of the classes in the order of lists, and rows a shard.
        running: How it is carried out.

    Raises:
        SourceError: There is no such table.
        SettingsError: The task is one of words.
    """
    assert imported.source is not None
    if toy_task(task).tagging:
        raise SettingsError(
            "`imported.source`: expected a task whose rows have soft labels, got `task.tagging`, whose words "
            "have them; let a tagger label them (`teacher`)"
        )
    table_at = Sources([imported.source], "imported.source", running)
    ((source, location),) = table_at.found
    found_task = FoundTask(replace(task, train_rows=None, train_seed=0), running)
    transfer_set = TransferSet(transfer_of(imported, transfer), running)
    # Of the task's own settings, since a place of the toy world has them from its world.
    stated = not finds_classes(found_task.task)

    @cache
    def read(most: int | None = None) -> Any:
        from wellread_hf.data.rows import check_columns
        from wellread_hf.labelling.tables import Reading, read_table

        facts = facts_of(found_task.task) if found_task.is_pending else found_task.load().facts
        check_columns(source, facts.columns)
        reading = Reading(
            imported=imported,
            source=source,
            facts=facts,
            label=found_task.task.label,
            named=settings.teacher_labels,
            stated=stated,
        )
        return read_table(reading, location, most)

    @cache
    def found() -> Any:
        """Returns the hashes [n] and the logits [n, C] of the transfer set, and what the guard left out."""
        from wellread_hf.labelling.tables import rows_of

        texts = transfer_set.stream(found_task.load())
        table = read()
        places = rows_of(table, texts, source.name)
        return table.hashes[places], table.logits[places], texts.found.counts

    def check() -> None:
        found_task.check()
        transfer_set.check(found_task)
        # What an earlier stage has yet to make cannot be read, nor classes be found in it.
        if is_pending(location) or (found_task.is_pending and not stated):
            return
        if location.fingerprint.startswith("hub:"):
            read(_CHECKED_REMOTE)
        elif found_task.is_pending or any(map(is_pending, transfer_set.locations)):
            read()
        else:
            found()

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.rows import report_classes
        from wellread_hf.labelling.soft_labels import write_rows

        loaded = found_task.load()
        hashes, logits, left_out = found()
        write_rows(stage.folder, logits, hashes, settings.shard_rows)
        facts = loaded.facts
        return with_warnings(
            {
                "rows": len(logits),
                # Not known where there was no guard.
                **({"held_out_rows": left_out} if transfer.guard else {}),
                "labels": facts.labels,
                **({"multi_label": True} if facts.multi_label else {}),
                "class_counts": {**report_classes(loaded), **_counts(facts, logits)},
                **_described(facts, logits),
                **_agreement(loaded, read()),
            }
        )

    return Stage(
        kind="label",
        name=task.name,
        root=running.runs,
        identity={
            "teacher": location.fingerprint,
            "imported": asdict(imported) | {"source": table_at.identity},
            "task": found_task.identity(uses_labels=False, chooses=False),
            "transfer": transfer_set.identity,
            "settings": {"teacher_labels": settings.teacher_labels},
        },
        inputs=[location, *found_task.locations, *transfer_set.locations],
        work=work,
        solo=True,
        check=check,
        version=found_task.version,
    )


def transfer_of(imported: Imported, transfer: Transfer) -> Transfer:
    """Returns the transfer set of imported soft labels: the table's own texts, unless another was named."""
    if imported.source is None or transfer.sources != Transfer().sources:
        return transfer
    return replace(transfer, sources=(imported.source,))


def _counts(facts: TaskFacts, logits: Any) -> Mapping[str, Any]:
    """Counts the rows of each class that is the likeliest, or above one half; nothing for regression."""
    from wellread_hf.data.classes import counted
    from wellread_hf.metrics.scores import predictions_from

    if not facts.labels:
        return {}
    return {"transfer": counted(predictions_from(logits, facts.multi_label), facts.labels)}


def _described(facts: TaskFacts, logits: Any) -> Mapping[str, Any]:
    """Prints what was imported, and returns the mean entropy of a row, in nats; nothing for regression."""
    from scipy.special import entr

    from wellread_hf.metrics.calibration import probabilities

    if not facts.labels:
        log(f"{len(logits):,} rows with numbers from {logits.min():g} to {logits.max():g}")
        return {}
    chances = probabilities(logits, multi_label=facts.multi_label)
    entropy = float(entr(chances).sum(axis=1).mean())
    if facts.multi_label:
        entropy += float(entr(1 - chances).sum(axis=1).mean())
    counts = _counts(facts, logits)["transfer"]
    commonest = sorted(facts.labels, key=lambda name: -counts[name])[:_SHOWN]
    shown = ", ".join(f"{name:.40} {counts[name]:,}" for name in facts.labels if name in commonest)
    log(f"{len(logits):,} rows with soft labels: {shown}; mean entropy {entropy:.3f} nats")
    return {"mean_entropy": entropy}


def _agreement(loaded: Any, table: Any) -> Mapping[str, Any]:
    """Compares a table with the task's labelled rows whose text it has.

    Returns:
        By split, the rows and the share of labels that are the same (regression: the mean difference); and
        scores as a teacher has them where it has all validation rows.
    """
    import numpy as np

    from wellread_hf.labelling.soft_labels import text_hashes
    from wellread_hf.metrics.scores import predictions_from, scores

    facts, found, outcome = loaded.facts, {}, dict[str, Any]()
    for split in ("train", "validation", "test"):
        if (rows := getattr(loaded, split)) is None:
            continue
        places = table.find(text_hashes(rows.texts))
        if not (there := places >= 0).any():
            continue
        logits, labels = table.logits[places[there]], rows.labels[there]
        said = predictions_from(logits, facts.multi_label)
        if facts.labels:
            value = {"agreement": float((said == labels).mean())}
            log(f"{100 * value['agreement']:.1f} % agree with the labels of {len(labels):,} {split} rows")
        else:
            value = {"mean_difference": float(np.abs(said - labels).mean())}
            log(f"{value['mean_difference']:.3g} is the mean difference from {len(labels):,} {split} rows")
        found[split] = {"rows": len(labels), **value}
        if split == "validation" and there.all():
            outcome |= {
                "metric": facts.metrics[0],
                "teacher_validation": scores(facts.metrics, logits, labels),
                "teacher_validation_rows": len(labels),
            }
    return outcome | ({"agreement": found} if found else {})
