"""Which of the 24 students a budget has room for on this machine: latency needs no trained weights."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from math import inf
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from wellread_hf.errors import NothingFitsError
from wellread_hf.serving.export_facts import FILES
from wellread_hf.serving.machine import machine
from wellread_hf.settings import Budget, Running
from wellread_hf.settings.measure import FORMATS, Format
from wellread_hf.stages.timed import (
    GRAPHS,
    Timed,
    formats_here,
    graph_answer,
    kept,
    latencies,
    measured,
    torch_answer,
)
from wellread_hf.store.progress import bar
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage
from wellread_hf.students import HIDDEN, LAYERS, POSITIONS, STUDENTS, Student

MEASUREMENTS = "measurements.json"
# Both ends of the depths at every width: the other sizes lie in between.
QUICK = tuple(Student(layers, hidden) for hidden in HIDDEN for layers in (LAYERS[0], LAYERS[-1]))
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def budget(settings: Budget, running: Running) -> Stage:
    """Measures students with random weights on this machine, from a text to its label, in each format.

    Writes `measurements.json`. The outcome is as that of a measurement, a student's name in place of a
    model's; with `quick` also `predicted` of a candidate, and `left_out_error`, the median relative error
    of the predictions where each measured size is left out in turn.

    Args:
        settings: Which students, and how they are measured; the limits themselves decide nothing here.
        running: Where it goes.
    """
    here = machine()
    formats = formats_here(settings.formats)
    students = [Student.parse(name) for name in settings.students] or list(STUDENTS)

    def _measured(student: Student, parts: Path) -> list[dict[str, Any]]:
        with TemporaryDirectory(dir=parts) as folder:
            made = list(random_student(student, settings.vocabulary, formats, Path(folder)))
            found = latencies(
                made,
                lambda each, length: [_text(settings.vocabulary, int(length))],
                [(1, settings.length)],
                settings.threads,
                settings.seconds,
            )
        return [each.record(points) for each, points in zip(made, found, strict=True)]

    def work(stage: Stage) -> Mapping[str, Any]:
        chosen = [each for each in students if not settings.quick or each in QUICK] or students
        parts, candidates = stage.folder / "checkpoints", []
        for student in with_bar(chosen):
            candidates += kept(parts / f"{student.name}.json", partial(_measured, student, parts))
        outcome = measured(candidates)
        if settings.quick and len(chosen) < len(students):
            outcome |= _predicted(outcome["candidates"], [each for each in students if each not in chosen])
        write_atomically(stage.folder / MEASUREMENTS, json.dumps(outcome, indent=1))
        return outcome

    return Stage(
        kind="budget",
        name=f"{settings.length}-tokens",
        root=running.runs,
        identity={
            # What was measured elsewhere says nothing of this machine.
            "machine": {name: here[name] for name in ("cpu", "instructions", "cores")},
            "students": [student.name for student in students],
            "formats": formats,
            **{name: value for name, value in asdict(settings).items() if name in _DECIDES},
        },
        work=work,
        solo=True,
    )


_DECIDES = ("length", "threads", "vocabulary", "quick", "seconds")


def with_bar(students: Sequence[Student]) -> Iterator[Student]:
    """Yields students, the smallest first, with a bar."""
    with bar("measuring", "students", len(students)) as shown:
        for student in sorted(students, key=Student.parameters):
            yield student
            shown.update()


def random_student(
    student: Student,
    vocabulary: int,
    formats: Sequence[Format],
    folder: Path,
    facts: Mapping[str, Any] | None = None,
) -> Iterator[Timed]:
    """Makes a student with random weights, and yields it in each format.

    Args:
        student: Which of the 24.
        vocabulary: WordPieces that it knows.
        formats: In which formats.
        folder: Where its graphs lie as long as it is timed; with `facts` its weights as well.
        facts: What records say of it beside name, format and size.
    """
    from wellread_hf.models.load import new_classifier
    from wellread_hf.models.onnx_graph import write_int8, write_traced

    model = new_classifier(student, vocabulary, ("0", "1"), seed=0).train(False)
    tokenizer = made_up_tokenizer(vocabulary)
    if facts is not None:
        model.save_pretrained(folder)
    else:
        # Weights that no other process loads are not written; the config is as saving them would leave it.
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    graphs = [form for form in formats if form in GRAPHS]
    if graphs:
        (folder / "onnx").mkdir(exist_ok=True)
        write_traced(model, folder / FILES["fp32"])
        if "onnx-int8" in graphs:
            write_int8(folder / FILES["fp32"], folder / FILES["int8"])
    for form in formats:
        if form == "torch":
            size, opened = 4 * model.num_parameters(), partial(torch_answer, model, tokenizer)
        else:
            size, opened = (folder / FILES[GRAPHS[form]]).stat().st_size, partial(graph_answer, folder, form)
        yield Timed(
            model=student.name,
            format=form,
            bytes=size,
            positions=POSITIONS,
            folder=folder,
            opened=opened,
            facts=facts or {},
        )


def made_up_tokenizer(vocabulary: int) -> Any:
    """Returns a tokenizer of so many words, where it does not matter which."""
    from transformers import BertTokenizer

    words = {word: number for number, word in enumerate(_words(vocabulary))}
    return BertTokenizer(vocab=words, model_max_length=POSITIONS)


def _words(vocabulary: int) -> list[str]:
    """Returns as many words of letters, special tokens first."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = (
        "".join(letters[number // len(letters) ** place % len(letters)] for place in range(5))
        for number in range(vocabulary - len(_SPECIAL))
    )
    return [*_SPECIAL, *made]


def _text(vocabulary: int, length: int) -> str:
    """Returns a text of so many tokens, spread over the vocabulary."""
    words = _words(vocabulary)[len(_SPECIAL) :]
    chosen = np.random.default_rng(0).integers(len(words), size=length - 2)
    return " ".join(words[number] for number in chosen)


def _predicted(candidates: Sequence[Mapping[str, Any]], students: Sequence[Student]) -> dict[str, Any]:
    """Predicts sizes from those measured: of each format a cost a call, a layer, and a layer's products."""
    found, errors = list(candidates), []
    for form in dict.fromkeys(each["format"] for each in candidates):
        known = [each for each in candidates if each["format"] == form]
        sizes = [Student.parse(each["model"]) for each in known]
        bytes_of = {size: each["bytes"] for size, each in zip(sizes, known, strict=True)}
        points = [each["latency"][0] for each in known]
        times = [point["p50_ms"] for point in points]
        steady = {size: ms for size, ms in zip(sizes, times, strict=True) if ms is not None}
        for size, ms in steady.items():
            others = {other: steady[other] for other in steady if other != size}
            # On a busy machine there may be one alone.
            errors += [abs(cost(others, size) / ms - 1)] if others else []
        for student in students:
            ms = cost(steady, student) if steady else None
            place = points[0] | {
                "p50_ms": ms,
                "p95_ms": None,
                "p99_ms": None,
                "ratio": None,
                "interval": None,
            }
            found.append(
                {
                    "model": student.name,
                    "predicted": True,
                    "format": form,
                    "bytes": round(cost(bytes_of, student)),
                    "latency": [place | {"per_second": None if ms is None else 1e3 / ms}],
                }
            )
    return {"candidates": found, "left_out_error": median(errors) if errors else None}


def cost(costs: Mapping[Student, float], student: Student) -> float:
    """Predicts a student's cost from that of others.

    Non-negative least squares of the relative error: a call, words of a width, and a layer by its width and
    its products, which grow with the width and its square.
    """
    from scipy.optimize import nnls

    def terms(each: Student) -> list[float]:
        layers, hidden = each.layers, each.hidden
        return [1, hidden, layers, layers * hidden, layers * hidden**2]

    wanted = np.array([*costs.values()], dtype=float)
    known = np.array([terms(each) for each in costs], dtype=float)
    # Columns of like size, or the solver's steps are of the largest alone.
    scale = known.max(axis=0)
    weights, _ = nnls(known / scale / wanted[:, None], np.ones(len(wanted)))
    return float(np.array(terms(student)) / scale @ weights)


def fitting(
    outcome: Mapping[str, Any], limits: Budget, formats: Collection[str] = FORMATS
) -> dict[str, list[Format]]:
    """Returns the students that keep to a budget, each with the formats in which it does.

    Milliseconds that are not known, since the machine was busy, keep to no limit.

    Raises:
        NothingFitsError: None does; the message names the nearest.
    """
    candidates = [each for each in outcome["candidates"] if each["format"] in formats]
    found: dict[str, list[Format]] = {}
    for each in candidates:
        if _excess(each, limits) == 0:
            found.setdefault(each["model"], []).append(each["format"])
    if found:
        return found
    nearest = min(candidates, key=lambda each: (_excess(each, limits), each["bytes"]))
    asked = {"max_ms": limits.max_ms, "max_mb": limits.max_mb}
    words = ", ".join(f"`{name}` {limit:g}" for name, limit in asked.items() if limit is not None)
    raise NothingFitsError(
        f"nothing fits {words}: the nearest of {len(candidates)} students and formats is {nearest['model']}, "
        f"{nearest['format']}, with {milliseconds(nearest)} and {nearest['bytes'] / 1e6:.2f} MB; allow more, "
        "shorter texts (`length`), or fewer words (`vocabulary`)"
    )


def _excess(each: Mapping[str, Any], limits: Budget) -> float:
    """Returns how far a candidate is over the limits, as shares of them; 0 where it keeps to both."""
    ms, mb = each["latency"][0]["p50_ms"], each["bytes"] / 1e6
    return excess(ms, limits.max_ms) + excess(mb, limits.max_mb)


def excess(cost: float | None, limit: float | None) -> float:
    """Returns by how much a cost is over a limit, as a share of it; 0 where it keeps to it, or there is none.

    A cost that is not known keeps to no limit.
    """
    if limit is None:
        return 0.0
    return inf if cost is None else max(cost / limit - 1, 0.0)


def milliseconds(each: Mapping[str, Any]) -> str:
    """Returns a candidate's milliseconds in words."""
    ms = each["latency"][0]["p50_ms"]
    return "unknown ms (the machine was busy)" if ms is None else f"{ms:.2f} ms"
