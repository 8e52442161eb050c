"""From records of finished stages to facts. A record that is gone leaves its facts absent."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from wellread_hf.errors import StoreError, WellreadError, library_errors_as
from wellread_hf.hub.cards.facts import Adoption, Facts, Measured, Origin, Pretraining, Result, Run
from wellread_hf.hub.cards.kinds import check_kinds
from wellread_hf.hub.cards.results import result_of
from wellread_hf.hub.cards.shelf import ENCODERS, MODELS, TUNED, Shelf
from wellread_hf.hub.cards.sources import source_of
from wellread_hf.hub.cards.text import without_places
from wellread_hf.store.records import StageRecord
from wellread_hf.students import VOCABULARY, Student


def finished_stage(folder: Path) -> AbstractContextManager[None]:
    """Turns whatever a folder's files raise inside into one sentence: they may say anything."""
    return library_errors_as(
        StoreError, f"{folder}: expected a finished stage as this version leaves it", "run it again"
    )


def facts_of_student(student: Student, name: str | None = None, namespace: str | None = None) -> Facts:
    """Returns the facts of a student of which there are no weights of ours."""
    return Facts(name=name or student.name, namespace=namespace, student=student)


def facts_of_run(folder: Path, name: str | None = None, namespace: str | None = None) -> Facts:
    """Gathers the facts of a finished model from its record and the records beside it.

    Args:
        folder: A finished `pretrain`, `adopt`, `finetune` or `distill` stage.
        name: Name of the repository; default: the student's, with the task's for a task student.
        namespace: User or organisation it is pushed to.

    Raises:
        StoreError: The stage is unfinished, is no model's, or its files are damaged or of no student.
    """
    with finished_stage(folder):
        record = StageRecord.read(folder)
        if record.kind not in MODELS:
            raise StoreError(f"{folder} is a {record.kind} stage; expected a model: {', '.join(MODELS)}")
        student, vocabulary = _architecture(folder)
        facts = _facts(Shelf.read(folder.absolute().parent), record, student, namespace)
        measured = _measured(folder, record)
        facts = replace(facts, name=name or facts.name, vocabulary=vocabulary, measured=measured)
        check_kinds(facts)
    return facts


def _facts(shelf: Shelf, record: StageRecord, student: Student, namespace: str | None) -> Facts:
    if record.kind in ENCODERS:
        return Facts(
            name=student.name,
            namespace=namespace,
            student=student,
            run=_run(record),
            base=_start(shelf, record),
            results=_of_encoder(shelf, record),
            **_provenance(shelf, record),
        )
    results = _of_task(shelf, record, student)
    encoder = shelf.encoder(record)
    behind = shelf.behind(encoder)
    return Facts(
        name=f"{student.name}-{_slug(results[0].task.name)}",
        namespace=namespace,
        student=student,
        run=_run(record),
        base=_base(encoder, behind, student, namespace),
        task=results[0].task,
        results=results,
        **({} if behind is None else _provenance(shelf, behind)),
    )


def _architecture(folder: Path) -> tuple[Student, int]:
    """Reads which student a model is, and its vocabulary; what it started from does not always say."""
    try:
        config = json.loads((folder / "config.json").read_text())
        layers, hidden = int(config["num_hidden_layers"]), int(config["hidden_size"])
        vocabulary = int(config.get("vocab_size", VOCABULARY))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder / 'config.json'} cannot be read ({type(error).__name__}: {error}); expected a model's "
            "config beside its record, copy it back or run the stage again"
        ) from error
    try:
        return Student(layers, hidden), vocabulary
    except WellreadError as error:
        raise StoreError(f"{folder}: cards are for the 24 students; {error}") from error


def _measured(folder: Path, record: StageRecord) -> Measured | None:
    """Reads size and number of weights off `model.safetensors`: 8 bytes of length, then a JSON header."""
    path = folder / "model.safetensors"
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        weights = sum(prod(tensor["shape"]) for tensor in header.values())
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise StoreError(
            f"{path} is damaged ({type(error).__name__}); copy it back or train again"
        ) from error
    return Measured(weights=weights, size=path.stat().st_size, latency_ms=record.outcome.get("latency_ms"))


def _run(record: StageRecord) -> Run:
    command: Any = record.command
    return Run(
        # Anything else is refused later, with the other fields.
        command=without_places(command) if isinstance(command, str) else command,
        versions=tuple(sorted(record.versions.items())),
        seconds=record.seconds,
        processes=record.processes,
        device=record.device,
    )


def _provenance(shelf: Shelf, record: StageRecord) -> dict[str, Any]:
    """Returns what is known of an encoder's making: our pre-training, or where it was taken over from."""
    if record.kind == "adopt":
        return {
            "adoption": Adoption(
                source=Origin(fingerprint=str(record.settings["source"])),
                parity=float(record.outcome["parity"]),
                sentences=int(record.outcome["sentences"]),
            )
        }
    return {"pretraining": _pretraining(shelf, record)} if record.kind == "pretrain" else {}


def _pretraining(shelf: Shelf, record: StageRecord) -> Pretraining:
    settings, outcome = record.settings, record.outcome
    packs = [shelf.records[packed] for packed in settings["packs"] if packed in shelf.records]
    longest = max(packs, key=lambda packed: int(packed.outcome["block_length"]), default=None)
    return Pretraining(
        sources=() if longest is None else tuple(map(source_of, longest.settings["sources"])),
        corpus_tokens=None if longest is None else int(longest.outcome["tokens"]),
        tokenizer=Origin(fingerprint=settings["tokenizer"]),
        tokens=int(outcome["tokens"]),
        steps=int(outcome["steps"]),
        start=None if settings["start"] is None else Origin(fingerprint=settings["start"]),
        loss=float(outcome["held_out_loss"]),
        unigram_loss=float(outcome["unigram_loss"]),
        schedule=_schedule(settings),
        seconds=float(outcome["seconds_training"]),
        seed=int(settings["seed"]),
    )


def _schedule(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    optim = settings["optim"]
    dropout = settings["dropout"]
    # The first that is given decides, as in training.
    unit = next((unit for unit in ("minutes", "steps") if settings[unit] is not None), "epochs")
    distil = settings.get("distil")
    phases = list(zip(settings["block_lengths"], settings["phase_shares"], strict=True))
    lengths = ", then ".join(f"{block} tokens for {share:.0%} of the run" for block, share in phases)
    return (
        (f"length of the run, {unit}", f"{settings[unit]:g}"),
        ("blocks", lengths if len(phases) > 1 else f"{phases[0][0]} tokens"),
        ("masked share", f"{settings['mask_share']:.0%}{', whole words' if settings['whole_word'] else ''}"),
        ("blocks a step", str(optim["batch_size"])),
        ("learning rate", f"{optim['learning_rate']:g}, {optim['schedule']}, warm-up {optim['warmup']:.0%}"),
        (
            "AdamW",
            f"β₂ {optim['beta2']:g}, ε {optim['epsilon']:g}, weight decay {optim['weight_decay']:g}, "
            f"gradient norm at most {optim['max_grad_norm']:g}",
        ),
        ("precision", str(optim["precision"])),
        *([] if dropout is None else [("dropout", f"{dropout:g}")]),
        *([("next-sentence prediction", "yes")] if settings.get("next_sentence") else []),
        *([] if distil is None else [("DistilBERT's loss", _distilbert(distil))]),
    )


def _distilbert(distil: Mapping[str, Any]) -> str:
    teacher = Origin(fingerprint=str(distil["teacher"])).hub_id or "a local masked LM"
    return (
        f"teacher {teacher}; T {distil['temperature']:g}; weights: MLM {distil['mlm_weight']:g}, "
        f"soft {distil['soft_weight']:g}, cosine {distil['cosine_weight']:g}"
    )


def _of_encoder(shelf: Shelf, record: StageRecord) -> tuple[Result, ...]:
    """Returns the best choice of settings a task, method and budget, of all that started from an encoder."""
    here = f"stage:{record.digest}:."
    return _best(
        shelf, [run for run in shelf.records.values() if run.kind in TUNED and shelf.encoder(run) == here]
    )


def _of_task(shelf: Shelf, record: StageRecord, student: Student) -> tuple[Result, ...]:
    """Returns a task student's own result, and the best of every other method at the same budget."""
    mine = shelf.recipe(record)
    # From a folder on its own, as after a download, the model's record is all there is.
    runs = {**shelf.records, record.digest: record}.values()
    own = [run for run in runs if run.kind in TUNED and shelf.recipe(run) == mine]
    encoder, tokenizer = shelf.encoder(record), shelf.tokenizer(record)
    soft = shelf.distilled_by(record)
    others = [
        run
        for run in runs
        if run.kind in TUNED
        and shelf.method(run) != shelf.method(record)
        and shelf.budget(run) == shelf.budget(record)
        and shelf.distilled_by(run) in (None, soft)
        and (shelf.encoder(run), shelf.fresh_student(run)) in ((encoder, None), (None, student.name))
        and shelf.tokenizer(run) == tokenizer
    ]
    return (result_of(shelf, own, this_seed=int(record.settings["tuning"]["seed"])), *_best(shelf, others))


def _best(shelf: Shelf, runs: Iterable[StageRecord]) -> tuple[Result, ...]:
    groups: dict[str, list[StageRecord]] = defaultdict(list)
    for run in runs:
        groups[shelf.recipe(run)].append(run)
    chosen: dict[tuple[str, ...], Result] = {}
    for recipe in sorted(groups):
        group: Sequence[StageRecord] = groups[recipe]
        result = result_of(shelf, group)
        budget = shelf.budget(group[0])
        key = (result.task.name, result.method, budget, shelf.distilled_by(group[0]) or "")
        # More seeds decide between equals; one lucky seed is not preferred to three for a tie.
        rank = (result.first.mean, len(result.seeds))
        if key not in chosen or rank > (chosen[key].first.mean, len(chosen[key].seeds)):
            chosen[key] = result
    return tuple(chosen[key] for key in sorted(chosen))


def _start(shelf: Shelf, record: StageRecord) -> Origin | None:
    """Returns what a pre-training went on from; None for random weights, and for weights taken over."""
    if record.kind == "adopt" or record.settings["start"] is None:
        return None
    behind = shelf.behind(record.settings["start"])
    adopted = behind is not None and behind.kind == "adopt"
    return Origin(
        fingerprint=str(behind.settings["source"] if behind and adopted else record.settings["start"])
    )


def _base(
    encoder: str | None, behind: StageRecord | None, student: Student, namespace: str | None
) -> Origin | None:
    """Returns what a task student began with: a repository on the Hub or ours in this namespace, or a stage.

    Of an encoder whose first weights are parts of another model, that model.
    """
    if encoder is None:
        return None
    if behind is not None and behind.kind == "init":
        return Origin(fingerprint=str(behind.settings["source"]))
    if behind is not None and namespace is not None:
        return Origin(fingerprint=f"hub:{namespace}/{student.name}@")
    if behind is not None and behind.kind == "adopt":
        return Origin(fingerprint=str(behind.settings["source"]))
    return Origin(fingerprint=encoder)


def _slug(text: str) -> str:
    """Turns a task's name into part of a repository's."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
    return "-".join(part for part in kept.split("-") if part)[:40] or "task"
