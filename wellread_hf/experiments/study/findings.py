"""The numbers of a finished study: every seed's score, the findings' verdicts, versions of the code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
    verdict,
)
from wellread_hf.experiments.study.study_settings import StudySettings
from wellread_hf.metrics.jackknife import row_error, scored
from wellread_hf.store.stage import Stage, in_order

# As they go into `results.json`.
Numbers = dict[str, Any]
# These are pre-trained after it, too.
_READ_ON: tuple[Weights, ...] = ("distilled MLM",)


def tested(planned: PlannedStudy, by_folder: Mapping[str, Array]) -> list[Numbers]:
    """Tests a study's findings on its models' scores [1 + groups] by folder, as `scored` gives them."""
    found = []
    for finding in planned.study.findings:
        apart = differences(finding, planned, by_folder)
        found.append(difference(apart[:, 0], row_error(apart[:, 1:].mean(axis=0)), finding.claim))
    return decided(planned.study, planned.settings, found)


def decided(study: Study, settings: StudySettings, found: Sequence[Difference]) -> list[Numbers]:
    """Decides on a study's findings, all of them together, as far as its seeds and pre-trainings allow it.

    Args:
        study: Its findings.
        settings: Seeds and pre-trainings.
        found: The difference of each finding.

    Returns:
        The findings as they are written down: the paper's, ours, the p-value corrected over all of them, the
        verdict, and a note: why it cannot be decided, or what it is limited to.
    """
    lacking = [lacking_for(finding, study, settings) for finding in study.findings]
    # What cannot be decided takes no part in the correction.
    found = [replace(each, p=None) if why else each for each, why in zip(found, lacking, strict=True)]
    decisions = []
    corrected = holm([each.p for each in found])
    for finding, each, p, why in zip(study.findings, found, corrected, lacking, strict=True):
        outcome = verdict(each, p, finding.claim)
        decisions.append(
            {
                "finding": finding.text,
                "paper": finding.paper,
                "ours": finding.ours,
                "claim": finding.claim,
                "more": list(finding.more),
                "less": list(finding.less),
                "verdict": outcome,
                "note": why or _note(outcome, each, _given(finding, study, settings)),
                **asdict(each),
                "p_holm": p,
            }
        )
    return decisions


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
    """States what a study lacks to decide on a finding, whatever its scores; empty: nothing."""
    reasons = []
    if len(settings.seeds) < FEWEST_SEEDS:
        reasons.append(f"{len(settings.seeds)} seeds, and a spread over seeds takes {FEWEST_SEEDS}")
    if _given(finding, study, settings) and _starts(finding.more, study) != _starts(finding.less, study):
        reasons.append("one pre-training for all seeds, and pre-training is part of what differs")
    return "; ".join(reasons)


def _note(outcome: Verdict, found: Difference, given: bool) -> str:
    if found.p is None:
        return "all seeds differ alike, so there is no spread"
    if outcome == "not decidable":
        return "the interval leaves it open"
    return "for the one pre-training given" if given else ""


def _starts(arms: Sequence[str], study: Study) -> Counter[tuple[Weights, str | None]]:
    """Counts where the arms of one side start."""
    return Counter((arm.weights, arm.student) for arm in map(study.arm, arms))


def _given(finding: Finding, study: Study, settings: StudySettings) -> bool:
    """Returns whether an arm of a finding starts for all seeds from one model that was given."""
    weights = {study.arm(name).weights for name in (*finding.more, *finding.less)}
    return any(getattr(settings, GIVEN_BY[each]) is not None for each in weights if each in GIVEN_BY)


def code_versions(planned: PlannedStudy) -> list[tuple[str, int]]:
    """Counts the stages behind a study by the versions of code that made them, the most frequent first."""
    made = Counter(_version(stage) for stage in in_order(planned.stages))
    return made.most_common()


def _version(stage: Stage) -> str:
    versions = dict(stage.record.versions)
    commit = versions.pop("commit", None)
    ours = f"wellread_hf {versions.pop('wellread_hf', 'unknown')}{f' ({commit})' if commit else ''}"
    return ", ".join([ours, *(f"{name} {version}" for name, version in sorted(versions.items()))])


def results(planned: PlannedStudy, predictions: Predictions) -> Numbers:
    """Gathers all numbers of a finished study, as they go into its `results.json`."""
    metric, split = planned.runs[0].stage.record.outcome["metric"], split_of(planned)
    by_folder = {
        name: scored(predicted, predictions.labels, metric) for name, predicted in predictions.models.items()
    }
    return {
        "study": planned.name,
        "title": planned.study.title,
        "task": planned.settings.task.name,
        "metric": metric,
        "split": split,
        "rows": len(predictions.labels),
        "seeds": list(planned.settings.seeds),
        "budget": _budget(planned),
        "remarks": list(planned.study.remarks),
        "pre-training": _pretraining(planned),
        "teacher": _teacher(planned, metric, split),
        "teacher_given": planned.teacher is None,
        "rank_correlations": {
            domain: stage.record.outcome["rank_correlation"] for domain, stage in planned.similarities.items()
        },
        "scores": [_score(run, by_folder) for run in planned.runs],
        "findings": tested(planned, by_folder),
        "code_versions": code_versions(planned),
    }


def _score(run: PlannedRun, by_folder: Mapping[str, Array]) -> Numbers:
    """Returns a run's score in percent, and what the run used of the budget."""
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
    folder = run.stage.folder.name
    return {
        "arm": run.arm.name,
        "student": run.student.name,
        "seed": run.seed,
        "score": float(by_folder[folder][0]),
        "budget": dict(used),
        # Of all its steps, pre-training included.
        "seconds": sum(step.record.outcome.get("seconds_training", 0.0) for step in run.steps),
        "folder": folder,
    }


def _budget(planned: PlannedStudy) -> dict[str, int | None]:
    """Returns what each arm may use; where labels are seen as often as soft labels, it says so."""
    budget = asdict(planned.settings.budget)
    learning = [arm for arm in planned.study.arms if "labels" in arm.lessons]
    if learning and all(arm.even for arm in learning):
        budget["labels_seen"] = budget["soft_labels_seen"]
    return budget


def _pretraining(planned: PlannedStudy) -> str:
    """States which students came pre-trained."""
    arms = [arm.weights for arm in planned.study.arms if arm.weights != "random"]
    named = dict.fromkeys(GIVEN_BY[arm] for arm in arms if arm in GIVEN_BY)
    models = [f"`{name}`" for name in named if getattr(planned.settings, name) is not None]
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
        # Labels of before the metric was chosen have the usual ones.
        score = passes[0].record.outcome.get("teacher_validation", {}).get(metric)
        return None if score is None else 100 * float(score)
    return None
