"""Finished models beside one another on this machine: from a text to its label, in each format."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from wellread_hf.errors import SourceError, StoreError, UnknownNameError
from wellread_hf.serving.export_facts import EXPORT, FILES, ExportFacts, positions_of
from wellread_hf.serving.exports import export_of_run
from wellread_hf.serving.machine import machine
from wellread_hf.serving.onnx_model import Text
from wellread_hf.settings import Measure, Running, Task
from wellread_hf.settings.measure import Format
from wellread_hf.stages.budgeting import MEASUREMENTS, random_student
from wellread_hf.stages.inputs import FoundTask, find
from wellread_hf.stages.timed import (
    GRAPHS,
    Length,
    Timed,
    formats_here,
    graph_answer,
    kept,
    latencies,
    measured,
    starts,
    torch_answer,
)
from wellread_hf.store.places import fetch
from wellread_hf.store.progress import bar
from wellread_hf.store.records import json_object, write_atomically
from wellread_hf.store.stage import Location, Place, Stage, short_name
from wellread_hf.students import Student

# Rows of a task that are timed: as many as show its lengths.
_ROWS = 256


@dataclass(frozen=True, slots=True)
class _Model:
    """A model to be measured: its weights, its graphs, or both; or a student with random weights."""

    name: str
    weights: Location | None = None
    export: Location | None = None
    student: Student | None = None

    @property
    def places(self) -> list[Location]:
        return [at for at in (self.weights, self.export) if at is not None]


def measure(
    models: Sequence[Place],
    task: Task | None,
    settings: Measure,
    running: Running,
    needed: tuple[int, int] | None = None,
) -> Stage:
    """Measures finished models on this machine, in turn: latency, throughput, memory, size.

    Writes `measurements.json`; the outcome has the same content: `machine`, `steady`, `reference`, and of
    each candidate (a model in one format) `model`, `fingerprint`, `folder`, `format`, `bytes`, `start_s` and
    `peak_mb` of a fresh process, and `latency`, as `timed.latencies` describes it.

    Args:
        models: Classifiers or their exports; a finished run's export in the same folder of runs counts too.
            A name of one of the 24 students stands for one with random weights.
        task: Its validation rows are measured as they are, and its words at given lengths; None: words of the
            model's own vocabulary.
        settings: What is measured.
        running: Where it goes.
        needed: Tokens and threads at which one text a call needs milliseconds; the stage refuses to end
            without any. None: ratios will do.

    Raises:
        StoreError: From its work, where the machine was too busy for the milliseconds needed.
    """
    here, formats = machine(), formats_here(settings.formats)
    found = [_find(place, running) for place in models]
    found_task = None if task is None else FoundTask(task, running)

    def work(stage: Stage) -> Mapping[str, Any]:
        parts = stage.folder / "checkpoints"
        candidates = [each for model in found for each in _candidates(model, formats, settings, parts)]
        if not candidates:
            raise SourceError(
                f"expected models in one of the formats {', '.join(formats)}, found none in "
                f"{', '.join(model.name for model in found)}; run `wellread export`, or name other formats"
            )
        rows = [] if found_task is None else _as_texts(found_task)
        texts = _texts(rows)
        own: list[Length] = ["rows"] if rows else []
        lengths: list[Length] = [*settings.lengths, *own]
        # Short texts where there are no rows: a batch of the longest may take half a minute.
        points = [(1, length) for length in lengths] + [(settings.batch, (own or lengths)[0])]
        figures: list[list[Any]] = [[] for _ in candidates]
        threads = dict.fromkeys(each or here["cores"] for each in settings.threads)
        with bar("measuring", "rounds", len(threads)) as shown:
            for each in threads:
                timed = partial(latencies, candidates, texts, points, each, settings.seconds)
                part = kept(parts / f"threads-{each}.json", timed)
                figures = [[*before, *now] for before, now in zip(figures, part, strict=True)]
                shown.update()
        if needed is not None and not _steady(figures, *needed):
            # What was measured beside other load would be read again.
            shutil.rmtree(parts)
            raise StoreError(
                "the machine was too busy to measure milliseconds; end what else runs on it, and run the "
                "same command again"
            )
        begun = [(each.folder, each.format) for each in candidates]
        text = texts(candidates[0], settings.lengths[0])[0]
        fresh = kept(parts / "starts.json", partial(starts, begun, text, settings.starts))
        outcome = measured(
            [
                each.record(points) | start
                for each, points, start in zip(candidates, figures, fresh, strict=True)
            ]
        )
        write_atomically(stage.folder / MEASUREMENTS, json.dumps(outcome, indent=1))
        return outcome

    return Stage(
        kind="measure",
        name="-".join(dict.fromkeys(model.name for model in found))[:60],
        root=running.runs,
        identity={
            "machine": {name: here[name] for name in ("cpu", "instructions", "cores")},
            "models": [
                model.name if model.student else [at.fingerprint for at in model.places] for model in found
            ],
            "task": None if found_task is None else found_task.identity(uses_labels=False, chooses=False),
            "measure": asdict(settings) | {"formats": formats},
            # A measurement without milliseconds is another one.
            **({} if needed is None else {"needed": list(needed)}),
        },
        inputs=[
            *(at for model in found for at in model.places),
            *([] if found_task is None else found_task.locations),
        ],
        work=work,
        check=lambda: None if found_task is None else found_task.check(),
        solo=True,
    )


def _steady(figures: Sequence[Sequence[Mapping[str, Any]]], length: int, threads: int) -> bool:
    """Returns whether one text a call has milliseconds at a length and number of threads."""
    wanted = (threads, 1, length)
    return any(
        point["p50_ms"] is not None
        for points in figures
        for point in points
        if (point["threads"], point["batch"], point["length"]) == wanted
    )


def _find(place: Place, running: Running) -> _Model:
    """Finds a model's weights and graphs."""
    name = short_name(place)
    if (student := _student(place)) is not None:
        return _Model(student.name, student=student)
    if isinstance(place, Stage) and place.kind == "export":
        return _Model(name, place.reads[0], place.at())
    at = find(place, "model", "models", running)
    if at.stage is not None:
        return _Model(name, at, None)
    exported = fetch(at, EXPORT) or fetch(at, FILES["fp32"])
    if exported is None:
        made = export_of_run(Path(at.name))
        return _Model(name, at, None if made is None else find(str(made), "model", "models", running))
    whole = fetch(at, "model.safetensors") is not None
    return _Model(name, at if whole else None, at)


def _student(place: Place) -> Student | None:
    """Returns the student that a name stands for where it is no path; ids of the release are models."""
    if not isinstance(place, str) or "/" in place or Path(place).exists():
        return None
    with suppress(UnknownNameError):
        return Student.parse(place)
    return None


def _candidates(model: _Model, formats: Sequence[Format], settings: Measure, parts: Path) -> Iterator[Timed]:
    """Yields a model in the formats that it has."""
    from wellread_hf.models.weights import stored_weights

    if model.student is not None:
        folder, words = parts / model.name, settings.vocabulary
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"fingerprint": f"random:{model.name}:{words}"}
        yield from random_student(model.student, words, formats, folder, facts)
        return
    # What is the same model has one fingerprint, that of its weights.
    fingerprint = model.places[0].fingerprint
    graphs: Path | None = None
    if model.export is not None:
        graphs = _folder(model.export, (*FILES.values(), EXPORT))
        fingerprint = ExportFacts.read(graphs).fingerprint or fingerprint
    for form in formats:
        if form == "torch":
            if model.weights is None:
                continue
            folder = _folder(model.weights, ())
            size = sum(path.stat().st_size for path in stored_weights(model.weights))
            opened = partial(torch_answer, str(folder), None)
        else:
            if graphs is None or not (graphs / FILES[GRAPHS[form]]).is_file():
                continue
            folder, size = graphs, (graphs / FILES[GRAPHS[form]]).stat().st_size
            opened = partial(graph_answer, folder, form)
        yield Timed(
            model=model.name,
            format=form,
            bytes=size,
            positions=positions_of(json_object(folder / "config.json")),
            folder=folder,
            opened=opened,
            facts={"fingerprint": fingerprint, "folder": str(folder)},
        )


def _folder(at: Location, more: Sequence[str]) -> Path:
    """Returns the folder of a model's files, downloaded where it lies on the Hub."""
    config = fetch(at, "config.json")
    if config is None:
        raise SourceError(f"{at}: expected a model with a config.json, found none; name another")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "model.safetensors", *more):
        fetch(at, name)
    return config.parent


def _as_texts(task: FoundTask) -> list[Text]:
    """Returns the first validation rows; words with a blank between, as a model is given text in use."""
    rows = task.load().validation.texts[:_ROWS]
    if task.task.tagging:
        return [" ".join(row) for row in rows]
    return [row[0] if len(row) == 1 else (row[0], row[1]) for row in rows]


def _texts(rows: Sequence[Text]) -> Callable[[Timed, Length], Sequence[Text]]:
    """Returns what makes texts of so many tokens for a candidate, of the rows' words or of its own."""

    @cache
    def of_length(folder: Path, length: int) -> Text:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        parts = [part for row in rows for part in ((row,) if isinstance(row, str) else row)]
        words = " ".join(parts).split() or [word for word in tokenizer.get_vocab() if word.isalpha()]
        # More than enough, also where each word is a token.
        words = (words * (length // len(words) + 1))[:length]

        def tokens(count: int) -> int:
            return len(tokenizer.encode(" ".join(words[:count])))

        # The most words that fit: tokens grow with words.
        low, high = 1, len(words)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if tokens(middle) <= length else (low, middle - 1)
        return " ".join(words[:low])

    def texts(candidate: Timed, length: Length) -> Sequence[Text]:
        return rows if length == "rows" else [of_length(candidate.folder, int(length))]

    return texts
