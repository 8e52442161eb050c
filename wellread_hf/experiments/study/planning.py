"""From arms, students and seeds to stages; what two runs share is planned alike, and so carried out once."""

from dataclasses import dataclass, replace

from wellread_hf.errors import SettingsError, WellreadError
from wellread_hf.experiments.study.allowed import left_out
from wellread_hf.experiments.study.arms import Arm, Domain, Study
from wellread_hf.experiments.study.catalogue import STUDIES, StudyName
from wellread_hf.experiments.study.given import SOURCES, check_teacher, names_here
from wellread_hf.experiments.study.likeness import likeness
from wellread_hf.experiments.study.starts import Starts
from wellread_hf.experiments.study.study_settings import ALL_STUDIES, StudySettings, option
from wellread_hf.experiments.study.transfer_text import transfer_text
from wellread_hf.settings import Start, Task, Transfer, Tuning
from wellread_hf.stages import distill, finetune, label, pretrain
from wellread_hf.stages.inputs import TASK
from wellread_hf.stages.toy import TOY
from wellread_hf.store.graph import Stage
from wellread_hf.store.places import each_found_once
from wellread_hf.students import Student
from wellread_hf.training.methods import find_method


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """An arm with a student and a seed.

    Attributes:
        arm: What is trained, and how.
        student: Which of the 24.
        seed: Of the weights, of the order of rows and of dropout, in pre-training too.
        steps: The stages that make it, from its weights on; the last one's score counts.
    """

    arm: Arm
    student: Student
    seed: int
    steps: tuple[Stage, ...]

    @property
    def stage(self) -> Stage:
        """The one that is scored."""
        return self.steps[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStudy:
    """A study with all its runs.

    Attributes:
        name: What the command line calls it.
        study: Its arms and findings.
        task: What is learnt, with all of its rows.
        runs: In the order of arms, students, seeds.
        teacher: The stage that made the teacher; None where one was given.
        likenesses: Of each domain that the arms use, how like the task it is, where the study asks for it.
    """

    name: StudyName
    study: Study
    task: Task
    runs: tuple[PlannedRun, ...]
    teacher: Stage | None
    likenesses: dict[Domain, Stage]

    @property
    def stages(self) -> list[Stage]:
        """All that has to be finished before its table can be written, needs of needs left out."""
        return [
            *([] if self.teacher is None else [self.teacher]),
            *self.likenesses.values(),
            *(run.stage for run in self.runs),
        ]


class Plan:
    """Plans the studies that settings name.

    Attributes:
        studies: The studies.
        left_out: Those that were not named, and need what was not named either.

    Raises:
        SettingsError: The budget or a text that they need is not named.
    """

    def __init__(self, settings: StudySettings) -> None:
        if settings.scale == "toy" and settings.task.name != TOY:
            raise SettingsError(
                f"`task.name` {settings.task.name} is real text, and `scale` toy has the toy world's budget "
                "and text: expected `scale` text with it; add that, and name the budget"
            )
        with each_found_once():
            planner = _Planner(settings)
            self.left_out = {} if settings.studies else left_out(settings)
            names = settings.studies or [name for name in ALL_STUDIES if name not in self.left_out]
            self.studies = tuple(planner.study(name) for name in names)


class _Planner:
    def __init__(self, settings: StudySettings) -> None:
        self.settings, self.budget = settings, settings.budget
        # A transfer set draws its own rows, of the task's text as well: the same ones, if they are as many.
        self.labelled = replace(settings.task, train_rows=self.budget.named("labelled_rows"))
        self.made_teacher = self._teacher() if settings.teacher is None else None
        if settings.teacher is not None:
            check_teacher(settings.teacher, settings.running, settings.label.trust_remote_code)

    def study(self, name: StudyName) -> PlannedStudy:
        study, s = STUDIES[name], self.settings
        common = s.students[:1] if name in s.one_student else s.students
        runs = []
        self.starts = Starts(s)
        for arm in study.arms:
            students = [arm.student] if arm.student is not None else common
            for student in map(Student.parse, students):
                try:
                    runs += [self._run(arm, student, seed) for seed in s.seeds]
                except WellreadError as error:
                    raise error.renamed(names_here(s, arm)) from error
        self.starts.check_words()
        domains = dict.fromkeys(arm.domain for arm in study.arms)
        likenesses = {}
        if study.axis == "rank correlation":
            likenesses = {domain: self._likeness(domain) for domain in domains}
        return PlannedStudy(
            name=name,
            study=study,
            task=s.task,
            runs=tuple(runs),
            teacher=self.made_teacher,
            likenesses=likenesses,
        )

    def _teacher(self) -> Stage:
        s = self.settings
        encoder = pretrain(replace(s.teacher_pretrain, student=s.teacher_student), s.corpus, s.running)
        return finetune(encoder, self.labelled, s.teacher_tuning, s.running)

    def _run(self, arm: Arm, student: Student, seed: int) -> PlannedRun:
        start = self.starts.of(arm, student, seed, self._transfer_text)
        steps = [start] if isinstance(start, Stage) else []
        for lesson in arm.lessons:
            start = self._labels(arm, start, seed) if lesson == "labels" else self._soft(arm, start, seed)
            steps.append(start)
        return PlannedRun(arm=arm, student=student, seed=seed, steps=tuple(steps))

    def _labels(self, arm: Arm, start: Start | Stage, seed: int) -> Stage:
        seen = self.budget.named("soft_labels_seen" if arm.even else "labels_seen")
        rows = self.budget.named("labelled_rows")
        _check_all_seen(arm, seen, rows)
        tuning = _tuning(self.settings.labels, seen, rows, seed)
        return finetune(start, self.labelled, tuning, self.settings.running)

    def _soft(self, arm: Arm, start: Start | Stage, seed: int) -> Stage:
        s, transfer = self.settings, self._transfer(arm)
        objective = s.patient if arm.objective.method == s.patient.method else arm.objective
        states = find_method(objective).states
        if states and not s.label.states:
            raise SettingsError(
                f"`label.states` is missing: {arm.series} compares [CLS] states of the teacher's layers; "
                "name those that its layer map speaks of, e.g. 2 4"
            )
        how = s.label if states else replace(s.label, states=())
        labels = label(self.made_teacher or str(s.teacher), s.task, transfer, how, s.running)
        seen = self.budget.named("soft_labels_seen")
        assert transfer.rows is not None  # always drawn, so that the budget is known
        _check_all_seen(arm, seen, transfer.rows)
        tuning = _tuning(s.soft_labels, seen, transfer.rows, seed)
        return distill(start, s.task, labels, transfer, objective, tuning, s.running)

    def _transfer(self, arm: Arm) -> Transfer:
        if arm.transfer == TASK:
            rows, seed = self.budget.named("labelled_rows"), self.settings.task.train_seed
            return Transfer(sources=(TASK,), rows=rows, seed=seed)
        rows = round(arm.share * self.budget.named("transfer_rows"))
        if rows < 1:
            raise SettingsError(
                f"`budget.transfer_rows` {self.budget.transfer_rows}: {arm.name} has {arm.share:.0%} of "
                "them, which is not one row; give more"
            )
        return Transfer(sources=self._sources(arm.domain), rows=rows)

    def _sources(self, domain: Domain) -> tuple[str, ...]:
        s = self.settings
        sources = {"in": s.transfer, "near": s.near, "far": s.far}[domain]
        if not sources:
            raise SettingsError(
                f"`{SOURCES[domain]}` is missing: expected sources of text for the teacher to label, e.g. "
                "MY-REVIEWS,column=text, got none"
            )
        return sources

    def _transfer_text(self, arm: Arm) -> Stage:
        """Returns the text of the rows that the teacher labels."""
        return transfer_text(self.settings.task, self._transfer(arm), self.settings.running)

    def _likeness(self, domain: Domain) -> Stage:
        transfer = Transfer(sources=self._sources(domain), rows=self.budget.named("transfer_rows"))
        return likeness(self.labelled, transfer, self.settings.running)


def _check_all_seen(arm: Arm, seen: int, rows: int) -> None:
    # The budget's own parts fit each other; these arms read labelled rows as often as others soft labels.
    if seen < rows:
        raise SettingsError(
            f"{option('soft_labels_seen')} {seen}: expected at least the {rows} of "
            f"{option('labelled_rows')}, which {arm.name} sees as often; give more of the one or less of "
            "the other"
        )


def _tuning(tuning: Tuning, seen: int, rows: int, seed: int) -> Tuning:
    return replace(tuning, epochs=seen / rows, seed=seed)
