"""Studies as stages: an engine carries out their runs, and each study is written when its runs are over."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from wellread_hf.errors import TrialsFailedError
from wellread_hf.experiments.engines import check_engine, opened
from wellread_hf.experiments.scheduler import Engine, Job, Result, in_this_process, run, time_left
from wellread_hf.experiments.study.findings import lacking_for, results
from wellread_hf.experiments.study.page import draw, in_words, page, verdict_table
from wellread_hf.experiments.study.planning import Plan, PlannedStudy, names_here
from wellread_hf.experiments.study.predicting import Predictions, predict
from wellread_hf.experiments.study.study_settings import StudySettings
from wellread_hf.results.tables import CHART, RESULTS, TABLE
from wellread_hf.store.progress import say
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage, in_order
from wellread_hf.students import STUDENTS, Student

PREDICTIONS = "predictions.npz"
# What holds a student, and takes long; the rest packs, gathers or counts.
_TRAINED = ("pretrain", "finetune", "distill", "label")


# A dry run shows more of the plan than its stages.
@lru_cache(maxsize=1)
def _plan(settings: StudySettings) -> Plan:
    return Plan(settings)


def ready(settings: StudySettings) -> None:
    """Makes sure that the engine is there, before anything is read or trained."""
    check_engine(settings.engine)


def plan(settings: StudySettings) -> list[Stage]:
    """Plans all studies: one stage carries them out, the last."""
    # A plan is of the files as they are now, also in a notebook that plans twice.
    _plan.cache_clear()
    planned = _plan(settings)
    return studies_stages(planned.studies, settings)


def preview(settings: StudySettings, stages: Sequence[Stage]) -> None:
    """Prints each study's arms, what is done, what cannot be decided, and how long the rest will take."""
    plan = _plan(settings)
    lines = [""]
    for each in plan.studies:
        states = Counter(stage.state for stage in in_order(each.stages))
        counts = ", ".join(f"{state} {count}" for state, count in states.items())
        lines.append(f"{each.name}: {len(each.study.arms)} arms, {len(each.runs)} runs; stages: {counts}")
        lines += [f"  {arm.name}" for arm in each.study.arms]
        lacking = {
            finding.text: lacking_for(finding, each.study, settings) for finding in each.study.findings
        }
        lines += [f"  not decidable, with {why}: {text}" for text, why in lacking.items() if why]
    every = in_order([stage for each in plan.studies for stage in each.stages])
    jobs = _Jobs(plan.studies, settings)
    lines.append(f"time: {time_left([jobs.of(stage) for stage in every if stage.kind in _TRAINED])}")
    lines += [f"left out: {name}, which needs {lacking}" for name, lacking in plan.left_out.items()]
    print("\n".join(lines))


def show(settings: StudySettings, stages: Sequence[Stage]) -> None:
    """Prints the verdicts of finished studies, and where their pages and pictures lie."""
    stage = stages[-1]
    folders = [stage.folder.parent / name for name in stage.record.outcome["studies"]]
    verdict_table(_numbers(folders)).show(stage.name)
    for folder in folders:
        print(f"study: {folder / TABLE}")


def _numbers(folders: Sequence[Path]) -> list[dict[str, Any]]:
    return [json.loads((folder / RESULTS).read_text()) for folder in folders]


def study_stage(planned: PlannedStudy) -> Stage:
    """Builds the stage that writes down one study: a table, a picture, all numbers, all predictions.

    Predictions that an interrupted run left there are used again.
    """

    def work(stage: Stage) -> Mapping[str, Any]:
        path = stage.folder / PREDICTIONS
        # What a killed run has predicted is kept.
        if not path.is_file():
            predict(planned).write(path)
        found = results(planned, Predictions.read(path))
        write_atomically(stage.folder / RESULTS, json.dumps(found, indent=1))
        draw(found, planned.study, stage.folder / CHART)
        write_atomically(stage.folder / TABLE, page(found))
        return {"verdicts": [[each["finding"], each["verdict"], each["note"]] for each in found["findings"]]}

    settings = planned.settings
    return Stage(
        kind="study",
        name=f"{planned.name}-{settings.task.name}",
        root=settings.running.runs,
        identity={
            "study": asdict(planned.study),
            "runs": [[step.digest for step in run.steps] for run in planned.runs],
            "seeds": settings.seeds,
            "budget": asdict(settings.budget),
            "teacher": None if planned.teacher is None else planned.teacher.digest,
        },
        inputs=planned.stages,
        work=work,
        solo=True,
        # Version 1 drew its verdicts from scores alone.
        version=2,
    )


def studies_stages(planned: Sequence[PlannedStudy], settings: StudySettings) -> list[Stage]:
    """Builds the stage that carries out studies, one after another, and writes a table of all verdicts.

    It is the last; where it is done, and the folder of a study has been deleted since, that study comes
    before it.

    Args:
        planned: The studies.
        settings: What they were planned from.
    """
    written = [study_stage(each) for each in planned]
    together = Stage(
        kind="studies",
        name=settings.task.name,
        root=settings.running.runs,
        identity={"studies": [stage.digest for stage in written]},
        work=lambda stage: _carry_out(planned, written, settings, stage),
        solo=True,
    )
    deleted = [each for each in written if each.state != "done"] if together.state == "done" else []
    return [*deleted, together]


def _carry_out(
    planned: Sequence[PlannedStudy], written: Sequence[Stage], settings: StudySettings, together: Stage
) -> Mapping[str, Any]:
    """Does what is left to do; raises `TrialsFailedError` at the end where something failed."""
    jobs = _Jobs(planned, settings)
    failed: dict[str, str] = {}
    with opened(settings.engine, together.folder) as engine:
        for study in written:
            failed |= _carry_out_study(study, jobs, engine, failed)
    done = [stage for stage in written if stage.state == "done"]
    if done:
        found = _numbers([stage.folder for stage in done])
        write_atomically(together.folder / TABLE, verdict_table(found).markdown)
    if failed:
        raise TrialsFailedError(
            f"{len(written) - len(done)} of {len(written)} studies lack runs; of {len(failed)} stages that "
            f"failed or wait for one that did, the first is {next(iter(failed.values()))}. "
            "Everything else is finished; what failed is tried again by the same command"
        )
    return {"studies": [stage.folder.name for stage in done]}


def _carry_out_study(
    study: Stage, jobs: "_Jobs", engine: Engine, failed: Mapping[str, str]
) -> dict[str, str]:
    """Carries out one study; what failed for another one is not tried again."""

    def on_end(job: Job, result: Result) -> None:
        if result.error is not None:
            say(f"failed: {job.stage.folder.name}: {result.error}")

    needs = [jobs.of(stage) for stage in in_order(study.after) if stage.digest not in failed]
    failures = run(needs, engine, on_end, study.name)
    # Its models only predict, which takes seconds.
    failures |= run([jobs.of(study)], in_this_process, on_end, f"{study.name}: verdicts")
    if study.state == "done":
        verdicts = study.record.outcome["verdicts"]
        sentences = "; ".join(f"{finding}: {in_words(*each)}" for finding, *each in verdicts)
        say(f"{study.name}: {sentences} ({study.folder / TABLE})")
    return failures


class _Jobs:
    """Makes jobs of the stages of planned studies."""

    def __init__(self, planned: Sequence[PlannedStudy], settings: StudySettings) -> None:
        runs = [run for each in planned for run in each.runs]
        self._settings = settings
        # Of several arms that share a stage, the first counts.
        self._arms = {stage.digest: run.arm for run in reversed(runs) for stage in in_order(run.steps)}
        # Other stages belong to the teacher.
        self._students = {step.digest: run.student for run in runs for step in run.steps}

    def of(self, stage: Stage) -> Job:
        """Makes a stage's job; stages that differ in their seed alone take as long."""
        student: Student | None = STUDENTS[0]
        if stage.kind in _TRAINED:
            s = self._settings
            teacher = Student.parse(s.teacher.teacher_student) if s.teacher.teacher is None else None
            student = self._students.get(stage.digest, teacher)
        return Job(
            stage=stage,
            student=student,
            names=names_here(self._settings, self._arms.get(stage.digest)),
            alike=((stage.kind, stage.name.rpartition("-seed")[0]),),
        )
