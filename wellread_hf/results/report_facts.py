"""What a report shows of one task: trainings, candidates, and stored predictions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.errors import SettingsError, StoreError, listed
from wellread_hf.metrics.scores import metric_at
from wellread_hf.results.candidates import Candidate, Offer, read_offer
from wellread_hf.results.lineage import TUNED, Stages
from wellread_hf.results.picking import choose
from wellread_hf.settings import Picking
from wellread_hf.store.records import StageRecord, json_object
from wellread_hf.students import LOOKS

Array = npt.NDArray[Any]
_LOOKS = {look.title: name for name, look in LOOKS.items()}
# Points of all lines of losses, so that the page stays within a megabyte.
_POINTS = 15_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A student that was trained, whether it was evaluated or not."""

    record: StageRecord
    size: str
    method: str  # as the paper names it
    arm: str  # what runs have in common that differ in their seeds alone
    score: float  # percent on validation rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A model whose predictions are looked at: the pick or the best student, or the teacher."""

    title: str
    look: str
    outcome: dict[str, Any]  # of its evaluation
    rows: EvaluatedRows  # of a classifier of words, its words


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known of a task's classifiers.

    Attributes:
        task: Its name.
        metric: What counts.
        picking: What is asked for, and the length and threads of the milliseconds.
        stages: All that are there.
        trained: Finished trainings of students, smallest first.
        offer: What was evaluated, exported and measured; None where nothing was.
        best: The pick, else the candidate with the best score.
        picked: Whether it is a pick.
        teacher: The teacher's score in percent; None: not known.
        is_imported: Whether all soft labels were imported, so that there is no teacher.
    """

    task: str
    metric: str
    picking: Picking
    stages: Stages
    trained: Sequence[Trained]
    offer: Offer | None
    best: Candidate | None
    picked: bool
    teacher: float | None
    is_imported: bool = False

    @property
    def taught_by(self) -> str:
        """What students learnt from."""
        return "imported soft labels" if self.is_imported else "teacher"

    @property
    def arms(self) -> list[list[Trained]]:
        """The trainings of each arm, one a seed."""
        found: dict[str, list[Trained]] = {}
        for each in self.trained:
            found.setdefault(each.arm, []).append(each)
        return list(found.values())

    @property
    def candidates(self) -> list[Candidate]:
        """Students in each format, then the teacher."""
        return [*self.offer.students, *self.offer.teachers] if self.offer else []

    @property
    def shown(self) -> list[Shown]:
        """The best student and the teacher, as far as they were evaluated."""
        teachers = self.offer.teachers[:1] if self.offer else []
        return [self._shown(each) for each in ([self.best] if self.best else []) + list(teachers)]

    def _shown(self, of: Candidate) -> Shown:
        outcome = StageRecord.read(of.best.evaluation).outcome
        title = name_of(of)
        rows = EvaluatedRows.read(of.best.evaluation).each_word
        return Shown(title=title, look=look_of(of.method), outcome=dict(outcome), rows=rows)


def look_of(method: str) -> str:
    """Returns how charts show a method: one of `students.LOOKS`, else a class of the style sheet."""
    return _LOOKS.get(method, "teacher" if method == "teacher" else "other")


def mark_of(look: str) -> str:
    """Returns the mark of a look."""
    return LOOKS[look].mark if look in LOOKS else "o"


def name_of(of: Candidate) -> str:
    """Names a candidate whatever its format."""
    return f"teacher {of.name}" if of.method == "teacher" else f"{of.name}, {of.method}"


def read_facts(runs: Sequence[Path], picking: Picking) -> Facts:
    """Reads the finished stages of folders.

    Args:
        runs: Folders of all stages.
        picking: Which task, and what is asked for; nothing: what `wellread pick` or `ship` picked there.

    Raises:
        NothingFitsError: Nothing fits what is asked for.
        SettingsError: There are several tasks, and none is chosen.
        StoreError: A folder is missing, or there is no classifier of the task.
    """
    stages = Stages.read(*runs)
    tuned = _of_one_task(stages, runs, picking.task)
    task = tuned[0].settings["task"]["name"]
    # A folder of runs may hold labels of other tasks, too.
    labels = [record for record in stages.of_kind("label") if record.name == task]
    teachers = {str(record.settings.get("teacher")) for record in labels}
    offer = read_offer(stages, picking) if stages.of_kind("evaluate") else None
    metric = _common_metric(stages.by_age(tuned), offer)
    best, picked = _best(stages, offer, picking)
    known = [
        record.outcome["teacher_validation"][metric]
        for record in labels
        if metric in record.outcome.get("teacher_validation", ())
    ]
    teacher = 100 * max(known) if known else None
    if offer is not None and offer.teachers:
        teacher = offer.teachers[0].score.mean
    trained = [
        Trained(
            record=record,
            size=_size(record, stages),
            method=stages.method(record),
            arm=stages.arm(of),
            score=100 * record.outcome["validation"][metric],
        )
        for record in tuned
        if (of := record.fingerprint) not in teachers and metric in record.outcome["validation"]
    ]
    order = list(_LOOKS)
    trained.sort(
        key=lambda each: (
            [int(part) for part in each.size.split("-") if part.isdigit()][::-1],
            order.index(each.method) if each.method in order else len(order),
            each.record.settings["tuning"]["seed"],
        )
    )
    return Facts(
        task=task,
        metric=metric,
        picking=picking,
        stages=stages,
        trained=trained,
        offer=offer,
        best=best,
        picked=picked,
        teacher=teacher,
        is_imported=bool(labels) and all("imported" in record.settings for record in labels),
    )


def _common_metric(tuned: Sequence[StageRecord], offer: Offer | None) -> str:
    """Returns what models are compared by: the evaluations' metric, else that of the last training.

    Trainings of one task may have been chosen by several.

    Raises:
        SettingsError: No training has the score that the evaluations have.
    """
    if offer is None:
        return str(tuned[-1].outcome["metric"])
    if not any(offer.metric in record.outcome["validation"] for record in tuned):
        found = list(dict.fromkeys(metric_at(record.outcome["metric"]) for record in tuned))
        raise SettingsError(
            f"expected trainings with {metric_at(offer.metric)}, which models were evaluated by, got "
            f"{listed(found)}; run wellread eval with the `task.metric` of the trainings"
        )
    return offer.metric


def _of_one_task(stages: Stages, runs: Sequence[Path], task: str | None) -> list[StageRecord]:
    tuned = stages.of_kind(*TUNED)
    found = [record for record in tuned if task in (None, record.settings["task"]["name"])]
    tasks = sorted({record.settings["task"]["name"] for record in found})
    if not found:
        raise StoreError(
            f"expected finished classifiers{f' of {task}' if task else ''} in {', '.join(map(str, runs))}, "
            "found none; wellread pd makes them"
        )
    if len(tasks) > 1:
        raise SettingsError(f"expected one task, got {', '.join(tasks)}; choose one by `task`")
    return found


def _best(stages: Stages, offer: Offer | None, picking: Picking) -> tuple[Candidate | None, bool]:
    """Returns the pick: by what is asked for, else the last one that was made here, else the best score."""
    if offer is None or not offer.students:
        return None, False
    if picking.asked:
        return choose(offer, picking).picked, True
    picks = {(record.outcome["fingerprint"], record.outcome["format"]) for record in stages.of_kind("pick")}
    made = [
        each
        for each in offer.students
        if any((member.fingerprint, each.format) in picks for member in each.members)
    ]
    return (made[0], True) if made else (max(offer.students, key=lambda each: each.score.mean), False)


def _size(record: StageRecord, stages: Stages) -> str:
    config = json_object(stages.folders[record.digest] / "config.json")
    layers, hidden = config.get("num_hidden_layers"), config.get("hidden_size")
    return f"bert-{layers}-{hidden}" if layers and hidden else record.name


def losses(facts: Facts, kinds: Sequence[str]) -> list[tuple[StageRecord, list[tuple[float, float]]]]:
    """Returns steps and losses of training stages, thinned out; a stage without a log has none."""
    records = facts.stages.of_kind(*kinds)
    # A sweep has hundreds.
    most = min(150, max(10, _POINTS // max(1, len(records))))
    found = []
    for record in records:
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
