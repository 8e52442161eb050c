"""From arms, students and seeds to stages; what two runs share is one stage, carried out once."""

from dataclasses import dataclass, replace

from wellread_hf.errors import SettingsError, WellreadError
from wellread_hf.experiments.study.arms import Arm, Domain, Study
from wellread_hf.experiments.study.catalogue import STUDIES, StudyName
from wellread_hf.experiments.study.starts import GIVEN_BY, Starts, check_teacher, given_like
from wellread_hf.experiments.study.study_settings import ALL_STUDIES, StudySettings
from wellread_hf.experiments.study.texts import similarity, transfer_text
from wellread_hf.settings import Start, Transfer, Tuning
from wellread_hf.stages import distill, finetune, label
from wellread_hf.stages.inputs import refuse_tagging
from wellread_hf.stages.toy import TOY, toy_task
from wellread_hf.stages.transfer_set import TASK
from wellread_hf.store.places import each_found_once
from wellread_hf.store.stage import Stage
from wellread_hf.students import Student
from wellread_hf.training.methods import find_method

# The setting that names the sources of each domain.
_SOURCES: dict[Domain, str] = {"in": "transfer", "near": "near", "far": "far"}


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
        settings: What it was planned from.
        runs: In the order of arms, students, seeds.
        teacher: The stage that made the teacher; None where one was given.
        similarities: The comparison of each domain with the task, where the study asks for it.
    """

    name: StudyName
    study: Study
    settings: StudySettings
    runs: tuple[PlannedRun, ...]
    teacher: Stage | None
    similarities: dict[Domain, Stage]

    @property
    def stages(self) -> list[Stage]:
        """All that has to be finished before its table can be written, needs of needs left out."""
        return [
            *([] if self.teacher is None else [self.teacher]),
            *self.similarities.values(),
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
        refuse_tagging(toy_task(settings.task), "studies are made for texts")
        if settings.scale == "toy" and settings.task.name != TOY:
            raise SettingsError(
                f"`task.name` {settings.task.name} is real text, and `scale` toy has the toy world's budget "
                "and text: expected `scale` text with it; add that, and name the budget"
            )
        self._settings = settings
        # A transfer set draws its own rows, of the task's text as well: the same ones, if they are as many.
        self._labelled = replace(settings.task, train_rows=settings.budget.named("labelled_rows"))
        with each_found_once():
            self._teacher = self._made_teacher()
            self.left_out = {} if settings.studies else left_out(settings)
            names = settings.studies or [name for name in ALL_STUDIES if name not in self.left_out]
            self.studies = tuple(map(self._study, names))

    def _made_teacher(self) -> Stage | None:
        s = self._settings
        if s.teacher.teacher is not None:
            check_teacher(s, s.teacher.teacher)
        return s.teacher.made(s.corpus, self._labelled, s.running)

    def _study(self, name: StudyName) -> PlannedStudy:
        study, s = STUDIES[name], self._settings
        common = s.students[:1] if name in s.one_student else s.students
        # One a study, since only arms that are compared must share their words.
        starts = Starts(s)
        runs = []
        for arm in study.arms:
            students = [arm.student] if arm.student is not None else common
            try:
                for student in map(Student.parse, students):
                    runs += [self._run(arm, starts, student, seed) for seed in s.seeds]
            # Stages name their own settings, for which a study has other names.
            except WellreadError as error:
                raise error.renamed(names_here(s, arm)) from error
        starts.check_words()
        similarities = {}
        if study.axis == "rank correlation":
            for domain in dict.fromkeys(arm.domain for arm in study.arms):
                transfer = Transfer(sources=self._sources(domain), rows=s.budget.named("transfer_rows"))
                similarities[domain] = similarity(self._labelled, transfer, s.running)
        return PlannedStudy(
            name=name,
            study=study,
            settings=s,
            runs=tuple(runs),
            teacher=self._teacher,
            similarities=similarities,
        )

    def _run(self, arm: Arm, starts: Starts, student: Student, seed: int) -> PlannedRun:
        start = starts.of(arm, student, seed, self._transfer_text)
        steps = [start] if isinstance(start, Stage) else []
        for lesson in arm.lessons:
            start = self._labels(arm, start, seed) if lesson == "labels" else self._soft(arm, start, seed)
            steps.append(start)
        return PlannedRun(arm=arm, student=student, seed=seed, steps=tuple(steps))

    def _labels(self, arm: Arm, start: Start | Stage, seed: int) -> Stage:
        s = self._settings
        rows = s.budget.named("labelled_rows")
        tuning = self._tuning(arm, s.labels, "soft_labels_seen" if arm.even else "labels_seen", rows, seed)
        return finetune(start, self._labelled, tuning, s.running)

    def _soft(self, arm: Arm, start: Start | Stage, seed: int) -> Stage:
        s, transfer = self._settings, self._transfer(arm)
        objective = s.patient if arm.objective.method == s.patient.method else arm.objective
        states = find_method(objective).states
        if states and not s.label.states:
            raise SettingsError(
                f"`label.states` is missing: {arm.series} compares [CLS] states of the teacher's layers; "
                "name those that its layer map speaks of, e.g. 2 4"
            )
        # States take room, so they are stored only where an arm compares them.
        how = s.label if states else replace(s.label, states=())
        # All of the task's text: the teacher reads no labels, however few the students have.
        labels = label(self._teacher or str(s.teacher.teacher), s.task, transfer, how, s.running)
        assert transfer.rows is not None  # always drawn, so that the budget is known
        tuning = self._tuning(arm, s.soft_labels, "soft_labels_seen", transfer.rows, seed)
        return distill(start, s.task, labels, transfer, objective, tuning, s.running)

    def _tuning(self, arm: Arm, tuning: Tuning, part: str, rows: int, seed: int) -> Tuning:
        """Returns settings that see a part of the budget in as many passes over the rows as that takes."""
        seen = self._settings.budget.named(part)
        # The budget's own parts fit each other; these arms see labelled rows as often as others soft labels.
        if seen < rows:
            raise SettingsError(
                f"`budget.soft_labels_seen` {seen}: expected at least the {rows} of `budget.labelled_rows`, "
                f"which {arm.name} sees as often; raise the first or lower the second"
            )
        return replace(tuning, epochs=seen / rows, seed=seed)

    def _transfer(self, arm: Arm) -> Transfer:
        budget = self._settings.budget
        if arm.transfer == TASK:
            # The very rows whose labels students are given, by the same seed.
            rows, seed = budget.named("labelled_rows"), self._settings.task.train_seed
            return Transfer(sources=(TASK,), rows=rows, seed=seed)
        rows = round(arm.share * budget.named("transfer_rows"))
        if rows < 1:
            raise SettingsError(
                f"`budget.transfer_rows` {budget.transfer_rows}: {arm.name} has {arm.share:.0%} of them, "
                "which is not one row; give more"
            )
        return Transfer(sources=self._sources(arm.domain), rows=rows)

    def _sources(self, domain: Domain) -> tuple[str, ...]:
        sources: tuple[str, ...] = getattr(self._settings, _SOURCES[domain])
        if not sources:
            raise SettingsError(
                f"`{_SOURCES[domain]}` is missing: expected sources of text for the teacher to label, e.g. "
                "MY-REVIEWS,column=text, got none"
            )
        return sources

    def _transfer_text(self, arm: Arm) -> Stage:
        """Plans the text of the rows that the teacher labels."""
        return transfer_text(self._settings.task, self._transfer(arm), self._settings.running)


def names_here(settings: StudySettings, arm: Arm | None) -> dict[str, str]:
    """Returns what a study calls the settings of its stages, for `WellreadError.renamed`.

    Args:
        settings: The study's.
        arm: What the stages are a part of; None: the teacher.
    """
    # Weights that are drawn have the words of given ones.
    weights = "corpus.tokenizer" if settings.weights is None else "weights"
    sources, rows = _SOURCES["in"], "budget.transfer_rows"
    if arm is not None:
        weights, sources = GIVEN_BY.get(arm.weights, weights), _SOURCES[arm.domain]
        rows = "budget.labelled_rows" if arm.transfer == TASK else rows
    return {
        "objective": "patient",
        "distil.teacher": "deep",
        "source": weights,
        "start.weights": weights,
        "start.tokenizer": weights,
        "task.train_rows": "budget.labelled_rows",
        "transfer.rows": rows,
        "transfer.sources": sources,
    }


def left_out(settings: StudySettings) -> dict[StudyName, str]:
    """Returns the studies that settings do not allow, each with what it lacks."""
    lacking: dict[StudyName, str] = {}
    steps = [] if settings.budget.mlm_steps is not None else ["`budget.mlm_steps`"]
    domains = [f"`{name}`" for name in ("near", "far") if not getattr(settings, name)]
    states = [] if settings.label.states else ["`label.states`"]
    if steps and not (settings.deep and settings.mlm_plus):
        lacking["initialisation"] = f"{steps[0]}, or `deep` and `mlm_plus`"
    # Depth against width names students of its own, which may not be among those given.
    if settings.weights is not None and (students := _not_given(settings)):
        lacking["depth-width"] = f"`weights` of {' and '.join(students)}"
    if domains:
        lacking["domain"] = " and ".join(domains)
    # Given students have read other text than the transfer set.
    if steps:
        lacking["compound"] = steps[0]
    if steps or states:
        lacking["concurrent"] = " and ".join([*steps, *states])
    return lacking


def _not_given(settings: StudySettings) -> list[str]:
    """Returns the students of the study of depth and width that are not among those given."""
    missing = []
    for name in dict.fromkeys(arm.student for arm in STUDIES["depth-width"].arms if arm.student):
        try:
            given_like(settings, "weights", Student.parse(name))
        except WellreadError:
            missing.append(name)
    return missing
