"""From a finished stage's folder to the files of a repository, card included."""

from dataclasses import replace
from pathlib import Path

from wellread_hf.errors import PublishError
from wellread_hf.hub.cards import facts_of_run, render
from wellread_hf.hub.cards.soft_labels import soft_labels_card, soft_labels_of
from wellread_hf.hub.parcels import Parcel, model_parcel, soft_labels_parcel
from wellread_hf.store.records import RECORD, StageRecord

_MODELS = ("adopt", "pretrain", "finetune", "distill")


def parcel_of_run(
    folder: Path, namespace: str | None = None, name: str | None = None, eval_results: bool = False
) -> Parcel:
    """Takes a finished stage's folder and renders its card.

    Args:
        folder: Of a stage that made a model, or soft labels.
        namespace: Where it will be pushed to, for the card's examples.
        name: Name of the repository; default: the family's, e.g. `bert-4-256` or `bert-4-256-sst2`.
        eval_results: Add `.eval_results/glue.yaml`.

    Raises:
        PublishError: The stage made nothing that is pushed, or its files break a rule.
        StoreError: The stage is not finished, or a file was changed since.
        CardError: Its card has a value that the Hub would refuse.
    """
    record = StageRecord.read(folder)
    record.check_outputs(folder)
    if record.kind == "label":
        name = name or f"{record.name}-soft-labels-{record.digest[:8]}"
        # The command line may name folders of this machine; the Hub has no use for it.
        shown = replace(record, command="")
        repo_id = name if namespace is None else f"{namespace}/{name}"
        card = soft_labels_card(soft_labels_of(record), repo_id)
        added = {RECORD: shown.text.encode(), "README.md": card.encode()}
        return soft_labels_parcel(folder, name, added, note=f"soft labels for {record.name}")
    if record.kind not in _MODELS:
        raise PublishError(
            f"{folder} is the folder of a stage {record.kind!r}: expected one of "
            f"{', '.join((*_MODELS, 'label'))}"
        )
    facts = facts_of_run(folder, name, namespace)
    rendered = render(facts, eval_results=eval_results)
    parameters = "" if facts.measured is None else f", {facts.measured.weights / 1e6:.1f}M parameters"
    note = f"L = {facts.student.layers}, H = {facts.student.hidden}{parameters}"
    return model_parcel(folder, facts.name, rendered.files, note)
