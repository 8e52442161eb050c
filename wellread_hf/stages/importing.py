"""Soft labels that somebody else made, as a labelling stage: students read them as those of a teacher."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from wellread_hf.data.corpus import is_pending
from wellread_hf.data.task_facts import facts_of, finds_classes
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Imported, Label, Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask, Sources, TransferSet
from wellread_hf.store.stage import Stage

# Rows of a table on the Hub that are looked at before anything runs.
_CHECKED_REMOTE = 1_000


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
    """
    assert imported.source is not None
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
        """Returns the hashes [n] and the logits [n, C] of the transfer set."""
        from wellread_hf.labelling.tables import rows_of

        texts = transfer_set.stream(found_task.load())
        table = read()
        places = rows_of(table, texts, source.name)
        return table.hashes[places], table.logits[places]

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
        hashes, logits = found()
        write_rows(stage.folder, logits, hashes, settings.shard_rows)
        facts = loaded.facts
        return with_warnings(
            {
                "rows": len(logits),
                "labels": facts.labels,
                **({"multi_label": True} if facts.multi_label else {}),
                "class_counts": report_classes(loaded),
                **_described(loaded, read(), logits),
            }
        )

    return Stage(
        kind="label",
        name=task.name,
        root=running.runs,
        identity={
            "teacher": location.fingerprint,
            "imported": asdict(imported) | {"source": table_at.identity},
            "task": found_task.identity(uses_labels=False),
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


def _described(loaded: Any, table: Any, logits: Any) -> Mapping[str, Any]:
    """Says what was imported: rows of each class, entropy, and how far true labels agree."""
    return {}
