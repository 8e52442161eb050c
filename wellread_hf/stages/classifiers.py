"""From a pre-trained student to one that knows a task: fine-tuning, distillation."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wellread_hf.errors import LabelError
from wellread_hf.metrics.baselines import with_warnings
from wellread_hf.settings import Lora, Objective, Running, Start, Task, Transfer, Tuning
from wellread_hf.stages.adapting import check_lora, lora_identity, save_lora
from wellread_hf.stages.inputs import FoundTask, find, identity_of, reading_version
from wellread_hf.stages.objectives import check_objective, objective_identity, resolve_layers, shape_of
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.stages.true_labels import check_class_weights, check_hard_labels, class_weights
from wellread_hf.store.graph import on_main_process
from wellread_hf.store.records import RECORD, StageRecord, digest
from wellread_hf.store.stage import Location, Stage, short_name
from wellread_hf.students import Shape, Student
from wellread_hf.tasks import TaskFacts


def finetune(
    start: Start | Stage, task: Task, tuning: Tuning, running: Running, lora: Lora | None = None
) -> Stage:
    """Trains a classifier on a task's labels: teachers, Basic, PF, the last step of PD-F.

    Args:
        start: Where its weights come from, or the stage that makes them.
        task: What it learns.
        tuning: How long and how fast.
        running: How it is carried out.
        lora: LoRA, in place of training all weights.
    """
    return _Training(start, task, tuning, running, lora, None).stage("finetune")


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
    """Trains a classifier on stored soft labels: Distillation, PD.

    Args:
        start: Where its weights come from, or the stage that makes them.
        task: The task: its classes, and the rows to evaluate on.
        labels: The labelling stage.
        transfer: The transfer set that it labels.
        objective: What is minimised.
        tuning: How long and how fast.
        running: How it is carried out.
        lora: LoRA, in place of training all weights.
    """
    soft = _Soft(labels, TransferSet(transfer, running), objective)
    return _Training(start, task, tuning, running, lora, soft).stage("distill")


@dataclass(frozen=True, slots=True)
class _Soft:
    """What a student is distilled from, and how."""

    labels: Stage
    transfer: TransferSet
    objective: Objective


class _Training:
    """The training of a classifier: all that it reads is found when it is planned."""

    def __init__(
        self,
        start: Start | Stage,
        task: Task,
        tuning: Tuning,
        running: Running,
        lora: Lora | None,
        soft: _Soft | None,
    ) -> None:
        self.tuning, self.running, self.soft = tuning, running, soft
        self.lora = lora if lora is not None and lora.lora_rank is not None else None
        place = start if isinstance(start, Stage) else start.weights
        self.start = Start(weights=str(start.folder)) if isinstance(start, Stage) else start
        # At planning: a grid of hundreds of runs would fail one by one.
        if self.lora is not None:
            check_lora(self.lora, self.start)
        self.task = FoundTask(task, running)
        self.weights = None if place is None else find(place, "model", "start.weights", running)
        words = self.start.tokenizer
        tokenizer = self.weights if words is None else find(words, "model", "start.tokenizer", running)
        assert tokenizer is not None  # Start asks for a tokenizer where there are no weights
        self.tokenizer = tokenizer
        if soft is not None:
            # Before the teacher labels anything: its states would have to be stored.
            check_objective(soft.objective, soft.labels, self.shape, self.lora)

    def stage(self, kind: str) -> Stage:
        """Builds the stage."""
        models = [place for place in (self.weights, self.tokenizer) if place is not None]
        inputs: list[Location | Stage] = [*self.task.locations, *models]
        if self.soft is not None:
            inputs += [self.soft.labels, *self.soft.transfer.locations]
        return Stage(
            kind=kind,
            name=f"{self.name}-{self.task.task.name}-seed{self.tuning.seed}",
            root=self.running.runs,
            identity=self.identity,
            inputs=inputs,
            work=self.work,
            check=self.check,
            # Two reasons raise it, and either makes another result.
            version=self.task.version + reading_version(*models),
            shape=self.shape,
        )

    @property
    def name(self) -> str:
        """What the classifier is made of."""
        if self.start.weights is None:
            return Student.parse(str(self.start.student)).name
        return short_name(self.start.weights)

    @property
    def hard_label_share(self) -> float:
        """Weight of the true labels in what is minimised."""
        return 1.0 if self.soft is None else self.soft.objective.hard_label_share

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result."""
        start = asdict(self.start) | {
            "weights": None if self.weights is None else self.weights.fingerprint,
            "student": self.name if self.weights is None else None,
            "tokenizer": self.tokenizer.fingerprint,
        }
        identity: dict[str, Any] = {
            "start": start,
            # Soft labels alone look at no label, however many there are.
            "task": self.task.identity(uses_labels=self.hard_label_share > 0),
            "tuning": identity_of(self.tuning, later=("class_weights",)),
            **lora_identity(self.lora),
        }
        if self.soft is None:
            return identity
        labels, transfer = self.soft.labels, self.soft.transfer.identity
        identity |= {"labels": labels.digest, "objective": objective_identity(self.soft.objective)}
        # The labels' digest covers the transfer set, unless their record names other text.
        other_text = digest(transfer) != digest(labels.identity["transfer"])
        return identity | ({"transfer": transfer} if other_text else {})

    def shape(self) -> Shape | None:
        """Returns depth and width of the classifier, where they are known."""
        if self.start.student is not None:
            return Student.parse(self.start.student).shape
        return shape_of(self.weights)

    def check(self) -> None:
        """Refuses rows that cannot be used, before anything runs."""
        self.task.check()
        facts = None if self.task.is_pending else self.task.load().facts
        check_class_weights(self.tuning, self.task.task, facts, self.hard_label_share)
        if self.soft is not None:
            self.soft.transfer.check(self.task)
            if self.soft.objective.hard_label_share:
                check_hard_labels(self.task.task, self.soft.transfer.transfer)

    def work(self, stage: Stage) -> Mapping[str, Any]:
        """Trains, saves and scores the classifier."""
        from accelerate import PartialState

        from wellread_hf.data.rows import report_classes
        from wellread_hf.metrics.scores import scores
        from wellread_hf.models.encode import report_cut, row_encoder
        from wellread_hf.models.encode_once import encode_once
        from wellread_hf.models.infer import check_reads
        from wellread_hf.models.load import load_tokenizer
        from wellread_hf.models.lora import add_lora
        from wellread_hf.models.predict import predict
        from wellread_hf.models.save import save_model
        from wellread_hf.training.tuning import tune

        loaded, runs = self.task.load(), self.running.runs
        class_counts = report_classes(loaded)
        tokenizer = load_tokenizer(self.tokenizer, trust_remote_code=self.start.trust_remote_code)
        model = self._model(self.weights, len(tokenizer), loaded.facts, self.tuning.seed)
        encoder = row_encoder(model, tokenizer, self.tuning.max_length)
        # Layer maps such as `skip` depend on the depth of the model that was loaded.
        rows, targets, objective = self._targets(loaded, model.config.num_hidden_layers)
        # LoRA goes into the model itself; what is trained is peft's view of it.
        trained: Any = model if self.lora is None else add_lora(model, self.lora, self.tuning.seed)
        if self.weights is not None:
            # Two rows show a model that cannot read them; with random weights it is our own.
            check_reads(trained.to(PartialState().device), rows.texts[:2], encoder, self.weights)
        encoded = encode_once(rows.texts, encoder, runs)
        report_cut(encoded, encoder, "training" if self.soft is None else "transfer")
        validation = encode_once(loaded.validation.texts, encoder, runs)
        report_cut(validation, encoder, "validation")
        outcome = tune(
            trained,
            (encoded, targets),
            (validation, {"labels": loaded.validation.labels}),
            loaded.facts.metrics,
            self.tuning,
            objective,
            self.running,
            stage.folder,
            stage.digest,
            loaded.facts.labels,
            class_weights(self.tuning, loaded.facts, targets.get("labels")),
        )
        outcome["mlm_loss_at_start"] = _mlm_loss(self.weights)
        outcome["class_counts"] = class_counts
        # So that users' pipelines cut where training did.
        tokenizer.model_max_length = self.tuning.max_length
        if self.lora is None:
            save_model(model, tokenizer, stage.folder)
        else:
            assert self.weights is not None  # check_lora asks for some
            # New heads of another seed: one that was trained and not saved would show.
            again = partial(
                self._model, vocabulary=len(tokenizer), facts=loaded.facts, seed=self.tuning.seed + 1
            )
            saving = partial(
                save_lora, trained, tokenizer, self.lora, self.weights, again, validation, stage.folder
            )
            outcome["lora"] = on_main_process(saving)
        if loaded.test is not None:
            logits, _ = predict(model, encoder, loaded.test.texts, runs)
            outcome["test"] = scores(loaded.facts.metrics, logits, loaded.test.labels)
            outcome["test_rows"] = len(loaded.test.texts)
        return with_warnings(outcome)

    def _model(self, weights: Location | None, vocabulary: int, facts: TaskFacts, seed: int) -> Any:
        """Loads a classifier of the task, or makes one with random weights."""
        from wellread_hf.models.load import load_classifier, new_classifier

        if weights is None:
            student = Student.parse(str(self.start.student))
            return new_classifier(student, vocabulary, facts.labels, seed, facts.multi_label, facts.tagging)
        own_code = self.start.trust_remote_code
        return load_classifier(weights, facts.labels, seed, own_code, facts.multi_label, facts.tagging)

    def _targets(self, loaded: Any, depth: int) -> tuple[Any, dict[str, Any], Objective | None]:
        """Returns the training rows, their targets by column, and the objective with its layers named."""
        from wellread_hf.data.draws import draw_rows
        from wellread_hf.labelling.soft_labels import SoftLabels

        if self.soft is None:
            rows = draw_rows(loaded.train, self.task.task)
            return rows, {"labels": rows.labels}, None
        labels = self.soft.labels
        _check_classes(labels.record.outcome, loaded.facts)
        rows = self.soft.transfer.rows(loaded)
        objective, layers = resolve_layers(self.soft.objective, depth, labels.folder)
        store = SoftLabels.open(labels.folder, layers)
        # By hashes of the texts: labels of other rows would train without an error.
        store.check_belongs(rows.texts)
        targets: dict[str, Any] = {"teacher_logits": store.logits}
        if store.states is not None:
            targets["teacher_states"] = store.states
        if objective.hard_label_share:
            targets["labels"] = rows.labels
        return rows, targets, objective


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


def _mlm_loss(weights_at: Location | None) -> float | None:
    """Returns the held-out masked-LM loss of the pre-training that a start goes back to, if it is known."""
    if weights_at is None or not (Path(weights_at.name) / RECORD).is_file():
        return None
    outcome = StageRecord.read(Path(weights_at.name)).outcome
    # A classifier hands on what its own start had.
    loss: float | None = outcome.get("held_out_loss", outcome.get("mlm_loss_at_start"))
    return loss
