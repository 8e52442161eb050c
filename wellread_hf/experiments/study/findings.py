"""The numbers of a finished study: every seed's score, the findings' verdicts, versions of the code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from wellread_hf.experiments.study.arms import Finding, Study, Weights
from wellread_hf.experiments.study.planning import PlannedRun, PlannedStudy
from wellread_hf.experiments.study.predicting import Predictions, split_of
from wellread_hf.experiments.study.starts import GIVEN_BY
from wellread_hf.experiments.study.statistics import (
    FEWEST_SEEDS,
    Array,
    Difference,
    Verdict,
    difference,
    holm,
    row_error,
    scored,
    verdict,
)
from wellread_hf.experiments.study.study_settings import StudySettings
from wellread_hf.store.graph import Stage, in_order

# These are pre-trained after it, too.
_READ_ON: tuple[Weights, ...] = ("distilled MLM",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One run's score in percent.

    Attributes:
        arm: The arm's name.
        student: One of the 24.
        seed: Its seed.
        score: The task's first metric, in percent.
        budget: What the run used: `MLM steps`, `MLM tokens`, `labels seen`, `soft labels seen`.
        seconds: Training seconds of all its steps, pre-training included.
        folder: Name of the folder of the model.
    """

    arm: str
    student: str
    seed: int
    score: float
    budget: Mapping[str, int]
    seconds: float
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A finding of the paper beside ours.

    Attributes:
        finding: The paper's.
        difference: Ours.
        corrected: Its p-value, corrected over the findings of the study.
        verdict: What follows.
        note: Why it cannot be decided, or what it is limited to; else empty.
    """

    finding: Finding
    difference: Difference
    corrected: float | None
    verdict: Verdict
    note: str


def scores_of(planned: PlannedStudy, by_folder: Mapping[str, Array]) -> list[Score]:
    """Lists the scores of a study's finished runs."""
    return [
        Score(
            arm=run.arm.name,
            student=run.student.name,
            seed=run.seed,
            score=float(by_folder[run.stage.folder.name][0]),
            budget=_used(run),
            seconds=sum(step.record.outcome.get("seconds_training", 0.0) for step in run.steps),
            folder=run.stage.folder.name,
        )
        for run in planned.runs
    ]


def _used(run: PlannedRun) -> dict[str, int]:
    used: Counter[str] = Counter()
    seen = {"finetune": "labels seen", "distill": "soft labels seen"}
    for step in run.steps:
        outcome = step.record.outcome
        if step.kind == "pretrain":
            used["MLM steps"] += outcome["steps"]
            used["MLM tokens"] += outcome["tokens"]
        elif step.kind in seen:
            batch = step.record.settings["tuning"]["optim"]["batch_size"]
            used[seen[step.kind]] += outcome["steps"] * batch
    return dict(used)


def tested(planned: PlannedStudy, settings: StudySettings, by_folder: Mapping[str, Array]) -> list[Tested]:
    """Tests a study's findings on its models' scores [1 + groups] by folder, as `scored` gives them."""
    found = []
    for finding in planned.study.findings:
        apart = differences(finding, planned, by_folder)
        found.append(difference(apart[:, 0], row_error(apart[:, 1:].mean(axis=0)), finding.claim))
    return decided(planned.study, settings, found)


def decided(study: Study, settings: StudySettings, found: Sequence[Difference]) -> list[Tested]:
    """Decides on a study's findings, all of them together, as far as its seeds and pre-trainings allow it."""
    lacking = [lacking_for(finding, study, settings) for finding in study.findings]
    found = [replace(each, p=None) if why else each for each, why in zip(found, lacking, strict=True)]
    every = zip(study.findings, found, holm([each.p for each in found]), lacking, strict=True)
    return [
        Tested(
            finding=finding,
            difference=each,
            corrected=p,
            verdict=(said := verdict(each, p, finding.claim)),
            note=why or _note(said, each, _given(finding, study, settings)),
        )
        for finding, each, p, why in every
    ]


def differences(finding: Finding, planned: PlannedStudy, by_folder: Mapping[str, Array]) -> Array:
    """Returns a finding's differences [seeds, 1 + groups], means over the study's students.

    A seed is one draw, whatever the number of students: rows, teacher and order are one for all of them.
    """
    sides = [(finding.more, 1.0), (finding.less, -1.0)]
    sums: dict[int, Array] = {}
    for arm, sign in ((arm, sign) for arms, sign in sides for arm in arms):
        runs = [run for run in planned.runs if run.arm.name == arm]
        students = len({run.student for run in runs})
        for run in runs:
            part = sign * by_folder[run.stage.folder.name] / students
            sums[run.seed] = sums.get(run.seed, 0.0) + part
    return np.stack(list(sums.values()))


def lacking_for(finding: Finding, study: Study, settings: StudySettings) -> str:
    """Says what a study lacks to decide on a finding, whatever its scores; empty: nothing."""
    reasons = []
    if len(settings.seeds) < FEWEST_SEEDS:
        reasons.append(f"{len(settings.seeds)} seeds, and a spread over seeds takes {FEWEST_SEEDS}")
    if _given(finding, study, settings) and _starts(finding.more, study) != _starts(finding.less, study):
        reasons.append("one pre-training for all seeds, and pre-training is part of what differs")
    return "; ".join(reasons)


def _note(said: Verdict, found: Difference, given: bool) -> str:
    if found.p is None:
        return "all seeds differ alike, which tells no spread"
    if said == "not decidable":
        return "the interval leaves it open"
    return "for the one pre-training given" if given else ""


def _starts(arms: Sequence[str], study: Study) -> Counter[tuple[Weights, str | None]]:
    """Counts where the arms of one side start."""
    return Counter((arm.weights, arm.student) for arm in map(study.arm, arms))


def _given(finding: Finding, study: Study, settings: StudySettings) -> bool:
    """Tells whether an arm of a finding starts for all seeds from one model that was given."""
    given = _options(settings)
    weights = {study.arm(name).weights for name in (*finding.more, *finding.less)}
    return any(given[GIVEN_BY[each]] is not None for each in weights if each in GIVEN_BY)


def _options(settings: StudySettings) -> dict[str, str | None]:
    return {"weights": settings.weights, "deep": settings.deep, "mlm_plus": settings.mlm_plus}


def code_versions(planned: PlannedStudy) -> list[tuple[str, int]]:
    """Counts the stages behind a study by the versions of code that made them, the most frequent first."""
    made = Counter(_version(stage) for stage in in_order(planned.stages))
    return made.most_common()


def _version(stage: Stage) -> str:
    versions = dict(stage.record.versions)
    commit = versions.pop("commit", None)
    ours = f"wellread_hf {versions.pop('wellread_hf', 'unknown')}{f' ({commit})' if commit else ''}"
    return ", ".join([ours, *(f"{name} {version}" for name, version in sorted(versions.items()))])


def results(planned: PlannedStudy, settings: StudySettings, predictions: Predictions) -> dict[str, Any]:
    """Gathers all numbers of a finished study, as they go into its `results.json`."""
    metric, split = planned.runs[0].stage.record.outcome["metric"], split_of(planned)
    by_folder = {
        name: scored(predicted, predictions.labels, metric) for name, predicted in predictions.models.items()
    }
    return {
        "study": planned.name,
        "title": planned.study.title,
        "task": settings.task.name,
        "metric": metric,
        "split": split,
        "rows": len(predictions.labels),
        "seeds": list(settings.seeds),
        "budget": _budget(planned, settings),
        "remarks": list(planned.study.remarks),
        "pre-training": _pretraining(planned, settings),
        "teacher": _teacher(planned, metric, split),
        "teacher_given": planned.teacher is None,
        "rank_correlations": {
            domain: stage.record.outcome["rank_correlation"] for domain, stage in planned.similarities.items()
        },
        "scores": [asdict(score) for score in scores_of(planned, by_folder)],
        "findings": [numbers(each) for each in tested(planned, settings, by_folder)],
        "code_versions": code_versions(planned),
    }


def _budget(planned: PlannedStudy, settings: StudySettings) -> dict[str, int | None]:
    """Returns what each arm may use; where labels are seen as often as soft labels, it says so."""
    budget = asdict(settings.budget)
    learning = [arm for arm in planned.study.arms if "labels" in arm.lessons]
    if learning and all(arm.even for arm in learning):
        budget["labels_seen"] = budget["soft_labels_seen"]
    return budget


def _pretraining(planned: PlannedStudy, settings: StudySettings) -> str:
    """Says which students came pre-trained."""
    given = _options(settings)
    arms = [arm.weights for arm in planned.study.arms if arm.weights != "random"]
    named = dict.fromkeys(GIVEN_BY[arm] for arm in arms if arm in GIVEN_BY)
    models = [f"`{name}`" for name in named if given[name] is not None]
    if not models:
        return "one a seed"
    made = len(models) < len(named) or any(arm not in GIVEN_BY or arm in _READ_ON for arm in arms)
    return (
        f"one for all seeds, in students given by {', '.join(models)}; what these have read is not counted"
        + ("; what is read on top of it, or without it, is one a seed" if made else "")
    )


def _teacher(planned: PlannedStudy, metric: str, split: str) -> float | None:
    """Returns the teacher's score in percent; one that was given is scored on validation rows alone."""
    if planned.teacher is not None:
        return 100 * float(planned.teacher.record.outcome[split][metric])
    passes = [stage for stage in in_order(planned.stages) if stage.kind == "label"]
    if split == "validation" and passes:
        return 100 * float(passes[0].record.outcome["teacher_validation"][metric])
    return None


def numbers(each: Tested) -> dict[str, Any]:
    """Writes a finding down."""
    return {
        "finding": each.finding.text,
        "paper": each.finding.paper,
        "ours": each.finding.ours,
        "claim": each.finding.claim,
        "more": list(each.finding.more),
        "less": list(each.finding.less),
        "verdict": each.verdict,
        "note": each.note,
        **asdict(each.difference),
        "p_holm": each.corrected,
    }
