"""What a report shows: the classifiers of one task, from records and stored predictions."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.metrics.calibration import probabilities
from wellread_hf.results.lineage import TUNED, Stages
from wellread_hf.store.records import StageRecord, json_object
from wellread_hf.students import LOOKS

Array = npt.NDArray[Any]
_TITLES = {look.title: name for name, look in LOOKS.items()}
# Rows of a page: the most instructive ones, within a megabyte.
_ROWS, _CHARACTERS = 200, 400


@dataclass(frozen=True, kw_only=True)
class Model:
    """A classifier: one of our students, or the teacher."""

    fingerprint: str
    student: str
    method: str  # as the paper names it; `Teacher` for the teacher
    arm: str  # what runs have in common that differ in their seeds alone
    seed: int | None
    score: float | None  # percent, by the task's metric on validation rows
    folder: Path | None
    evaluation: tuple[StageRecord, Path] | None

    @property
    def title(self) -> str:
        """What it is called, without its seed."""
        return f"{self.student}, {self.method}" if self.method != "Teacher" else f"teacher: {self.student}"

    @property
    def look(self) -> str:
        """How charts show it: one of `students.LOOKS`, else a class of the style sheet."""
        return "teacher" if self.method == "Teacher" else _TITLES.get(self.method, "other")

    @property
    def mark(self) -> str:
        """The mark that charts show it by."""
        return LOOKS[self.look].mark if self.look in LOOKS else "o"

    @cached_property
    def rows(self) -> EvaluatedRows | None:
        """What it predicted; None without an evaluation."""
        return None if self.evaluation is None else EvaluatedRows.read(self.evaluation[1])


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known of a task's classifiers."""

    task: str
    metric: str
    stages: Stages
    students: Sequence[Model]
    teacher: Model | None

    @property
    def arms(self) -> dict[str, list[Model]]:
        """The students of each arm, one a seed."""
        found: dict[str, list[Model]] = {}
        for model in self.students:
            found.setdefault(model.arm, []).append(model)
        return found

    @property
    def evaluation(self) -> StageRecord | None:
        """The record of one evaluation, for what all of them share."""
        models = [*self.students, *([self.teacher] if self.teacher else [])]
        return next((model.evaluation[0] for model in models if model.evaluation), None)


def read_facts(runs: Sequence[Path], task: str | None = None) -> Facts:
    """Reads the finished stages of folders.

    Args:
        runs: Folders of all stages.
        task: The task to report, where there are several.

    Raises:
        SettingsError: There are classifiers of several tasks, and none is chosen.
        StoreError: A folder is missing, or there is no classifier of the task.
    """
    for run in runs:
        if not run.is_dir():
            raise StoreError(f"expected a folder of runs, and there is no folder {run}; check the path")
    stages = Stages.read(*runs)
    tuned = stages.of_kind(*TUNED)
    tasks = sorted({record.settings["task"]["name"] for record in tuned})
    if not tasks or task not in (None, *tasks):
        where = ", ".join(map(str, runs))
        raise StoreError(
            f"expected finished classifiers{f' of {task}' if task else ''} in {where}, found "
            f"{', '.join(tasks) or 'none'}; wellread pd makes them"
        )
    if task is None and len(tasks) > 1:
        raise SettingsError(f"expected one task, got {', '.join(tasks)}; choose one with `task`")
    chosen = task or tasks[0]
    tuned = [record for record in tuned if record.settings["task"]["name"] == chosen]
    taught = [stages.distillation(record) for record in tuned]
    labels = [stages.records.get(step.settings["labels"]) for step in taught if step is not None]
    first = next((found for found in labels if found is not None and "teacher" in found.settings), None)
    evaluations = {record.settings["model"]: record for record in stages.of_kind("evaluate")}
    metric = tuned[0].outcome["metric"]

    def model(fingerprint: str, trained: StageRecord | None, **facts: Any) -> Model:
        evaluated = evaluations.get(fingerprint)
        scores = evaluated.outcome["scores"] if evaluated else facts.pop("scores", {})
        facts.pop("scores", None)
        return Model(
            fingerprint=fingerprint,
            score=100 * scores[metric] if metric in scores else None,
            folder=stages.folders[trained.digest] if trained else None,
            evaluation=(evaluated, stages.folders[evaluated.digest]) if evaluated else None,
            **facts,
        )

    teacher = None
    if first is not None:
        name = first.settings["teacher"]
        ours, evaluated = stages.producer(name), evaluations.get(name)
        called = _size(ours, stages) if ours else evaluated.name if evaluated else _named(name)
        scores = first.outcome.get("teacher_validation", {})
        teacher = model(name, ours, student=called, method="Teacher", arm="Teacher", seed=None, scores=scores)
    students = [
        model(
            f"stage:{record.digest}:.",
            record,
            student=_size(record, stages),
            method=stages.method(record),
            arm=stages.recipe(record),
            seed=record.settings["tuning"]["seed"],
            scores=record.outcome["validation"],
        )
        for record in tuned
        if teacher is None or f"stage:{record.digest}:." != teacher.fingerprint
    ]
    order = list(_TITLES)
    students.sort(
        key=lambda each: (
            tuple(map(int, re.findall(r"\d+", each.student)))[::-1],
            order.index(each.method) if each.method in order else len(order),
            each.seed,
        )
    )
    return Facts(task=chosen, metric=metric, stages=stages, students=students, teacher=teacher)


def _size(record: StageRecord, stages: Stages) -> str:
    config = json_object(stages.folders[record.digest] / "config.json")
    layers, hidden = config.get("num_hidden_layers"), config.get("hidden_size")
    return f"bert-{layers}-{hidden}" if layers and hidden else record.name


def _named(fingerprint: str) -> str:
    """Names a teacher from elsewhere: its Hub id, or that it was a folder."""
    return (
        fingerprint.removeprefix("hub:").partition("@")[0] if fingerprint.startswith("hub:") else "a folder"
    )


def losses(
    facts: Facts, kinds: Sequence[str], most: int = 150
) -> list[tuple[StageRecord, list[tuple[float, float]]]]:
    """Returns steps and losses of training stages, at most so many of each; without a log there are none."""
    found = []
    for record in facts.stages.of_kind(*kinds):
        path = facts.stages.folders[record.digest] / "log.json"
        try:
            entries = json.loads(path.read_text())
            logged = [(float(entry["step"]), float(entry["loss"])) for entry in entries if "loss" in entry]
        except (OSError, ValueError, TypeError, KeyError):
            # Folders that were cleaned up have no log, and one damaged log must not take the page along.
            continue
        if len(logged) > 1:
            found.append((record, logged[:: max(1, -(-len(logged) // most))]))
    return found


def class_names(facts: Facts) -> list[str]:
    """Returns the names of the task's classes; none of a regression."""
    return list(map(str, facts.evaluation.outcome["labels"] or ())) if facts.evaluation else []


def chances(rows: EvaluatedRows) -> Array:
    """Returns the probabilities of each class [n, classes]; of a regression the values."""
    if rows.logits.shape[1] == 1 and rows.labels.ndim == 1:
        return rows.logits
    return probabilities(rows.logits, multi_label=rows.labels.ndim == 2)


def right(rows: EvaluatedRows) -> Array:
    """Returns which rows are predicted rightly [n]; of independent classes, those with every class right."""
    if rows.labels.ndim == 2:
        return np.asarray(((rows.logits > 0) == (rows.labels == 1)).all(axis=1))
    return np.asarray(rows.logits.argmax(axis=1) == rows.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A row that a student and its teacher see differently."""

    text: str
    label: str
    student: str
    teacher: str
    distance: float  # half the L1 distance of their probabilities, 0 to 1; of a regression that of the values
    kind: str


def disagreements(student: EvaluatedRows, teacher: EvaluatedRows, names: Sequence[str]) -> list[Disagreement]:
    """Returns the rows on which the two differ most, the most different first; none of other rows."""
    if student.texts != teacher.texts or student.logits.shape != teacher.logits.shape:
        return []
    ours, theirs = chances(student), chances(teacher)
    distance = np.abs(ours - theirs).sum(axis=1) / (2 if student.labels.ndim == 1 and names else 1)
    kept = (right(student), right(teacher)) if names else None
    kinds = {(True, True): "both right", (False, True): "student wrong",
             (True, False): "teacher wrong", (False, False): "both wrong"}  # fmt: skip
    return [
        Disagreement(
            text=_shortened(" ⟂ ".join(student.texts[row])),
            label=_answer(student.labels[row], names),
            student=_said(ours[row], names, student.labels.ndim == 2),
            teacher=_said(theirs[row], names, student.labels.ndim == 2),
            distance=float(distance[row]),
            kind=kinds[bool(kept[0][row]), bool(kept[1][row])] if kept else "",
        )
        for row in np.argsort(-distance, kind="stable")[:_ROWS]
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"


def _answer(label: Any, names: Sequence[str]) -> str:
    if np.ndim(label):
        return ", ".join(name for name, on in zip(names, label, strict=True) if on) or "none"
    return names[int(label)] if names else f"{float(label):.2f}"


def _said(given: Array, names: Sequence[str], several: bool) -> str:
    if not names:
        return f"{float(given[0]):.2f}"
    if several:
        return _answer(given > 0.5, names)
    return f"{names[int(given.argmax())]} {100 * float(given.max()):.1f} %"


def confusion(rows: EvaluatedRows, classes: int) -> Array:
    """Counts rows [label, prediction]."""
    found = np.zeros((classes, classes), int)
    np.add.at(found, (rows.labels, rows.logits.argmax(axis=1)), 1)
    return found


def by_length(rows: EvaluatedRows, edges: Sequence[int]) -> list[tuple[int, float, float]]:
    """Returns of each range of tokens its rows, the share that is right in percent, its standard error."""
    number = np.searchsorted(edges, rows.tokens, side="left")
    found = []
    for each in range(len(edges)):
        hits = right(rows)[number == each]
        share = float(hits.mean()) if len(hits) else 0.0
        error = (share * (1 - share) / len(hits)) ** 0.5 if len(hits) else 0.0
        found.append((len(hits), 100 * share, 100 * error))
    return found


def length_edges(rows: EvaluatedRows, ranges: int = 5) -> list[int]:
    """Returns the longest lengths of ranges that have about equally many rows."""
    shares = np.linspace(0, 1, ranges + 1)[1:]
    return sorted({int(edge) for edge in np.quantile(rows.tokens, shares, method="higher")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An arm's model in one format: how good it is, and what it costs."""

    model: Model
    format: str
    scores: Sequence[float]  # percent, one a seed
    ms: float | None
    mb: float | None
    peak_mb: float | None = None
    start_s: float | None = None


_FILES = {"onnx-fp32": "model.onnx", "onnx-int8": "model_quantized.onnx"}


def candidates(facts: Facts) -> list[Candidate]:
    """Joins evaluations, exports and measurements by the model's fingerprint."""
    exported: dict[str, Mapping[str, Any]] = {
        record.outcome["model"]["fingerprint"]: record.outcome["files"]
        for record in facts.stages.of_kind("export")
    }
    measured = {
        (each["fingerprint"], each["format"]): each
        for record in facts.stages.of_kind("measure")
        for each in record.outcome["candidates"]
    }
    found = []
    for models in [*facts.arms.values(), *([[facts.teacher]] if facts.teacher else [])]:
        for form in ("torch", "onnx-fp32", "onnx-int8"):
            files = [exported.get(model.fingerprint, {}).get(_FILES.get(form, ""), {}) for model in models]
            costs = [measured.get((model.fingerprint, form), {}) for model in models]
            if form == "torch":
                scores = [model.score for model in models]
            else:
                scores = [100 * file["scores"][facts.metric] if "sha256" in file else None for file in files]
            known = [score for score in scores if score is not None]
            if not known:
                continue
            cost: Mapping[str, Any] = next((each for each in costs if each), {})
            own = models[0].folder / "model.safetensors" if models[0].folder else Path("-")
            size = own.stat().st_size if form == "torch" and own.is_file() else files[0].get("bytes")
            size = cost.get("bytes", size)
            found.append(
                Candidate(
                    model=models[0],
                    format=form,
                    scores=known,
                    ms=_milliseconds(cost.get("latency", ())),
                    mb=size / 1e6 if size else None,
                    peak_mb=cost.get("peak_mb"),
                    start_s=cost.get("start_s"),
                )
            )
    return found


def _milliseconds(latency: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns the median of one row on one thread: the user's own rows, else 64 tokens."""
    one = {each["length"]: each["p50_ms"] for each in latency if each["threads"] == each["batch"] == 1}
    return one.get("rows", one.get(64))
