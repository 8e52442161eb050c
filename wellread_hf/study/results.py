"""The numbers of a finished study: every seed's score, the findings' verdicts, versions of the code."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wellread_hf.graph import Stage, in_order
from wellread_hf.study.arms import Finding, Weights
from wellread_hf.study.given import GIVEN_BY
from wellread_hf.study.planning import PlannedRun, PlannedStudy
from wellread_hf.study.settings import StudySettings
from wellread_hf.study.statistics import Difference, Verdict, difference, holm, verdict

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
    """A finding of the paper beside ours."""

    finding: Finding
    difference: Difference
    corrected: float | None
    verdict: Verdict


def scores_of(planned: PlannedStudy, metric: str, split: str) -> list[Score]:
    """Reads the scores of a study's finished runs."""
    return [
        Score(
            arm=run.arm.name,
            student=run.student.name,
            seed=run.seed,
            score=100 * run.stage.record.outcome[split][metric],
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


def tested(planned: PlannedStudy, scores: Sequence[Score]) -> list[Tested]:
    """Tests a study's findings, all of them together."""
    found = [
        difference(list(differences(finding, planned, scores)), finding.claim)
        for finding in planned.study.findings
    ]
    corrected = holm([each.p for each in found])
    return [
        Tested(finding=finding, difference=each, corrected=p, verdict=verdict(each, p, finding.claim))
        for finding, each, p in zip(planned.study.findings, found, corrected, strict=True)
    ]


def differences(finding: Finding, planned: PlannedStudy, scores: Sequence[Score]) -> Iterator[float]:
    """Yields a finding's paired differences in points, a student and seed after another.

    Where arms name students of their own, a pair has a seed in common and no student.
    """
    every = planned.study.every_student
    of = {(score.arm, score.student if every else "", score.seed): score.score for score in scores}
    for student, seed in dict.fromkeys((student, seed) for _, student, seed in of):
        more, less = (sum(of[arm, student, seed] for arm in side) for side in (finding.more, finding.less))
        yield more - less


def code_versions(planned: PlannedStudy) -> list[tuple[str, int]]:
    """Counts the stages behind a study by the versions of code that made them, the most frequent first."""
    made = Counter(_version(stage) for stage in in_order(planned.stages))
    return made.most_common()


def _version(stage: Stage) -> str:
    versions = dict(stage.record.versions)
    commit = versions.pop("commit", None)
    ours = f"wellread_hf {versions.pop('wellread_hf', 'unknown')}{f' ({commit})' if commit else ''}"
    return ", ".join([ours, *(f"{name} {version}" for name, version in sorted(versions.items()))])


def results(planned: PlannedStudy, settings: StudySettings) -> dict[str, Any]:
    """Gathers all numbers of a finished study, as they go into its `results.json`."""
    outcome = planned.runs[0].stage.record.outcome
    metric, split = outcome["metric"], "test" if "test" in outcome else "validation"
    scores = scores_of(planned, metric, split)
    return {
        "study": planned.name,
        "title": planned.study.title,
        "task": settings.task.name,
        "metric": metric,
        "split": split,
        "seeds": list(settings.seeds),
        "budget": _budget(planned, settings),
        "remarks": list(planned.study.remarks),
        "pairs": "a student and a seed each" if planned.study.every_student else "a seed each",
        "pre-training": _pretraining(planned, settings),
        "teacher": _teacher(planned, metric, split),
        "teacher_given": planned.teacher is None,
        "rank_correlations": {
            domain: stage.record.outcome["rank_correlation"] for domain, stage in planned.likenesses.items()
        },
        "scores": [asdict(score) for score in scores],
        "findings": [_numbers(each) for each in tested(planned, scores)],
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
    given = {"--weights": settings.weights, "--deep": settings.deep, "--mlm-plus": settings.mlm_plus}
    arms = [arm.weights for arm in planned.study.arms if arm.weights != "random"]
    named = dict.fromkeys(GIVEN_BY[arm] for arm in arms if arm in GIVEN_BY)
    told = [name for name in named if given[name] is not None]
    if not told:
        return "one a seed"
    made = len(told) < len(named) or any(arm not in GIVEN_BY or arm in _READ_ON for arm in arms)
    return (
        f"one for all seeds, in students given by {', '.join(told)}; what these have read is not counted"
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


def _numbers(each: Tested) -> dict[str, Any]:
    return {
        "finding": each.finding.text,
        "paper": each.finding.paper,
        "ours": each.finding.ours,
        "claim": each.finding.claim,
        "more": list(each.finding.more),
        "less": list(each.finding.less),
        "verdict": each.verdict,
        **asdict(each.difference),
        "p_holm": each.corrected,
    }
