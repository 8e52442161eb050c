"""What later stages found out of a model: its graphs, confidence, latency, and the choice it is one of."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.hub.cards.facts import TaskData
from wellread_hf.hub.cards.shipped_facts import (
    Choice,
    Confidence,
    Example,
    Exported,
    Graph,
    Latency,
    Timing,
)
from wellread_hf.metrics.calibration import probabilities
from wellread_hf.results.candidates import Candidate, read_offer
from wellread_hf.results.lineage import Stages
from wellread_hf.settings import Picking
from wellread_hf.store.records import StageRecord, canonical_json

# A widget has room for a few, and a table of a card for more than anybody compares.
_EXAMPLES, _CHOICES = 3, 24
_LONGEST_EXAMPLE, _SHORTEST_EXAMPLE = 80, 20


def shipped(stages: Stages, record: StageRecord, task: TaskData | None) -> dict[str, Any]:
    """Returns the fields of `Facts` that come from stages after the model's own."""
    found: dict[str, Any] = {"latency": _latency(stages, record.fingerprint)}
    if (export := stages.export(record)) is not None:
        found["exported"] = _exported(StageRecord.read(export).outcome)
    evaluations = stages.by_age(stages.of(record, "evaluate"))
    if evaluations and task is not None:
        evaluated = evaluations[-1]
        found["confidence"] = _confidence(evaluated.outcome.get("calibration"))
        found["choices"] = _choices(stages, evaluated, record)
        # A user's own texts may be private; those on the Hub are public.
        if task.glue or task.origin.hub_id is not None:
            rows = EvaluatedRows.read(stages.folders[evaluated.digest])
            found["examples"] = _examples(rows, evaluated.outcome)
    return found


def _exported(outcome: Mapping[str, Any]) -> Exported:
    return Exported(
        kind=outcome["kind"],
        metric=outcome["metric"],
        rows=outcome["rows"],
        max_length=outcome["max_length"],
        temperature=outcome["temperature"],
        cpu=outcome["machine"]["cpu"],
        instructions=tuple(outcome["machine"]["instructions"]),
        graphs=tuple(
            Graph(
                file=name,
                size=graph["bytes"],
                score=graph["scores"][outcome["metric"]],
                difference=graph["max_logit_difference"],
                agreement=graph.get("agreement"),
                drop=(graph["score_drop"], *graph["interval"]) if "interval" in graph else None,
                speed=_spread(graph.get("speed_over_fp32")),
                refused=graph.get("refused"),
            )
            for name, graph in outcome["files"].items()
        ),
    )


def _spread(ratio: Mapping[str, float] | None) -> tuple[float, float, float] | None:
    return None if ratio is None else (ratio["value"], ratio["low"], ratio["high"])


def _confidence(calibration: Mapping[str, Any] | None) -> Confidence | None:
    if calibration is None:
        return None
    before, after = (
        tuple((each["confidence"], each["accuracy"], each["decisions"]) for each in calibration["bins"][when])
        for when in ("before", "after")
    )
    return Confidence(
        temperature=calibration["temperature"],
        before=calibration["ece_before"],
        after=calibration["ece_after"],
        rows=calibration["rows"],
        bins=(before, after),
    )


def _latency(stages: Stages, fingerprint: str) -> Latency | None:
    """Reads the newest measurement of a model."""
    measured = [
        each
        for each in stages.of_kind("measure")
        if any(one["fingerprint"] == fingerprint for one in each.outcome["candidates"])
    ]
    if not measured:
        return None
    outcome = stages.by_age(measured)[-1].outcome
    formats = [each for each in outcome["candidates"] if each["fingerprint"] == fingerprint]
    return Latency(
        cpu=outcome["machine"]["cpu"],
        instructions=tuple(outcome["machine"]["instructions"]),
        reference=outcome["reference"],
        timings=tuple(
            Timing(
                format=each["format"],
                threads=point["threads"],
                batch=point["batch"],
                length=str(point["length"]),
                p50=point["p50_ms"],
                p95=point["p95_ms"],
                ratio=(point["ratio"], *point["interval"]),
            )
            for each in formats
            for point in each["latency"]
            # A card has room for one thread, and for batches of the task's own rows.
            if point["threads"] == 1 and (point["batch"] == 1 or point["length"] == "rows")
        ),
        starts=tuple((each["format"], each["start_s"], each["peak_mb"]) for each in formats),
    )


def _choices(stages: Stages, evaluated: StageRecord, record: StageRecord) -> tuple[Choice, ...]:
    """Returns the students that were evaluated on the same rows, the smallest first, and the teacher."""
    same = {
        each.digest
        for each in stages.of_kind("evaluate")
        if canonical_json(each.settings["task"]) == canonical_json(evaluated.settings["task"])
    }
    same |= {each.digest for each in stages.of_kind("export", "measure")}
    try:
        offer = read_offer(stages, Picking(task=evaluated.outcome["task"]), same)
    except (SettingsError, StoreError):
        # There is nothing to choose from, and the card says so by saying nothing.
        return ()
    here = record.fingerprint
    found = [
        _choice(each, here) for each in (*_smallest(offer.students)[:_CHOICES], *_smallest(offer.teachers))
    ]
    return tuple(found) if len(found) > 1 else ()


def _smallest(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Returns each arm in the format of its smallest file; a choice is between models, not formats of one."""
    ordered = sorted(candidates, key=lambda each: (each.mb or inf, each.title))
    return list({each.arm: each for each in reversed(ordered)}.values())[::-1]


def _choice(candidate: Candidate, here: str) -> Choice:
    score = candidate.score
    return Choice(
        name=candidate.name,
        method=candidate.method,
        format=candidate.format,
        score=(score.mean, score.low, score.high),
        ms=candidate.ms,
        mb=candidate.mb,
        this=any(member.fingerprint == here for member in candidate.members),
    )


def _examples(rows: EvaluatedRows, outcome: Mapping[str, Any]) -> tuple[Example, ...]:
    """Returns a short text of each class that the model is right about, with its probabilities."""
    labels = outcome["labels"]
    if outcome["kind"] != "classification" or len(rows.texts[0]) > 1:
        return ()
    found: dict[int, Example] = {}
    # The first of each class: the surest ones would promise too much.
    for (text,), label, share in zip(rows.texts, rows.labels, probabilities(rows.logits), strict=True):
        said = int(share.argmax())
        if said == label and said not in found and _SHORTEST_EXAMPLE <= len(text) <= _LONGEST_EXAMPLE:
            likely = sorted(zip(labels, share, strict=True), key=lambda each: -each[1])
            found[said] = Example(
                text=text.strip(),
                labels=tuple((str(name), round(float(part), 3)) for name, part in likely),
            )
    return tuple(found[label] for label in sorted(found))[:_EXAMPLES]
