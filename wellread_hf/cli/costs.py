"""What measurements and budgets print: milliseconds, bytes, ratios, and which students fit."""

from collections.abc import Mapping, Sequence
from typing import Any

from wellread_hf.results.tables import Table
from wellread_hf.serving.machine import has_fast_int8
from wellread_hf.serving.timing import STEADY
from wellread_hf.stages.budgeting import MEASUREMENTS, fitting
from wellread_hf.store.stage import Stage
from wellread_hf.students import Student


def show_measurement(settings: Any, stages: Sequence[Stage]) -> None:
    """Prints a measurement: a row for each candidate at each length, batch and number of threads."""
    (stage,) = stages
    found = stage.record.outcome
    head = ["model", "format", "MB", "threads", "batch", "tokens", "p50 ms", "p95 ms", "per second", "ratio",
            "95 % interval"]  # fmt: skip
    rows = [
        [
            each["model"],
            each["format"],
            f"{each['bytes'] / 1e6:.2f}",
            *(point[name] for name in ("threads", "batch", "length")),
            *(_figure(point[name]) for name in ("p50_ms", "p95_ms", "per_second")),
            f"{point['ratio']:.2f}",
            f"{point['interval'][0]:.2f} to {point['interval'][1]:.2f}",
        ]
        for each in found["candidates"]
        for point in each["latency"]
    ]
    notes = [f"ratios: how many times as fast as {found['reference']}, timed in turn"]
    notes += [
        f"{each['model']}, {each['format']}: a fresh process answers after {each['start_s']:.2f} s, "
        f"and takes {each['peak_mb']:.0f} MB"
        for each in found["candidates"]
    ]
    for each in found["candidates"]:
        timed = {point["length"] for point in each["latency"]}
        if over := [length for length in settings.measure.lengths if length not in timed]:
            notes.append(
                f"{each['model']}, {each['format']}: not measured at {', '.join(map(str, over))} tokens, "
                "which are more than it takes"
            )
    Table(head, rows, [*notes, *_steadiness(found)]).show(_where(found))
    print(f"measurements: {stage.folder / MEASUREMENTS}")


def show_budget(settings: Any, stages: Sequence[Stage]) -> None:
    """Prints what each student costs in each format, and which fit; raises where none does."""
    (stage,) = stages
    found, limits = stage.record.outcome, settings.budget
    formats = list(dict.fromkeys(each["format"] for each in found["candidates"]))
    asked = limits.max_ms is not None or limits.max_mb is not None
    by_student: dict[str, dict[str, Mapping[str, Any]]] = {}
    for each in found["candidates"]:
        by_student.setdefault(each["model"], {})[each["format"]] = each
    Table(
        ["student", *(f"{form}, ms (MB)" for form in formats)],
        [
            [name, *(_cell(each[form]) for form in formats)]
            for name, each in sorted(by_student.items(), key=lambda pair: Student.parse(pair[0]).parameters())
        ],
        [
            f"from a text of {limits.length} tokens to its label, p50, {limits.threads} thread(s), "
            f"{limits.vocabulary:,} WordPieces",
            *_predictions(found),
            *_steadiness(found),
        ],
    ).show(_where(found))
    print(f"measurements: {stage.folder / MEASUREMENTS}")
    if asked:
        for name, fits in fitting(found, limits).items():
            print(f"fits: {name} ({', '.join(fits)})")
        print("next: wellread ship with the same limits")


def _cell(each: Mapping[str, Any]) -> str:
    ms = _figure(each["latency"][0]["p50_ms"]) or "?"
    return f"{ms} ({each['bytes'] / 1e6:.1f}){' predicted' * each.get('predicted', False)}"


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _predictions(found: Mapping[str, Any]) -> list[str]:
    error = found.get("left_out_error")
    if error is None:
        return []
    return [f"predicted sizes: each measured one, left out, is missed by {100 * error:.0f} % (median)"]


def _steadiness(found: Mapping[str, Any]) -> list[str]:
    notes = ["milliseconds of one thread leave out what it waits for a processor that others have"]
    if not found["steady"]:
        notes += [
            f"milliseconds are left out where the reference moved by more than {100 * STEADY:.0f} %: the "
            "machine was busy"
        ]
    if not has_fast_int8(found["machine"]):
        notes += ["int8 is for size here: the processor has no instructions for products of 8-bit numbers"]
    return notes


def _where(found: Mapping[str, Any]) -> str:
    here = found["machine"]
    return f"{here['cpu']}, {here['cores']} cores, {' '.join(here['instructions'])}, load {here['load']}"
