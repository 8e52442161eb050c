"""Where an encoder's weights come from: our pre-training, a smaller student that was grown, or elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Any

from wellread_hf.hub.cards.origins import Adoption, Grown, Origin, Pretraining, Source
from wellread_hf.results.lineage import Stages
from wellread_hf.store.records import StageRecord
from wellread_hf.students import TOY_PART, Student


def provenance(stages: Stages, record: StageRecord) -> dict[str, Any]:
    """Returns what is known of an encoder's making: our pre-training, or where it was taken over from."""
    if record.kind == "adopt":
        return {
            "adoption": Adoption(
                source=Origin(fingerprint=record.settings["source"]),
                parity=record.outcome["parity"],
                sentences=record.outcome["sentences"],
            )
        }
    return {"pretraining": _pretraining(stages, record)} if record.kind == "pretrain" else {}


def _pretraining(stages: Stages, record: StageRecord) -> Pretraining:
    settings, outcome = record.settings, record.outcome
    earlier = list(_earlier(stages, record))
    first = earlier[-1] if earlier else record
    packs = [stages.records[packed] for packed in settings["packs"] if packed in stages.records]
    longest = max(packs, key=lambda packed: int(packed.outcome["block_length"]), default=None)
    return Pretraining(
        sources=() if longest is None else tuple(map(Source.of, longest.settings["sources"])),
        corpus_tokens=None if longest is None else longest.outcome["tokens"],
        tokenizer=Origin(fingerprint=settings["tokenizer"]),
        tokens=outcome["tokens"],
        steps=outcome["steps"],
        start=None if settings["start"] is None else Origin(fingerprint=settings["start"]),
        grown=_grown(stages, first),
        random=first.settings["start"] is None,
        earlier_tokens=sum(run.outcome["tokens"] for run in earlier),
        loss=outcome["held_out_loss"],
        unigram_loss=outcome["unigram_loss"],
        schedule=tuple(_schedule(settings).items()),
        seconds=outcome["seconds_training"],
        seed=settings["seed"],
        languages=tuple(outcome.get("language", ())),
    )


def _earlier(stages: Stages, record: StageRecord) -> Iterator[StageRecord]:
    """Yields the pre-trainings that one went on from, the last first."""
    seen = {record.digest}
    found = stages.producer(record.settings["start"])
    # Records are files; some that name each other would be followed without end.
    while found is not None and found.kind == "pretrain" and found.digest not in seen:
        seen.add(found.digest)
        yield found
        found = stages.producer(found.settings["start"])


def _schedule(settings: Mapping[str, Any]) -> dict[str, str]:
    optim, dropout, distil = settings["optim"], settings["dropout"], settings.get("distil")
    # The first that is given decides, as in training.
    unit = next((unit for unit in ("minutes", "steps") if settings[unit] is not None), "epochs")
    phases = list(zip(settings["block_lengths"], settings["phase_shares"], strict=True))
    lengths = ", then ".join(f"{block} tokens for {share:.0%} of the run" for block, share in phases)
    found = {
        f"length of the run, {unit}": f"{settings[unit]:g}",
        "blocks": lengths if len(phases) > 1 else f"{phases[0][0]} tokens",
        "masked share": f"{settings['mask_share']:.0%}{', whole words' if settings['whole_word'] else ''}",
        "blocks a step": str(optim["batch_size"]),
        "learning rate": f"{optim['learning_rate']:g}, {optim['schedule']}, warm-up {optim['warmup']:.0%}",
        "AdamW": f"β₂ {optim['beta2']:g}, ε {optim['epsilon']:g}, weight decay {optim['weight_decay']:g}, "
        f"gradient norm at most {optim['max_grad_norm']:g}",
        "precision": str(optim["precision"]),
    }
    if dropout is not None:
        found["dropout"] = f"{dropout:g}"
    if settings.get("next_sentence"):
        found["next-sentence prediction"] = "yes"
    if distil is not None:
        teacher = Origin(fingerprint=distil["teacher"]).hub_id or "a local masked LM"
        found["DistilBERT's loss"] = (
            f"teacher {teacher}; T {distil['temperature']:g}; weights: MLM {distil['mlm_weight']:g}, "
            f"soft {distil['soft_weight']:g}, cosine {distil['cosine_weight']:g}"
        )
    return found


def _grown(stages: Stages, record: StageRecord) -> Grown | None:
    """Returns what a pre-trained encoder was grown from; None where it was not, or the record is gone."""
    made = stages.producer(record.settings["start"])
    if made is None or made.kind != "init" or made.settings["keep"] != "grow":
        return None
    found = made.outcome
    part = TOY_PART if made.settings.get("toy", False) else 1
    return Grown(
        student=Student(found["source_layers"], part * found["source_width"]),
        origin=Origin(fingerprint=made.settings["source"]),
        layers=tuple(found["layers"]),
    )
