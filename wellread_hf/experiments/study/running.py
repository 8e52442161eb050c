"""Studies as stages: an engine carries out their runs, and each is written down when its runs are over."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Any

from wellread_hf.errors import SettingsError, TrialsFailedError
from wellread_hf.experiments.study.arms import Arm
from wellread_hf.experiments.study.page import draw, in_words, page, verdict_table
from wellread_hf.experiments.study.planning import PlannedStudy
from wellread_hf.experiments.study.predicting import Predictions, predict
from wellread_hf.experiments.study.results import results
from wellread_hf.experiments.study.settings import StudySettings
from wellread_hf.experiments.study.spelling import spelt_as_typed
from wellread_hf.experiments.sweep.engine import engine, in_this_process
from wellread_hf.experiments.sweep.grid import levels
from wellread_hf.experiments.sweep.jobs import Job, Result, Runs
from wellread_hf.store.graph import Stage, in_order, processes
from wellread_hf.store.progress import bar, say
from wellread_hf.store.records import write_atomically
from wellread_hf.students import STUDENTS, Student

TABLE, CHART, RESULTS, PREDICTIONS = "table.md", "chart.png", "results.json", "predictions.npz"
# What holds a student; the rest packs, gathers or counts.
_TRAINED = ("pretrain", "finetune", "distill", "label")


def study_stage(planned: PlannedStudy, settings: StudySettings) -> Stage:
    """Builds the stage that writes down one study: a table, a picture, all numbers, all predictions.

    Predictions that an interrupted run left there are used again.
    """

    def work(stage: Stage) -> Mapping[str, Any]:
        path = stage.folder / PREDICTIONS
        if not path.is_file():
            predict(planned, settings.running).write(path)
        found = results(planned, settings, Predictions.read(path))
        write_atomically(stage.folder / RESULTS, json.dumps(found, indent=1))
        draw(found, planned.study, stage.folder / CHART)
        write_atomically(stage.folder / TABLE, page(found))
        return {"verdicts": [[each["finding"], each["verdict"], each["note"]] for each in found["findings"]]}

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
    written = [study_stage(each, settings) for each in planned]
    together = Stage(
        kind="studies",
        name=settings.task.name,
        root=settings.running.runs,
        identity={"studies": [stage.digest for stage in written]},
        inputs=_worlds(written),
        work=lambda stage: _Sitting(planned, written, settings, stage).outcome(),
        solo=True,
    )
    deleted = [each for each in written if each.state != "done"] if together.state == "done" else []
    return [*deleted, together]


def _worlds(written: Sequence[Stage]) -> list[Stage]:
    """Returns the stages of the toy world that studies read: they are made before the engine starts."""
    return [stage for stage in in_order(written) if stage.kind.startswith("toy")]


class _Sitting:
    """One sitting over studies, from what the last one left to the end."""

    def __init__(
        self,
        planned: Sequence[PlannedStudy],
        written: Sequence[Stage],
        settings: StudySettings,
        stage: Stage,
    ) -> None:
        if processes().num_processes > 1:
            raise SettingsError(
                f"a study trains one student a process: expected one, got {processes().num_processes}; "
                "start it with python instead of accelerate launch, and for runs side by side take "
                "`engine` ray"
            )
        self.planned, self.written, self.settings, self.folder = planned, written, settings, stage.folder
        self.students, self.arms = _students(planned, settings), _arms(planned)
        self.failed: dict[str, str] = {}

    def outcome(self) -> Mapping[str, Any]:
        """Does what is left to do; raises `TrialsFailedError` at the end where something failed."""
        left = [stage for stage in in_order(self.written) if stage.state != "done"]
        with (
            bar("studies", "stages", len(left), delay=0) as self.bar,
            engine(self.settings.engine, self.folder, bool(left)) as run,
        ):
            for stage in self.written:
                self._carry_out(stage, run)
        done = [stage for stage in self.written if stage.state == "done"]
        found = [json.loads((stage.folder / RESULTS).read_text()) for stage in done]
        if found:
            write_atomically(self.folder / TABLE, verdict_table(found).markdown)
        if self.failed:
            raise TrialsFailedError(
                f"{len(self.written) - len(done)} of {len(self.written)} studies lack runs; of "
                f"{len(self.failed)} stages that failed or wait for one that did, the first is "
                f"{next(iter(self.failed.values()))}. "
                "Everything else is finished; what failed is tried again by the same command"
            )
        return {"studies": [stage.folder.name for stage in done]}

    def _carry_out(self, study: Stage, run: Runs) -> None:
        for level in levels([study]):
            jobs = []
            for stage in level:
                unfinished = [needed for needed in stage.after if needed.state != "done"]
                if stage.state == "done" or stage.digest in self.failed:
                    continue
                if unfinished:
                    self._fails(stage, f"it needs {unfinished[0].folder.name}, which did not come to its end")
                else:
                    jobs.append(self._job(stage))
            # The long ones first: a short one is the last that others wait for.
            jobs.sort(key=_weight, reverse=True)
            # Its models only predict, which takes seconds.
            engine_of = in_this_process if jobs and jobs[0].stage is study else run
            engine_of(jobs, self._ended)

    def _job(self, stage: Stage) -> Job:
        student = self.students.get(stage.digest) if stage.kind in _TRAINED else STUDENTS[0]
        return Job(stage=stage, student=student)

    def _ended(self, job: Job, result: Result) -> None:
        self.bar.update()
        if result.error is not None:
            self._fails(job.stage, result.error)
        elif job.stage.kind == "study":
            verdicts = job.stage.record.outcome["verdicts"]
            said = "; ".join(f"{finding}: {in_words(*each)}" for finding, *each in verdicts)
            say(f"{job.stage.name}: {said} ({job.stage.folder / TABLE})")

    def _fails(self, stage: Stage, why: str) -> None:
        told = spelt_as_typed(why, self.settings, self.arms.get(stage.digest))
        self.failed[stage.digest] = f"{stage.folder.name}: {told}"
        say(f"failed: {self.failed[stage.digest]}")


def _arms(planned: Sequence[PlannedStudy]) -> dict[str, Arm]:
    """Tells what arm a stage is part of, the first of several, by the stage's digest."""
    arms: dict[str, Arm] = {}
    for run in (run for each in planned for run in each.runs):
        for stage in in_order(run.steps):
            arms.setdefault(stage.digest, run.arm)
    return arms


def _weight(job: Job) -> float:
    """Says how long a job takes beside others of its level, in multiplications of its student's layers."""
    return inf if job.student is None else job.student.layers * job.student.hidden**2


def _students(planned: Sequence[PlannedStudy], settings: StudySettings) -> dict[str, Student]:
    """Tells whose size decides about a stage's CPUs and GPUs, by the stage's digest."""
    sizes = {step.digest: run.student for each in planned for run in each.runs for step in run.steps}
    if settings.teacher is None:
        teacher = Student.parse(settings.teacher_student)
        for each in planned:
            for stage in in_order(each.stages):
                sizes.setdefault(stage.digest, teacher)
    return sizes
