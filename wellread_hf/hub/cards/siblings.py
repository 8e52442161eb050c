"""The family beside a card's encoder: one of each size, where its weights come from, what it scores."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from wellread_hf.errors import StoreError, WellreadError, library_errors_as
from wellread_hf.hub.cards.facts import Facts, Result, Sibling
from wellread_hf.hub.cards.provenance import provenance
from wellread_hf.hub.cards.task_results import results_of_encoder
from wellread_hf.hub.cards.text import code
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.results.lineage import ENCODERS, Stages
from wellread_hf.results.paper import GLUE_TITLES
from wellread_hf.results.tables import Table
from wellread_hf.store.records import StageRecord
from wellread_hf.students import VOCABULARY, Student

# What was found out of each reading of records: every card of a family asks for the same.
_KNOWN: WeakKeyDictionary[Stages, list[tuple[StageRecord, Sibling]]] = WeakKeyDictionary()


def architecture(folder: Path) -> tuple[Student, int, bool]:
    """Reads which student a model is, its vocabulary, and whether it is a toy of the student."""
    with library_errors_as(
        StoreError,
        f"{folder / 'config.json'}: expected a model's config beside its record",
        "copy it back or run the stage again",
    ):
        config = json.loads((folder / "config.json").read_text())
        layers, hidden = int(config["num_hidden_layers"]), int(config["hidden_size"])
        # A record that was kept may have no more than the sizes.
        heads = int(config.get("num_attention_heads", 0))
        vocabulary = int(config.get("vocab_size", VOCABULARY))
    try:
        student = Student.of_model(layers, hidden, heads)
        return student, vocabulary, hidden != student.hidden
    except WellreadError as error:
        raise StoreError(f"{folder}: cards are for the 24 students; {error}") from error


def encoders_of(stages: Stages) -> dict[Student, StageRecord]:
    """Returns the encoder that stands for each size: trained before adopted, then as siblings are chosen."""
    best: dict[Student, tuple[tuple[Any, ...], StageRecord]] = {}
    for record, found in _known(stages):
        rank = (record.kind == "pretrain", *_rank(found))
        if found.student not in best or rank > best[found.student][0]:
            best[found.student] = rank, record
    return {student: best[student][1] for student in sorted(best)}


def siblings_of(stages: Stages, record: StageRecord) -> tuple[Sibling, ...]:
    """Returns the encoders of the family, the card's own among them; none where it is alone.

    Of several of one size that were pre-trained, the one with most results stands for them, then the one
    that saw most tokens. An adopted one of the same size is a sibling of its own.
    """
    best: dict[tuple[Student, str], Sibling] = {}
    for other, sibling in _known(stages):
        found = replace(sibling, this=other.digest == record.digest)
        known = best.get((found.student, other.kind))
        if known is None or (found.this, *_rank(found)) > (known.this, *_rank(known)):
            best[found.student, other.kind] = found
    return tuple(best[key] for key in sorted(best)) if len(best) > 1 else ()


def _rank(found: Sibling) -> tuple[int, int]:
    return len(found.results), found.tokens or 0


def _known(stages: Stages) -> list[tuple[StageRecord, Sibling]]:
    """Returns the encoders among stages, looked at once."""
    if stages not in _KNOWN:
        found = [(record, _sibling(stages, record)) for record in stages.of_kind(*ENCODERS)]
        _KNOWN[stages] = [(record, sibling) for record, sibling in found if sibling is not None]
    return _KNOWN[stages]


def _sibling(stages: Stages, record: StageRecord) -> Sibling | None:
    """Reads an encoder's record; None where it is damaged, or of no student of the family."""
    try:
        # Another card must not fail for it.
        with library_errors_as(StoreError, record.name):
            student, *_ = architecture(stages.folders[record.digest])
            facts = Facts(name=student.name, student=student, **provenance(stages, record))
            read = facts.pretraining
            return Sibling(
                student=student,
                made=facts.made or record.kind,
                tokens=None if read is None else read.tokens + read.earlier_tokens,
                loss=None if read is None else read.loss,
                results=results_of_encoder(stages, record),
                this=False,
            )
    except StoreError:
        return None


def task_title(result: Result) -> str:
    """Names a task: GLUE's as GLUE writes it, another as code."""
    return GLUE_TITLES[result.task.name] if result.task.glue else code(result.task.name)


def siblings_table(siblings: Sequence[Sibling]) -> Table:
    """Tables the family: a row an encoder, the card's own in bold, a column a task and method."""
    columns = sorted({(task_title(of), of.method) for each in siblings for of in each.results})
    rows = []
    for each in siblings:
        name = f"**{each.student.name}**" if each.this else each.student.name
        best: dict[tuple[str, str], Result] = {}
        for of in each.results:
            key = task_title(of), of.method
            if key not in best or of.first.mean > best[key].first.mean:
                best[key] = of
        scores = [_score(best.get(column)) for column in columns]
        tokens = None if each.tokens is None else f"{each.tokens / 1e6:,.1f}"
        loss = None if each.loss is None else f"{each.loss:.2f}"
        rows.append([name, each.made, tokens, loss, *scores])
    head = ["encoder", "weights", "million tokens seen", "masked-LM loss, nats"]
    return Table([*head, *(f"{task}, {method}" for task, method in columns)], rows)


def _score(result: Result | None) -> str | None:
    return None if result is None else mean_and_spread([100 * value for value in result.first.values])
