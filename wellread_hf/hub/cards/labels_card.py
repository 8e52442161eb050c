"""The card of a data set of soft labels."""

from huggingface_hub import DatasetCardData

from wellread_hf.hub.cards.languages import language_codes, language_of
from wellread_hf.hub.cards.metadata import pipeline_of
from wellread_hf.hub.cards.origins import Origin
from wellread_hf.hub.cards.render import environment
from wellread_hf.hub.cards.task_results import class_counts_of, soft_labels_of
from wellread_hf.hub.cards.text import plain
from wellread_hf.store.records import StageRecord

_TEMPLATE = "soft_labels.md.jinja"


def soft_labels_card(record: StageRecord, repo_id: str) -> str:
    """Renders the card of a labelling stage; the same record gives the same bytes."""
    labels, settings = soft_labels_of(record), record.settings
    task = settings["task"]["content"][0] if "task" in settings else ""
    config = settings.get("task", {}).get("config")
    tagging = settings.get("task", {}).get("tagging", False)
    parts = [
        (Origin(fingerprint=task), config) if part is None else (part.origin, part.config)
        for part in labels.transfer
    ]
    origins = [origin for origin, _ in parts]
    languages = language_codes(language_of(*part) for part in parts)
    found = [origin.hub_id for origin in origins if origin.hub_id]
    # The licence of the user's own texts is not known.
    stated = len(found) == len(origins)
    data = DatasetCardData(
        language=languages[0] if len(languages) == 1 else list(languages) or None,
        license="other" if stated else None,
        pretty_name=plain(f"Soft labels for {record.name}"),
        task_categories=[pipeline_of(tagging)],
        tags=["knowledge-distillation", "soft-labels", "well-read-students"],
        source_datasets=found or None,
    )
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            front_matter=data.to_yaml(),
            labels=labels,
            task=record.name,
            classes=tuple(map(str, record.outcome["labels"])),
            class_counts=class_counts_of(record.outcome),
            tagging=tagging,
            left_out=sum(record.outcome.get("held_out_rows", {}).values()),
            # Layers of the teacher whose [CLS] states are stored as well.
            states=settings["settings"].get("states", ()),
            # Nothing was cut of imported ones.
            max_length=settings["settings"].get("max_length"),
            # What a language model was asked for, and how seldom it would say it.
            words=tuple(record.outcome.get("label_words", {}).values()),
            mass=record.outcome.get("label_words_mass"),
            digest=record.digest,
            repo_id=repo_id,
        )
    )
