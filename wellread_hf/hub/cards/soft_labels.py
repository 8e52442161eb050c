"""The card of a data set of soft labels."""

from dataclasses import dataclass

from wellread_hf.errors import CardError
from wellread_hf.hub.cards.facts import ClassCounts, Origin, Source
from wellread_hf.hub.cards.render import environment
from wellread_hf.hub.cards.results import class_counts_of
from wellread_hf.hub.cards.sources import transfer_of
from wellread_hf.hub.cards.text import plain
from wellread_hf.store.records import StageRecord

_TEMPLATE = "soft_labels.md.jinja"


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftLabelFacts:
    """Everything a card of soft labels is made of.

    Attributes:
        task: Name of the task.
        classes: Class names in the order of the logits; empty for regression.
        teacher: Fingerprint of the teacher.
        metric: Metric of the teacher's own score on the task's validation rows.
        score: That score, as the metric gives it.
        transfer: Sources of the transfer set; None stands for the task's own training text.
        max_length: Tokens a row for the teacher.
        rows: Rows labelled.
        states: Layers of the teacher whose [CLS] states are stored as well.
        digest: Digest of the stage.
        origin: The task's data set.
        class_counts: Rows of each class of the task; empty where the record does not say.
    """

    task: str
    classes: tuple[str, ...]
    teacher: Origin
    metric: str | None
    score: float | None
    transfer: tuple[Source | None, ...]
    max_length: int
    rows: int
    states: tuple[int, ...]
    digest: str
    origin: Origin | None = None
    class_counts: ClassCounts = ()


def soft_labels_of(record: StageRecord) -> SoftLabelFacts:
    """Reads the record of a labelling stage.

    Raises:
        CardError: It is of another stage.
    """
    if record.kind != "label":
        raise CardError(f"expected the record of a labelling stage, got one of a stage {record.kind!r}")
    outcome, settings = record.outcome, record.settings
    metric = outcome.get("metric")
    content = settings.get("task", {}).get("content")
    return SoftLabelFacts(
        task=record.name,
        classes=tuple(map(str, outcome["labels"])),
        teacher=Origin(fingerprint=str(settings["teacher"])),
        metric=metric,
        score=outcome.get("teacher_validation", {}).get(metric),
        transfer=transfer_of(settings["transfer"]),
        max_length=int(settings["settings"]["max_length"]),
        rows=int(outcome["rows"]),
        states=tuple(map(int, settings["settings"].get("states", ()))),
        digest=record.digest,
        origin=Origin(fingerprint=str(content[0])) if content else None,
        class_counts=class_counts_of(outcome),
    )


def soft_labels_card(record: StageRecord, repo_id: str) -> str:
    """Renders the card of a labelling stage; the same record gives the same bytes."""
    from huggingface_hub import DatasetCardData

    facts = soft_labels_of(record)
    origins = [facts.origin if part is None else part.origin for part in facts.transfer]
    found = [origin.hub_id for origin in origins if origin and origin.hub_id]
    # Language and licence of the user's own texts are not known.
    stated = len(found) == len(origins)
    data = DatasetCardData(
        language="en" if stated else None,
        license="other" if stated else None,
        pretty_name=plain(f"Soft labels for {facts.task}"),
        task_categories=["text-classification"],
        tags=["knowledge-distillation", "soft-labels", "well-read-students"],
        source_datasets=found or None,
    )
    commands = (
        f"wellread pull {repo_id}\n"
        f"python recipes/distill.py `labels` runs/label-{facts.task}-{facts.digest[:12]} "
        f"`task.name` {facts.task} `start.weights` google/bert_uncased_L-4_H-256_A-4"
    )
    template = environment().get_template(_TEMPLATE)
    return template.render(
        front_matter=data.to_yaml(), labels=facts, name=repo_id.rpartition("/")[2], commands=commands
    )
