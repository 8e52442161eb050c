"""The whole job as a stage: sizes that fit a budget, taught by PD, exported, measured; the best is picked."""

import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import wellread_hf.stages as stages
from wellread_hf.errors import SettingsError
from wellread_hf.experiments.engines import check_engine, opened
from wellread_hf.experiments.methods import SMOKE_GIVEN
from wellread_hf.experiments.planner import Planner
from wellread_hf.experiments.scheduler import TRAINED, Job, finish, in_this_process, job_of, time_left
from wellread_hf.experiments.ship_settings import ShipSettings
from wellread_hf.hub.cards import facts_of_run, render
from wellread_hf.hub.publish import publish_runs
from wellread_hf.hub.push_settings import Publishing
from wellread_hf.results.html_report import write_report
from wellread_hf.results.picking import pick_stage, said
from wellread_hf.results.space import space_files
from wellread_hf.settings import Measure
from wellread_hf.stages.budgeting import fitting
from wellread_hf.stages.timed import EXPORTED
from wellread_hf.store.graph import carry_out, check
from wellread_hf.store.places import each_found_once
from wellread_hf.store.progress import quiet
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Place, Stage, in_order, short_name
from wellread_hf.students import STUDENTS, Student

REPORT, SPACE = "report.html", "space"


def ready(settings: ShipSettings) -> None:
    """Measures the budget, on which the plan depends."""
    check_engine(settings.engine)
    if (budget := budget_stage(settings)).state != "done":
        carry_out([budget])


def budget_stage(settings: ShipSettings) -> Stage:
    """Plans the measurement of sizes with random weights.

    Raises:
        SettingsError: There is no limit to keep to.
    """
    if settings.budget.max_ms is None and settings.budget.max_mb is None:
        raise SettingsError(
            "expected a budget that the student keeps to, got none; give `max_ms`, `max_mb` or both"
        )
    limits = settings.budget
    if settings.prune is not None:
        limits = replace(limits, vocabulary=settings.prune)
    budget = stages.budget(limits, settings.running)

    def check_all() -> None:
        budget.check()
        # What is wrong with teacher or text should not be found after minutes of measuring.
        first = settings.budget.students[:1] or [STUDENTS[0].name]
        Shipment(settings, [*map(Student.parse, first)]).check()

    return replace(budget, check=check_all)


def plan(settings: ShipSettings) -> list[Stage]:
    """Plans the whole job; as long as the budget was not measured, that alone.

    Raises:
        NothingFitsError: No size fits.
    """
    budget = budget_stage(settings)
    if budget.state != "done":
        return [budget]
    return [Shipment(settings, _chosen(settings, budget)).stage(budget)]


def preview(settings: ShipSettings, planned: Sequence[Stage]) -> None:
    """Prints what is planned beside the stage itself, and how long it will take."""
    s, (stage,) = settings, planned
    how = s.teacher
    print(f"\nteacher: {how.teacher or f'made here, {how.teacher_student}, pre-trained and fine-tuned'}")
    if stage.kind == "budget":
        print(
            f"then PD of the largest sizes that fit, at most {s.candidates}, seeds "
            f"{' '.join(map(str, s.seeds))}; export, measure, pick, report\n"
            "time: not known until the budget is measured, which the command begins with; end it with "
            "Ctrl-C then, and ask again"
        )
        return
    shipment = Shipment(s, _chosen(s, budget_stage(s)))
    jobs = shipment.jobs()
    states = Counter(f"{job.stage.kind} {job.stage.state}" for job in jobs)
    print(f"the largest sizes that fit: {', '.join(student.name for student in shipment.students)}")
    print(", ".join(f"{state}: {count}" for state, count in states.items()))
    print("then, of the best seed of each size: export, measure; pick, report")
    print(f"time: {time_left([job for job in jobs if job.stage.kind in TRAINED])}")


def show(settings: ShipSettings, planned: Sequence[Stage]) -> None:
    """Writes report, card and Space of the pick, pushes it if asked to, and says where everything is."""
    (stage,) = planned
    found, runs = stage.record.outcome, settings.running.runs
    model, exports, page = Path(found["folder"]), found["exports"], stage.folder / REPORT
    # Of all that lies there by now: other methods and sizes, too.
    write_report([runs], page, settings.picking)
    files = {model / path: content for path, content in render(facts_of_run(model)).files.items()}
    space, tried = stage.folder / SPACE, {}
    for folder, export in exports.items():
        name = short_name(folder)
        tried[name] = f"./models/{name}"
        shutil.copytree(export, space / tried[name], dirs_exist_ok=True)
    files |= {space / path: content for path, content in space_files([runs], tried, settings.picking).items()}
    for path, content in files.items():
        write_atomically(path, content)
    status = 0
    if settings.publish is not None:
        status = publish_runs(
            [*map(Path, exports)],
            Publishing(namespace=settings.publish, space=True),
            report=stage.folder / "push-report.json",
        )
    print(f"\npick:   {said(found)}")
    if settings.given == SMOKE_GIVEN:
        print("        trained for a few steps to try every part: the score means nothing")
    export = found["export"]
    print(f"export: {export}")
    print(f"report: {page}")
    print(f"card:   {model / 'README.md'}")
    print(f"space:  {space / 'index.html'}")
    print(f'next:   wellread predict {export} "a text of yours"')
    if status:
        sys.exit(status)


def _chosen(settings: ShipSettings, budget: Stage) -> list[Student]:
    """Returns the largest sizes that fit in a format that is exported."""
    found = map(Student.parse, fitting(budget.record.outcome, settings.budget, EXPORTED))
    return sorted(found, key=Student.parameters, reverse=True)[: settings.candidates]


class Shipment:
    """All that is carried out once the sizes that fit are known.

    Args:
        settings: What to ship.
        students: The sizes to train.

    Attributes:
        students: The same.
        evidence: The evaluations of the teacher, where one is named, and of all students.
    """

    def __init__(self, settings: ShipSettings, students: Sequence[Student]) -> None:
        self._settings = s = settings
        self.students = students
        with each_found_once():
            made = s.teacher.made(s.given.corpus, s.task, s.running)
            self._teacher = stages.named_teacher(s.teacher.teacher) if made is None else made
            planner = Planner(s.given, lambda task: self._teacher, s.running, held_out=(s.task,))
            # By size, one a seed.
            self._models = {
                student: [self._model(planner, student, seed) for seed in s.seeds] for student in students
            }
            self._evaluations = {
                student: [*map(self._evaluation, self._models[student])] for student in students
            }
            # Soft labels that are stored come without the teacher that made them.
            known = not stages.are_stored(self._teacher)
            self._of_teacher = [self._evaluation(self._teacher)] if known else []
        self.evidence = [*self._of_teacher, *chain.from_iterable(self._evaluations.values())]

    def _model(self, planner: Planner, student: Student, seed: int) -> Stage:
        s, start = self._settings, planner.start("pd", student.name)
        model = planner.trained("pd", start, s.task, replace(s.pd, seed=seed))
        if (shape := model.shape()) not in (None, student.shape):
            raise SettingsError(
                f"`weights` {s.given.weights}: expected {student.name} there, got {shape.layers} layers "
                f"{shape.width} wide; put {{student}}, {{layers}}, {{hidden}} or {{heads}} into it, or name "
                "its size alone by `students`"
            )
        if s.prune is None:
            return model
        return stages.prune(model, s.task, s.given.transfer.sources, s.prune, s.running)

    def _evaluation(self, model: Place) -> Stage:
        return stages.evaluate(model, self._settings.task, None, self._settings.running)

    def stage(self, budget: Stage) -> Stage:
        """Builds the stage that carries out all of it; its outcome is the pick's, and where exports lie."""
        s = self._settings
        return Stage(
            kind="ship",
            name=s.task.name,
            root=s.running.runs,
            identity={
                "evaluations": [each.digest for each in self.evidence],
                "picking": asdict(s.picking),
                "export": asdict(s.export),
                "measure": asdict(s.measure),
            },
            # What it trains is no input: the engine carries it out, perhaps side by side.
            inputs=[budget],
            work=self._work,
            check=self.check,
            solo=True,
        )

    def check(self) -> None:
        """Refuses bad input of all that is to be done up to the evaluations."""
        check(in_order(self.evidence))

    def jobs(self) -> list[Job]:
        """Makes the jobs up to the evaluations; stages of one kind take as long as they are large."""
        size = self._settings.teacher.teacher_student
        of_teacher = Student.parse(size) if isinstance(self._teacher, Stage) else None
        sizes = {each.digest: of_teacher for each in in_order(self._of_teacher)}
        for student, found in self._evaluations.items():
            for each in in_order(found):
                sizes.setdefault(each.digest, of_teacher if each.kind == "label" else student)
        return [job_of(each, sizes[each.digest]) for each in in_order(self.evidence)]

    def _work(self, stage: Stage) -> Mapping[str, Any]:
        s = self._settings
        with opened(s.engine, stage.folder) as engine:
            finish(self.jobs(), engine, "students")
        models = [self._best(student) for student in self.students]
        exports = [stages.export(model, s.task, s.export, s.running) for model in models]
        # Milliseconds are needed only where there is a limit on them.
        needed = None if s.budget.max_ms is None else (s.budget.length, s.budget.threads)
        measured = stages.measure(exports, s.task, self._measure, s.running, needed)
        # In this process and one after another: what is timed must be alone on the machine.
        finish([Job(stage=each) for each in [*exports, measured]], in_this_process, "exports")
        pick = pick_stage([*self.evidence, *exports, measured], s.picking, s.running.runs)
        with quiet():
            carry_out([pick])
        folders = [[str(each.folder) for each in made] for made in (models, exports)]
        return {**pick.record.outcome, "exports": dict(zip(*folders, strict=True))}

    @property
    def _measure(self) -> Measure:
        """What is measured, at the length and threads of the budget in any case."""
        s = self._settings
        lengths, threads = (*s.measure.lengths, s.budget.length), (*s.measure.threads, s.budget.threads)
        return replace(
            s.measure, lengths=tuple(dict.fromkeys(lengths)), threads=tuple(dict.fromkeys(threads))
        )

    def _best(self, student: Student) -> Stage:
        """Returns the best seed of a size on validation rows."""
        found = zip(self._models[student], self._evaluations[student], strict=True)

        def score(pair: tuple[Stage, Stage]) -> float:
            outcome = pair[1].record.outcome
            return float(outcome["scores"][outcome["metric"]])

        return max(found, key=score)[0]
