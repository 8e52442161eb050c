"""From a pre-trained student to one that knows a task: fine-tuning, distillation."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Lora, Objective, Running, Start, Task, Transfer, Tuning
from wellread_hf.stages.adapting import check_lora, lora_identity, save_lora
from wellread_hf.stages.inputs import TASK, FoundTask, TransferSet, find, identity_of, reading_version
from wellread_hf.stages.objectives import check_objective, objective_identity, resolve_layers, shape_of
from wellread_hf.store.graph import on_main_process
from wellread_hf.store.records import RECORD, StageRecord, digest
from wellread_hf.store.stage import Location, Stage, short_name
from wellread_hf.students import Shape, Student
from wellread_hf.tasks import TaskFacts


def finetune(
    start: Start | Stage, task: Task, tuning: Tuning, running: Running, lora: Lora | None = None
) -> Stage:
    """Trains a classifier on a task's labels: teachers, Basic, PF, the last step of PD-F."""
    return _tuned("finetune", start, task, tuning, running, lora=lora)


def distill(
    start: Start | Stage,
    task: Task,
    labels: Stage,
    transfer: Transfer,
    objective: Objective,
    tuning: Tuning,
    running: Running,
    lora: Lora | None = None,
) -> Stage:
    """Trains a classifier on stored soft labels: Distillation, PD."""
    return _tuned("distill", start, task, tuning, running, (labels, transfer, objective), lora)


def _tuned(
    kind: str,
    start: Start | Stage,
    task: Task,
    tuning: Tuning,
    running: Running,
    soft: tuple[Stage, Transfer, Objective] | None = None,
    lora: Lora | None = None,
) -> Stage:
    if lora is not None and lora.lora_rank is None:
        lora = None
    maker, start = (start, Start(weights=str(start.folder))) if isinstance(start, Stage) else (None, start)
    if lora is not None:
        check_lora(lora, start)
    found_task = FoundTask(task, running)
    task = found_task.task
    weights_at = None
    if start.weights is not None:
        weights_at = find(maker or start.weights, "model", "start.weights", running)
    tokenizer_at = weights_at
    if start.tokenizer is not None:
        tokenizer_at = find(start.tokenizer, "model", "start.tokenizer", running)
    assert tokenizer_at is not None  # Start asks for a tokenizer where there are no weights
    transfer_set = None if soft is None else TransferSet(soft[1], running)

    def shape() -> Shape | None:
        if start.student is not None:
            return Student.parse(start.student).shape
        return shape_of(weights_at)

    if soft is not None:
        check_objective(soft[2], soft[0], shape, lora)

    def check() -> None:
        found_task.check()
        if soft is not None and transfer_set is not None:
            transfer_set.check(found_task)
            if soft[2].hard_label_share:
                _check_hard_labels(task, soft[1])

    def work(stage: Stage) -> Mapping[str, Any]:
        from accelerate import PartialState

        from wellread_hf.data.rows import draw_rows, report_classes
        from wellread_hf.metrics.scores import scores
        from wellread_hf.models.encode import encode_once, report_cut, row_encoder
        from wellread_hf.models.infer import check_reads, logits_in_order
        from wellread_hf.models.load import load_classifier, load_tokenizer, new_classifier
        from wellread_hf.models.lora import add_lora
        from wellread_hf.models.save import save_model
        from wellread_hf.training.soft_labels import SoftLabels
        from wellread_hf.training.tuning import tune

        loaded = found_task.load()
        class_counts = report_classes(loaded)
        classes, several = loaded.facts.labels, loaded.facts.multi_label

        def classifier(at: Location, seed: int) -> Any:
            return load_classifier(at, classes, seed, start.trust_remote_code, several)

        tokenizer = load_tokenizer(tokenizer_at, trust_remote_code=start.trust_remote_code)
        if weights_at is None:
            student = Student.parse(str(start.student))
            model = new_classifier(student, len(tokenizer), classes, tuning.seed, several)
        else:
            model = classifier(weights_at, tuning.seed)
        encoder = row_encoder(model, tokenizer, tuning.max_length)
        objective = None
        if soft is None or transfer_set is None:
            rows = draw_rows(loaded.train, task)
            targets: dict[str, Any] = {"labels": rows.labels}
        else:
            labels, _, objective = soft
            _check_classes(labels.record.outcome, loaded.facts)
            rows = transfer_set.rows(loaded)
            objective, layers = resolve_layers(objective, model.config.num_hidden_layers, labels.folder)
            store = SoftLabels.open(labels.folder, layers)
            store.check_belongs(rows.texts)
            targets = {"teacher_logits": store.logits}
            if store.states is not None:
                targets["teacher_states"] = store.states
            if objective.hard_label_share:
                targets["labels"] = rows.labels
        # LoRA goes into the model itself; what is trained is peft's view of it.
        trained: Any = model if lora is None else add_lora(model, lora, tuning.seed)
        if weights_at is not None:
            check_reads(trained.to(PartialState().device), rows.texts[:2], encoder, weights_at)
        encoded = encode_once(rows.texts, encoder, running.runs)
        report_cut(encoded, encoder, "training" if soft is None else "transfer")
        validation = encode_once(loaded.validation.texts, encoder, running.runs)
        report_cut(validation, encoder, "validation")
        outcome = tune(
            trained,
            (encoded, targets),
            (validation, {"labels": loaded.validation.labels}),
            loaded.facts.metrics,
            tuning,
            objective,
            running,
            stage.folder,
            stage.digest,
        )
        outcome["mlm_loss_at_start"] = _mlm_loss(weights_at)
        outcome["class_counts"] = class_counts
        tokenizer.model_max_length = tuning.max_length
        if lora is None:
            save_model(model, tokenizer, stage.folder)
        else:
            assert weights_at is not None  # check_lora asks for some
            # New heads of another seed: one that was trained and not saved would show.
            again = partial(classifier, seed=tuning.seed + 1)
            saving = partial(save_lora, trained, tokenizer, lora, weights_at, again, validation, stage.folder)
            outcome["lora"] = on_main_process(saving)
        if loaded.test is not None:
            logits = logits_in_order(model, encode_once(loaded.test.texts, encoder, running.runs))
            outcome["test"] = scores(loaded.facts.metrics, logits, loaded.test.labels)
            outcome["test_rows"] = len(loaded.test.texts)
        return with_warnings(outcome)

    # Soft labels alone look at no label, however many there are.
    uses_labels = soft is None or soft[2].hard_label_share > 0
    name = Student.parse(str(start.student)).name if start.weights is None else short_name(start.weights)
    identity: dict[str, Any] = {
        "start": asdict(start)
        | {
            "weights": None if weights_at is None else weights_at.fingerprint,
            "student": name if weights_at is None else None,
            "tokenizer": tokenizer_at.fingerprint,
        },
        "task": found_task.identity(uses_labels),
        "tuning": identity_of(tuning, later=()),
        **lora_identity(lora),
    }
    if soft is not None:
        identity |= {"labels": soft[0].digest, "objective": objective_identity(soft[2])}
        # The labels' digest covers the transfer set, unless their record names other text.
        if transfer_set is not None and digest(transfer_set.identity) != digest(soft[0].identity["transfer"]):
            identity["transfer"] = transfer_set.identity
    return Stage(
        kind=kind,
        name=f"{name}-{task.name}-seed{tuning.seed}",
        root=running.runs,
        identity=identity,
        inputs=[
            *found_task.locations,
            *(place for place in (weights_at, tokenizer_at) if place is not None),
            *([] if soft is None else [soft[0]]),
            *([] if transfer_set is None else transfer_set.locations),
        ],
        work=work,
        check=check,
        version=found_task.version + reading_version(weights_at, tokenizer_at),
        shape=shape,
    )


def _check_classes(stored: Mapping[str, Any], task: TaskFacts) -> None:
    # Those of our own labelling stage have the task's order; those of somebody else's may not.
    theirs, ours = (
        (tuple(stored["labels"]), stored.get("multi_label", False)),
        (task.labels, task.multi_label),
    )
    if theirs != ours:
        stored_as, asked = (
            f"the {'independent ' if several else ''}classes {', '.join(labels) or '(regression)'}"
            for labels, several in (theirs, ours)
        )
        raise LabelError(
            f"the soft labels are for {stored_as}, the task has {asked}; they must be the same, in the same "
            "order"
        )


def _check_hard_labels(task: Task, transfer: Transfer) -> None:
    if task.train_rows is not None:
        raise SettingsError(
            f"`task.train_rows` allows {task.train_rows} labels, but a hard-label share uses those of the "
            "whole transfer set; leave out one of the two"
        )
    if transfer.sources != (TASK,):
        raise SettingsError(
            "`objective.hard_label_share` needs true labels, and this transfer set has text without labels; "
            "use `transfer.sources` task, or a share of 0"
        )


def _mlm_loss(weights_at: Location | None) -> float | None:
    """Returns the held-out masked-LM loss of the pre-training that a start goes back to, if it is known."""
    if weights_at is None or not (Path(weights_at.name) / RECORD).is_file():
        return None
    outcome = StageRecord.read(Path(weights_at.name)).outcome
    loss: float | None = outcome.get("held_out_loss", outcome.get("mlm_loss_at_start"))
    return loss
