"""The mean of several teachers' soft labels, stored as those of one."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.settings import Label, Running
from wellread_hf.store.records import StageRecord
from wellread_hf.store.stage import Stage


def combine(
    labels: Sequence[Stage], weights: Sequence[float], running: Running, shard_rows: int = Label().shard_rows
) -> Stage:
    """Makes one store of several teachers' soft labels: the logarithm of the weighted mean of probabilities.

    Whatever reads soft labels reads these. Their softmax (multi-label: sigmoid) is the mean at temperature 1;
    at another one it is the mean that is softened. For regression the weighted mean of values. [CLS] states
    are not kept.

    Args:
        labels: Labelling stages of one task and transfer set.
        weights: One a teacher, in any unit; none: all alike.
        running: How it is carried out.
        shard_rows: Rows a shard; no part of the result.

    Raises:
        SettingsError: Weights and teachers are not of one number, or a weight is negative, or all are zero.
    """
    shares = shares_of(weights, len(labels))
    teachers = [str(stage.identity["teacher"]) for stage in labels]

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.labelling.soft_labels import SoftLabels, mean_logits, write_rows

        records = [each.record for each in labels]
        stores = [SoftLabels.open(each.folder) for each in labels]
        # Rows are compared by hashes of their texts; the texts themselves are not stored.
        first = stores[0]
        for record, store in zip(records, stores, strict=True):
            same = len(store.hashes) == len(first.hashes) and bool((store.hashes == first.hashes).all())
            if not same or _classes_of(record) != _classes_of(records[0]):
                raise LabelError(
                    f"{labels[0].folder.name} and {record.kind}-{record.name}-{record.digest[:12]} hold soft "
                    "labels of other texts or classes, which have no mean; label one transfer set with "
                    "all teachers (wellread label `teacher` A B)"
                )
        classes = _classes_of(records[0])
        logits = mean_logits([store.logits for store in stores], shares, "multi_label" in classes)
        write_rows(stage.folder, logits, first.hashes, shard_rows)
        return {
            "rows": len(logits),
            **classes,
            "teachers": [record.outcome.get("teacher_validation") for record in records],
        }

    return Stage(
        kind="label",
        name=labels[0].name,
        root=running.runs,
        identity={
            "teacher": "mean of " + ", ".join(f"{s:g} {t}" for s, t in zip(shares, teachers, strict=True)),
            "labels": [stage.digest for stage in labels],
            "weights": shares,
            "task": labels[0].identity["task"],
            "transfer": labels[0].identity["transfer"],
            # What students' checks read of a labelling stage's settings.
            "settings": {"max_length": max(stage.identity["settings"]["max_length"] for stage in labels)},
        },
        inputs=labels,
        work=work,
        solo=True,
    )


def shares_of(weights: Sequence[float], teachers: int) -> list[float]:
    """Returns the weights as shares of 1, alike where none are given.

    Raises:
        SettingsError: They are not one a teacher, or not finite and at least 0, or all 0.
    """
    weights = weights or [1.0] * teachers
    if len(weights) != teachers:
        raise SettingsError(
            f"`teacher_weights`: expected one weight a teacher, {teachers} in all, got {len(weights)}; give "
            "as many, or none"
        )
    if not all(weight >= 0 and isfinite(weight) for weight in weights) or not sum(weights) > 0:
        raise SettingsError(
            "`teacher_weights`: expected finite numbers of at least 0, not all of them 0, got "
            f"{' '.join(f'{weight:g}' for weight in weights)}; give the teachers' shares, e.g. 0.7 0.3"
        )
    return [weight / sum(weights) for weight in weights]


def _classes_of(record: StageRecord) -> Mapping[str, Any]:
    """Returns what a record says of its soft labels' classes."""
    return {name: record.outcome[name] for name in ("labels", "multi_label") if name in record.outcome}
