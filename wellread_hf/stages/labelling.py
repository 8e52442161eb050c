"""Soft labels: what one teacher says of a transfer set, the mean of several, and stored ones."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError, SourceError, StoreError, library_errors_as
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Label, Running, Task, Transfer
from wellread_hf.stages.combining import combine, shares_of
from wellread_hf.stages.inputs import FoundTask, find, identity_of, reading_version
from wellread_hf.stages.objectives import config_of, shape_of
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.store.records import RECORD, StageRecord, json_object
from wellread_hf.store.stage import Location, Place, Stage
from wellread_hf.students import Shape
from wellread_hf.tasks import TaskFacts


def label(teacher: Place, task: Task, transfer: Transfer, settings: Label, running: Running) -> Stage:
    """Passes a teacher over a transfer set once; stores its logits, and [CLS] states if asked for."""
    teacher_at = find_teacher(teacher, running)
    found_task = FoundTask(task, running)
    transfer_set = TransferSet(transfer, running)
    if settings.states and found_task.task.tagging:
        raise SettingsError(
            "`label.states`: expected a task of texts, whose [CLS] states are stored, got `task.tagging`, "
            "whose words are classified; leave the states out"
        )

    def shape() -> Shape | None:
        return shape_of(teacher_at)

    # Where the config says it, before hours of labelling and not after loading.
    if settings.states and (expected := shape()) is not None:
        _check_depth(settings.states, expected.layers)

    def check() -> None:
        # A teacher reads no labels, however few of the task's rows a student is given.
        FoundTask(replace(task, train_rows=None, train_seed=0), running).check()
        transfer_set.check(found_task)
        _check_teacher(teacher_at, found_task, settings)

    def work(stage: Stage) -> Mapping[str, Any]:
        from itertools import islice

        from accelerate import PartialState

        from wellread_hf.data.rows import report_classes
        from wellread_hf.labelling.classifier_labeller import ClassifierLabeller
        from wellread_hf.labelling.label_rows import label_rows
        from wellread_hf.metrics.scores import per_class, scores
        from wellread_hf.models.encode import encode, report_cut, row_encoder
        from wellread_hf.models.infer import check_reads, logits_in_order
        from wellread_hf.models.load import load_classifier, load_tokenizer

        own_code = settings.trust_remote_code
        tokenizer = load_tokenizer(teacher_at, trust_remote_code=own_code)
        model = load_classifier(teacher_at, trust_remote_code=own_code)
        # The model decides what of the tokenizer's output it reads.
        encoder = row_encoder(model, tokenizer, settings.max_length)
        if settings.states:
            depth, width = model.config.num_hidden_layers, model.config.hidden_size
            _check_depth(settings.states, depth)
        loaded = found_task.load()
        texts = transfer_set.stream(loaded)
        facts = loaded.facts
        # Two teachers may name the same classes in another order; logits are stored in the task's.
        order = _order(model.config, facts, teacher_at, settings)
        model.to(PartialState().device)
        # Two rows show a model that cannot read them, before the pass over all.
        check_reads(model, [*islice(texts, 2)], encoder, teacher_at)
        labeller = ClassifierLabeller(model, encoder, order, settings)
        reused = label_rows(labeller, texts, settings.shard_rows, stage.folder)
        outcome = {
            "rows": len(texts),
            # What the guard left out; not known where there was none.
            **({"held_out_rows": texts.found.counts} if transfer.guard else {}),
            "labels": facts.labels,
            **({"multi_label": True} if facts.multi_label else {}),
            "teacher_order": order,
            "class_counts": report_classes(loaded),
            "shards_reused": reused,
        }
        if settings.states:
            outcome |= {"states": settings.states, "teacher_layers": depth, "teacher_width": width}
        # A check of the teacher for the card; other processes need not repeat it.
        if PartialState().is_main_process:
            validation = encode(loaded.validation.texts, encoder)
            report_cut(validation, encoder, "validation")
            logits = logits_in_order(model, validation)[:, order]
            found = scores(facts.metrics, logits, loaded.validation.labels)
            outcome |= {
                "metric": facts.metrics[0],
                "teacher_validation": found,
                "teacher_validation_rows": len(loaded.validation.texts),
                **per_class(logits, loaded.validation.labels, facts.labels),
            }
        return with_warnings(outcome)

    return Stage(
        kind="label",
        name=task.name,
        root=running.runs,
        identity={
            "teacher": teacher_at.fingerprint,
            # However many labelled rows a student gets, the transfer set is the same.
            "task": found_task.identity(uses_labels=False, chooses=False),
            "transfer": transfer_set.identity,
            # What was stored before there was a choice keeps its digest.
            "settings": identity_of(settings, later=("states",)),
        },
        inputs=[teacher_at, *found_task.locations, *transfer_set.locations],
        work=work,
        shared=True,
        check=check,
        version=found_task.version + reading_version(teacher_at),
        shape=shape,
    )


def named_teacher(name: str | None) -> str:
    """Returns the name of a teacher.

    Raises:
        SettingsError: None is named.
    """
    if name is None:
        raise SettingsError(
            "`teacher` is missing: expected a fine-tuned classifier, a folder (wellread teacher makes one) "
            "or a Hub id"
        )
    return name


def label_by_all(
    teachers: Sequence[Place],
    weights: Sequence[float],
    task: Task,
    transfer: Transfer,
    settings: Label,
    running: Running,
) -> Stage:
    """Labels with one teacher, or with several whose probabilities are averaged.

    Args:
        teachers: Where each lies.
        weights: One a teacher; none: all alike.
        task: The task that all were trained for.
        transfer: The transfer set.
        settings: How each labels.
        running: How it is carried out.

    Raises:
        SettingsError: As from `combine`; or several teachers' [CLS] states are asked for.
    """
    # Before anything is planned, and for a single teacher too.
    shares_of(weights, len(teachers))
    if len(teachers) > 1 and settings.states:
        raise SettingsError(
            f"`label.states`: expected one teacher whose [CLS] states are stored, got {len(teachers)}, and "
            "states of several have no mean; name one teacher, or leave the states out"
        )
    stages = [label(teacher, task, transfer, settings, running) for teacher in teachers]
    return combine(stages, weights, running, settings.shard_rows) if len(stages) > 1 else stages[0]


def soft_labels(teacher: Place, task: Task, transfer: Transfer, settings: Label, running: Running) -> Stage:
    """Labels with a teacher, or takes the soft labels that are stored where one is named.

    Args:
        teacher: A classifier, or the folder of a finished labelling stage, whatever its teacher was.
        task: The task.
        transfer: The transfer set; of stored labels the one that they were made for.
        settings: How a classifier labels; stored labels have no use for it.
        running: How it is carried out.

    Raises:
        StoreError: A folder of soft labels was renamed.
    """
    if are_stored(teacher):
        return stored_labels(Path(str(teacher)))
    return label(teacher, task, transfer, settings, running)


def find_teacher(teacher: Place, running: Running) -> Location:
    """Finds a model that labels.

    Raises:
        SettingsError: Soft labels are named in its place.
        SourceError: There is none.
    """
    if are_stored(teacher):
        raise SettingsError(
            f"`teacher` {teacher}: expected a model, got soft labels that are made already; give them to a "
            "student (wellread distill)"
        )
    return find(teacher, "model", "teacher", running)


def are_stored(teacher: Place) -> bool:
    """Returns whether soft labels lie where a teacher is named."""
    if not isinstance(teacher, str) or not os.path.isfile(record := os.path.join(teacher, RECORD)):
        return False
    return json_object(Path(record)).get("kind") == "label"


def stored_labels(folder: Path) -> Stage:
    """Takes the folder of a finished labelling stage, made here or pulled from the Hub.

    Raises:
        StoreError: It is none, or was renamed.
    """
    record = StageRecord.read(folder)

    # It is finished already; work starts only where the folder has gone.
    def work(stage: Stage) -> Mapping[str, Any]:
        raise StoreError(f"{folder} was deleted while it was in use; label again (wellread label)")

    stage = Stage(
        kind=record.kind,
        name=record.name,
        root=folder.parent,
        identity=record.settings,
        work=work,
        version=record.version,
    )
    # The name ends in the digest, so that a renamed or edited folder shows.
    if record.kind != "label" or stage.folder.name != folder.resolve().name:
        raise StoreError(
            f"`labels` {folder}: expected the folder of a labelling stage under its own name, label-...; "
            f"got a stage {record.kind!r}, whose folder is {stage.folder.name}"
        )
    return stage


def _check_teacher(teacher_at: Location, task: FoundTask, settings: Label) -> None:
    """Refuses a teacher of another task, as far as its config and the rows are there already."""
    config = config_of(teacher_at)
    # Loading explains better what is no classifier.
    named = config.get("architectures")
    known = str(named).endswith(("ForSequenceClassification']", "ForTokenClassification']"))
    if not known or task.is_pending:
        return
    from transformers import PreTrainedConfig

    with library_errors_as(SourceError, f"{teacher_at}: config.json cannot be read"):
        loaded = PreTrainedConfig.from_dict(config)
    _order(loaded, task.load().facts, teacher_at, settings)


def _order(config: Any, facts: TaskFacts, teacher_at: Location, settings: Label) -> list[int]:
    from wellread_hf.labelling.teacher_classes import teacher_order

    who = f"the teacher {teacher_at.name}"
    names = settings.teacher_labels
    return teacher_order(config, facts.labels, names, who, facts.multi_label, facts.tagging)


def _check_depth(layers: Sequence[int], depth: int) -> None:
    if max(layers) > depth:
        raise SettingsError(
            f"`label.states` {' '.join(map(str, layers))}: the teacher has {depth} layers; name some of 1 to "
            f"{depth}"
        )
