"""From records of finished stages to facts. A record that is gone leaves its facts absent."""

from contextlib import AbstractContextManager
from dataclasses import replace
from math import prod
from pathlib import Path

from safetensors import safe_open

from wellread_hf.errors import StoreError, library_errors_as
from wellread_hf.hub.cards.facts import ClassScores, Facts, Measured, Pruned, Run, Score
from wellread_hf.hub.cards.origins import Origin
from wellread_hf.hub.cards.provenance import provenance
from wellread_hf.hub.cards.shipped import shipped
from wellread_hf.hub.cards.siblings import architecture, siblings_of
from wellread_hf.hub.cards.task_results import results_of_classifier, results_of_encoder
from wellread_hf.hub.cards.text import without_places
from wellread_hf.results.lineage import ENCODERS, MODELS, Stages
from wellread_hf.settings import Case
from wellread_hf.store.records import StageRecord, json_object
from wellread_hf.students import Student

# With the student's name it stays below the 96 characters of a repository's name.
_LONGEST_SLUG = 40


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
        folder: A finished `pretrain`, `adopt`, `finetune`, `distill` or `prune` stage.
        name: Name of the repository; default: the student's, with the task's for a task student.
        namespace: User or organisation it is pushed to.

    Raises:
        StoreError: The stage is unfinished, is no model's, or its files are damaged or of no student.
    """
    with finished_stage(folder):
        record = StageRecord.read(folder)
        if record.kind not in MODELS:
            raise StoreError(
                f"{folder} is the folder of a stage {record.kind!r}: expected a model of {', '.join(MODELS)}"
            )
        student, vocabulary, toy = architecture(folder)
        stages = Stages.read(folder.absolute().parent)
        made = stages.unpruned(record)
        if made is None:
            raise StoreError(
                f"{folder} is pruned, and the model that it was made of is not beside it; copy that one there"
            )
        facts = _facts(stages, made, student, namespace)
        if record.kind == "prune":
            facts = _pruned(stages, record, replace(facts, run=_run(record)))
        facts = replace(facts, **shipped(stages, record, facts.task))
        measured = _measured(folder)
        facts = replace(facts, name=name or facts.name, vocabulary=vocabulary, toy=toy, measured=measured)
        return replace(facts, case=_case(folder))


def _facts(stages: Stages, record: StageRecord, student: Student, namespace: str | None) -> Facts:
    bare = Facts(name=student.name, namespace=namespace, student=student, run=_run(record))
    if record.kind in ENCODERS:
        base = _start(stages, record)
        results = results_of_encoder(stages, record)
        siblings = siblings_of(stages, record)
        return replace(bare, base=base, results=results, siblings=siblings, **provenance(stages, record))
    results = results_of_classifier(stages, record, student)
    encoder = stages.start(record)["weights"]
    producer = stages.unpruned(stages.producer(encoder))
    return replace(
        bare,
        name=f"{student.name}-{slug(results[0].task.name)}",
        base=_base(encoder, producer, student, namespace),
        results=results,
        per_class=_per_class(record),
        **({} if producer is None else provenance(stages, producer)),
    )


def _pruned(stages: Stages, record: StageRecord, facts: Facts) -> Facts:
    """Returns the facts of a pruned model: of a classifier with its own score, since rows may lose pieces."""
    outcome, own = record.outcome, facts.own
    pruned = Pruned(before=outcome["vocabulary_before"], share=outcome["share_kept"])
    facts = replace(facts, name=f"{facts.name}-v{outcome['vocabulary']}", pruned=pruned, results=())
    if own is None or own.this_seed is None:
        return facts
    evaluated = stages.of(record, "evaluate")
    if not evaluated:
        raise StoreError(
            "expected an evaluation of the pruned model, whose score may differ from that of the model that "
            "it was made of; run wellread eval on it"
        )
    found = evaluated[-1].outcome
    names = sorted(found["scores"], key=lambda metric: (metric != found["metric"], metric))
    scores = tuple(Score(split="dev", metric=metric, values=(found["scores"][metric],)) for metric in names)
    result = replace(own, seeds=(own.this_seed,), scores=scores)
    return replace(facts, results=(result,), per_class=_per_class(evaluated[-1]))


def _per_class(record: StageRecord) -> tuple[ClassScores, ...]:
    return tuple(
        ClassScores(name=each["class"], **{key: each[key] for key in ("rows", "precision", "recall", "f1")})
        for each in record.outcome.get("per_class", ())
    )


def _case(folder: Path) -> Case:
    """Returns what a model's tokenizer keeps of letters; BERT's own where its files do not say."""
    path = folder / "tokenizer.json"
    rules = (json_object(path).get("normalizer") or {}) if path.is_file() else {}
    if rules.get("type") != "BertNormalizer":
        return "lower"
    if not rules["lowercase"]:
        return "cased"
    return "lower-accents" if rules["strip_accents"] is False else "lower"


def _measured(folder: Path) -> Measured | None:
    path = folder / "model.safetensors"
    if not path.is_file():
        return None
    with (
        library_errors_as(StoreError, f"{path} is damaged", "copy it back or train again"),
        safe_open(path, framework="numpy") as file,
    ):
        weights = sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118  # no mapping
    return Measured(weights=weights, size=path.stat().st_size)


def _run(record: StageRecord) -> Run:
    return Run(
        command=without_places(record.command),
        versions=tuple(sorted(record.versions.items())),
        seconds=record.seconds,
        processes=record.processes,
        device=record.device,
    )


def _start(stages: Stages, record: StageRecord) -> Origin | None:
    """Returns what a pre-training went on from; None for random weights, and for weights taken over."""
    if record.kind == "adopt" or record.settings["start"] is None:
        return None
    start = record.settings["start"]
    producer = stages.producer(start)
    if producer is not None and producer.kind == "adopt":
        start = producer.settings["source"]
    return Origin(fingerprint=start)


def _base(
    encoder: str | None, producer: StageRecord | None, student: Student, namespace: str | None
) -> Origin | None:
    """Returns what a task student began with: a repository on the Hub or ours in this namespace, or a stage.

    Of an encoder whose first weights are parts of another model, that model.
    """
    if encoder is None or producer is None:
        return None if encoder is None else Origin(fingerprint=encoder)
    if producer.kind != "init" and namespace is not None:
        return Origin(fingerprint=f"hub:{namespace}/{student.name}@")
    return Origin(fingerprint=producer.settings["source"] if producer.kind in ("init", "adopt") else encoder)


def slug(text: str) -> str:
    """Turns a task's name into part of a repository's."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
    return "-".join(part for part in kept.split("-") if part)[:_LONGEST_SLUG] or "task"
