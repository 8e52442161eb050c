"""What finished runs offer: each arm in each format, with its score, its milliseconds and its megabytes.

Records of evaluations, exports and measurements are joined by the model's fingerprint. An arm is one way to
make a student; its runs differ in seeds alone.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import SettingsError, StoreError, listed
from wellread_hf.metrics.jackknife import Interval, interval
from wellread_hf.results.lineage import TUNED, Stages
from wellread_hf.serving.export_facts import ExportFacts
from wellread_hf.settings import Picking
from wellread_hf.settings.measure import Format
from wellread_hf.stages.timed import EXPORTED, GRAPHS
from wellread_hf.store.records import StageRecord, canonical_json

Array = npt.NDArray[Any]

TORCH: Format = "torch"
EVIDENCE = ("evaluate", "export", "measure")


@dataclass(frozen=True, slots=True)
class Member:
    """One model of an arm: that of a seed.

    Attributes:
        fingerprint: The model's.
        folder: Where it lies; None of a model from elsewhere.
        seed: Of its last training.
        scored: Its scores in percent in this format, on all rows and without each group [1 + groups].
        evaluation: The folder with its predictions.
        export: The folder of its export; None where there is none in this format.
        operations: Of a text of median length, additions and multiplications; None: not counted.
    """

    fingerprint: str
    folder: Path | None
    seed: int | None
    scored: Array
    evaluation: Path
    export: Path | None
    operations: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """An arm in one format.

    Attributes:
        name: What a person calls the student, e.g. `bert-2-128-sst2`.
        method: As the paper names it, e.g. `PD`.
        arm: What its runs have in common.
        format: `torch` or one of `EXPORTED`.
        members: Its models, one a seed.
        ms: Milliseconds from a text to its label, the median over the members measured; None: not measured.
        mb: Megabytes of its largest file; None: not known.
        teacher: The teacher, scored on the same rows; None: not known, or it is the teacher itself.
    """

    name: str
    method: str
    arm: str
    format: str
    members: tuple[Member, ...]
    ms: float | None
    mb: float | None
    teacher: Member | None = None

    @property
    def title(self) -> str:
        """What it is called in tables."""
        return f"{self.name}, {self.method}, {self.format}"

    @property
    def best(self) -> Member:
        """The member to use: with an export where there is one, then the best on validation rows."""
        return max(self.members, key=lambda each: (each.export is not None, each.scored[0]))

    @cached_property
    def score(self) -> Interval:
        """Its score in percent over seeds and rows."""
        found = interval(np.stack([each.scored for each in self.members]))
        # Two seeds far apart give ends that no score can have.
        return replace(found, low=max(found.low, -100.0), high=min(found.high, 100.0))

    @cached_property
    def gap(self) -> Interval | None:
        """Points above the teacher on the same rows (paired), over seeds and rows; below 0 it is worse."""
        if self.teacher is None:
            return None
        return interval(np.stack([each.scored - self.teacher.scored for each in self.members]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """All candidates of a task.

    Attributes:
        task: Its name.
        metric: What counts.
        students: The candidates.
        teachers: The teacher in each format; empty where it was not evaluated.
        machines: What milliseconds were measured on.
    """

    task: str
    metric: str
    students: Sequence[Candidate]
    teachers: Sequence[Candidate]
    machines: Sequence[str]


def read_offer(stages: Stages, picking: Picking, only: Collection[str] | None = None) -> Offer:
    """Joins the records of finished stages.

    Args:
        stages: All that are there.
        picking: Which task, and the length and threads of the milliseconds.
        only: Digests of the evaluations, exports and measurements that count; None: all.

    Raises:
        StoreError: No model was evaluated.
        SettingsError: There are several tasks, and none is chosen.
    """
    # The last of several counts, of measurements for one.
    evidence = stages.by_age(
        each for each in stages.of_kind(*EVIDENCE) if only is None or each.digest in only
    )
    evaluations = _of_one_task([record for record in evidence if record.kind == "evaluate"], picking.task)
    first = evaluations[0].outcome
    costs = _Costs(stages, evidence, picking)
    taught_by = {str(record.settings.get("teacher")) for record in stages.of_kind("label")}
    arms: dict[str, list[StageRecord]] = {}
    teachers = []
    for record in evaluations:
        of = record.settings["model"]
        if of in taught_by:
            teachers.append(record)
        else:
            arms.setdefault(stages.arm(of), []).append(record)
    # Of several teachers the best is the one to reach.
    best = max(teachers, key=lambda record: record.outcome["scores"][first["metric"]], default=None)
    top = None if best is None else costs.member(best, TORCH, 0.0)
    return Offer(
        task=first["task"],
        metric=first["metric"],
        students=[each for arm, records in arms.items() for each in costs.candidates(arm, records, top)],
        teachers=[] if best is None else list(costs.candidates("teacher", [best], None)),
        machines=costs.machines,
    )


def _of_one_task(evaluations: Sequence[StageRecord], task: str | None) -> list[StageRecord]:
    """Returns the last evaluation of each model on one task's rows."""
    wanted = [record for record in evaluations if task in (None, record.outcome["task"])]
    if not wanted:
        raise StoreError(
            f"expected evaluated models{f' of {task}' if task else ''}, found none; run `wellread eval "
            "MODELS` with the teacher and the students (`wellread export` evaluates, too)"
        )
    # Of a task that was named, the rows of the last evaluation count: its data may have changed since.
    if task is not None:
        rows = canonical_json(wanted[-1].settings["task"])
        wanted = [record for record in wanted if canonical_json(record.settings["task"]) == rows]
    # Rows decide, not names: scores on other rows cannot be compared.
    tasks = {canonical_json(record.settings["task"]): record.outcome["task"] for record in wanted}
    if len(tasks) > 1:
        raise SettingsError(
            f"expected models evaluated on one task's rows, got {listed(list(tasks.values()))}; choose one "
            "by `task`, or give a folder of runs of one data set"
        )
    return list({record.settings["model"]: record for record in wanted}.values())


class _Costs:
    """What exports and measurements say of models, by fingerprint."""

    def __init__(self, stages: Stages, evidence: Iterable[StageRecord], picking: Picking) -> None:
        self.stages = stages
        self.exports: dict[str, StageRecord] = {}
        # By fingerprint and format.
        self.measured: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.machines: list[str] = []
        self.picking = picking
        for record in evidence:
            if record.kind == "export":
                facts = ExportFacts(record.outcome)
                if facts.gives_labels and facts.fingerprint is not None:
                    self.exports[facts.fingerprint] = record
            elif record.kind == "measure":
                self.machines.append(str(record.outcome["machine"]["cpu"]))
                for each in record.outcome["candidates"]:
                    self.measured[each["fingerprint"], each["format"]] = each
        self.machines = sorted(set(self.machines))

    def candidates(
        self, arm: str, evaluations: Sequence[StageRecord], teacher: Member | None
    ) -> Iterable[Candidate]:
        """Yields an arm in each format that it has."""
        producer = self.stages.producer(evaluations[0].settings["model"])
        method = "teacher" if arm == "teacher" else self._method(producer)
        for form in (TORCH, *EXPORTED):
            changes = [self._change(record, form) for record in evaluations]
            known = [change for change in changes if change is not None]
            if not known:
                continue
            members = tuple(
                # A seed without an export changes as the exported ones do.
                self.member(record, form, fmean(known) if change is None else change)
                for record, change in zip(evaluations, changes, strict=True)
            )
            latencies = [self._ms(each.fingerprint, form) for each in members]
            sizes = [self._mb(each.fingerprint, form) for each in members]
            yield Candidate(
                name=evaluations[0].name,
                method=method,
                arm=arm,
                format=form,
                members=members,
                ms=median(found) if (found := [ms for ms in latencies if ms is not None]) else None,
                mb=max((mb for mb in sizes if mb is not None), default=None),
                teacher=teacher,
            )

    def _method(self, record: StageRecord | None) -> str:
        """Names how a student was made, and its vocabulary where that was pruned."""
        if record is None:
            return "from elsewhere"
        trained = self.stages.unpruned(record)
        if trained is None or trained.kind not in TUNED:
            return record.kind
        start = self.stages.producer(trained.settings["start"]["weights"])
        # The student was pruned before it was trained, or after.
        pruned = next((each for each in (record, start) if each is not None and each.kind == "prune"), None)
        method = self.stages.method(trained)
        return method if pruned is None else f"{method}, {pruned.outcome['vocabulary']:,} pieces"

    def member(self, evaluation: StageRecord, form: Format, change: float) -> Member:
        """Makes a member of an arm, whose score in this format is some points above torch's."""
        outcome, of = evaluation.outcome, evaluation.settings["model"]
        producer = self.stages.producer(of)
        scores = [outcome["scores"][outcome["metric"]], *outcome.get("without", ())]
        return Member(
            fingerprint=of,
            folder=None if producer is None else self.stages.folders[producer.digest],
            seed=None if producer is None else producer.settings.get("tuning", {}).get("seed"),
            scored=100 * np.array(scores) + change,
            evaluation=self.stages.folders[evaluation.digest],
            export=self.stages.folders[self.exports[of].digest] if self._graph(of, form) else None,
            operations=outcome.get("operations"),
        )

    def _change(self, evaluation: StageRecord, form: Format) -> float | None:
        """Returns the points by which a format's score is above torch's; None where there is no graph."""
        if form == TORCH:
            return 0.0
        metric, graph = evaluation.outcome["metric"], self._graph(evaluation.settings["model"], form)
        return 100 * (graph["scores"][metric] - evaluation.outcome["scores"][metric]) if graph else None

    def _graph(self, fingerprint: str, form: Format) -> Mapping[str, Any]:
        """Returns what an export says of a graph that passed its gate; empty without one."""
        if form == TORCH or fingerprint not in self.exports:
            return {}
        return ExportFacts(self.exports[fingerprint].outcome).graph(GRAPHS[form])

    def _ms(self, fingerprint: str, form: Format) -> float | None:
        wanted = (self.picking.threads, 1, self.picking.length)
        for each in self.measured.get((fingerprint, form), {}).get("latency", ()):
            if (each["threads"], each["batch"], each["length"]) == wanted:
                # None where the machine was too noisy for milliseconds.
                ms: float | None = each["p50_ms"]
                return ms
        return None

    def _mb(self, fingerprint: str, form: Format) -> float | None:
        outputs = getattr(self.stages.producer(fingerprint), "outputs", None) or {}
        weights = [outputs[name]["size"] for name in outputs if name.endswith(".safetensors")]
        stored = max(weights, default=None) if form == TORCH else self._graph(fingerprint, form).get("bytes")
        size = self.measured.get((fingerprint, form), {}).get("bytes", stored)
        return None if size is None else size / 1e6
