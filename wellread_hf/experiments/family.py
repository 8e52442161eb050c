"""A family of students as a stage: each pre-trained or taken over, scored on GLUE, then shown and pushed."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import wellread_hf.stages as stages
from wellread_hf.errors import TokenizerError
from wellread_hf.experiments.engines import check_engine, opened
from wellread_hf.experiments.family_costs import costs_table, rates_stage, tokens_of_hours
from wellread_hf.experiments.family_settings import FamilySettings, check_warm_up, reading
from wellread_hf.experiments.glue_runs import GlueRuns
from wellread_hf.experiments.scheduler import TRAINED, Job, finish, in_this_process, job_of, time_left
from wellread_hf.hub.cards import facts_of_run, render
from wellread_hf.hub.publish import publish_runs
from wellread_hf.hub.rights import check_rights
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.results.lineage import each_read_once
from wellread_hf.results.tables import TABLE, Table
from wellread_hf.settings import Pretrain
from wellread_hf.stages.inputs import find
from wellread_hf.store.graph import carry_out, check
from wellread_hf.store.places import each_found_once
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage, in_order
from wellread_hf.students import METHOD_TITLES, Student, grown_from
from wellread_hf.tasks import parse_glue_tasks


def ready(settings: FamilySettings) -> None:
    """Makes sure of the engine, and measures this machine where hours are to be shared out."""
    check_engine(settings.engine)
    if settings.hours is not None and (rates := rates_stage(settings)).state != "done":
        # What is wrong should not be found after a minute of measuring.
        Family(replace(settings, hours=None)).check()
        carry_out([rates])


def plan(settings: FamilySettings) -> list[Stage]:
    """Plans a family: one stage; as long as hours cannot be shared out, the measurement alone."""
    if settings.hours is not None and (rates := rates_stage(settings)).state != "done":
        Family(replace(settings, hours=None)).check()
        return [rates]
    return [Family(settings).stage]


def preview(settings: FamilySettings, planned: Sequence[Stage]) -> None:
    """Prints what becomes of each student and what it costs, what is done, and the time left."""
    if planned[0].kind == "rate":
        print("\nthen the family; how many tokens each student reads is known once this machine is measured")
        return
    family = Family(settings)
    how = {student: family.how(student) for student in family.encoders}
    print()
    costs_table(settings, family.encoders, how, family.planned).show("family")
    states = Counter(f"{job.stage.kind} {job.stage.state}" for job in family.jobs)
    print("\n" + ", ".join(f"{state}: {count:,}" for state, count in sorted(states.items())))
    print(f"time, by what is done: {time_left([job for job in family.jobs if job.stage.kind in TRAINED])}")


def show(settings: FamilySettings, planned: Sequence[Stage]) -> None:
    """Writes a card beside each student, pushes them if asked to, and says where everything is."""
    (stage,) = planned
    family, status = Family(settings), 0
    folders = [encoder.folder for encoder in family.encoders.values()]
    family.scores().show(stage.folder.name)
    with each_read_once():
        for folder in folders:
            for path, content in render(facts_of_run(folder)).files.items():
                write_atomically(folder / path, content)
        print(f"table: {stage.folder / TABLE}\ncards: README.md in each of {len(folders)} folders")
        if settings.publishing.namespace:
            status = publish_runs(folders, settings.publishing, report=stage.folder / "push-report.json")
    if status:
        sys.exit(status)


class Family:
    """All that a family takes.

    Args:
        settings: Which students, and how they are made.

    Attributes:
        encoders: What makes each student, in the order of width and depth.
        boards: The scoreboards of GLUE, by student and method.
        smaller: Which student another one is grown from.
        planned: The pre-trainings of those that are trained.
    """

    def __init__(self, settings: FamilySettings) -> None:
        self.settings = s = settings
        self.encoders: dict[Student, Stage] = {}
        grown = [student for student in s.chosen if s.grow and student not in s.adopted]
        found = {student: grown_from(student, s.chosen) for student in grown}
        self.smaller = {student: smaller for student, smaller in found.items() if smaller is not None}
        self.planned: dict[Student, Pretrain] = {}
        with each_found_once():
            self._tokens = s.tokens if s.hours is None else tokens_of_hours(s, self.smaller)
            for student in s.chosen:
                self.encoders[student] = self._encoder(student)
            runs, tasks = GlueRuns(s.glue, s.running, self.encoders), parse_glue_tasks(s.tasks)
            self.boards = {
                (student, method): runs.board(student.name, method, tasks, s.seeds)
                for student in s.chosen
                for method in s.methods
            }

    def _encoder(self, student: Student) -> Stage:
        s, given = self.settings, self.settings.glue.given
        if student in s.adopted:
            return stages.adopt(student.fill_in(s.weights), None, s.pickle, s.running)
        smaller = self.smaller.get(student)
        how = replace(given.pretrain, student=student.name)
        share = 1.0
        if self._tokens is not None:
            share = 1.0 if smaller is None else s.grown_share
            how = reading(how, self._tokens * share)
        check_warm_up(how, share)
        self.planned[student] = how
        grow = None if smaller is None else self.encoders[smaller]
        return stages.pretrain(how, given.corpus, s.running, grow=grow)

    @property
    def stage(self) -> Stage:
        """The stage that carries out all of it; its outcome has the folders, its own folder the table."""
        s = self.settings
        return Stage(
            kind="family",
            name=f"{len(self.encoders)}-students",
            root=s.running.runs,
            identity={
                "students": {student.name: stage.digest for student, stage in self.encoders.items()},
                "boards": [board.digest for board in self.boards.values()],
            },
            # What it trains is no input: the engine carries it out, perhaps side by side.
            work=self._work,
            check=self.check,
            solo=True,
        )

    @cached_property
    def jobs(self) -> list[Job]:
        """The jobs up to predictions of GLUE's rows."""
        owners = {encoder.digest: student for student, encoder in self.encoders.items()}
        for (student, _), board in self.boards.items():
            for each in in_order([board]):
                if each.kind in ("finetune", "distill"):
                    owners[each.digest] = student
        predictions = [each for board in self.boards.values() for each in board.after]
        wanted = in_order([*self.encoders.values(), *predictions])
        return [job_of(each, owners.get(each.digest)) for each in wanted]

    def check(self) -> None:
        """Refuses bad input of all that is to be done, before any of it begins."""
        if self.settings.publishing.namespace:
            check_rights(self.settings.publishing)
        check([job.stage for job in self.jobs])
        self._check_words()

    def _check_words(self) -> None:
        """Refuses students of several vocabularies.

        Raises:
            TokenizerError: There are two.
        """
        from transformers import BertConfig

        from wellread_hf.models.load import load_tokenizer

        s = self.settings
        found = [
            (student.name, find(student.fill_in(s.weights), "model", "weights", s.running))
            for student in self.encoders
            if student in s.adopted
        ]
        if len(found) < len(self.encoders):
            tokenizer = s.glue.given.corpus.tokenizer
            found.append(("the others", find(tokenizer, "model", "corpus.tokenizer", s.running)))
        # What a stage has yet to make has no words to compare.
        known = [(of, at) for of, at in found if at.stage is None or at.stage.state == "done"]
        # A release's config may not say what it is of; only BERTs are taken over.
        words = [load_tokenizer(at, BertConfig()).get_vocab() for _, at in known]
        for (of, at), these in zip(known, words, strict=True):
            if these != words[0]:
                raise TokenizerError(
                    f"{at}, for {of}: expected the words of {known[0][1]}, as in one family, "
                    "got another vocabulary; take one tokenizer for all, or leave those students out"
                )

    def _work(self, stage: Stage) -> Mapping[str, Any]:
        with opened(self.settings.engine, stage.folder) as engine:
            finish(self.jobs, engine, "family")
        # No more than a look at records.
        finish([Job(stage=board) for board in self.boards.values()], in_this_process, "scoreboards")
        write_atomically(stage.folder / TABLE, self.scores().markdown)
        return {
            "students": {student.name: made.folder.name for student, made in self.encoders.items()},
            "boards": [board.folder.name for board in self.boards.values()],
        }

    def scores(self) -> Table:
        """Tables the finished students: how each was made, held-out loss, and the mean over GLUE's tasks."""
        rows, methods = [], self.settings.methods
        for student, encoder in self.encoders.items():
            found = encoder.record.outcome
            boards = [self.boards[student, method].record.outcome["average"] for method in methods]
            read = (
                (f"{found['tokens']:,}", f"{found['held_out_loss']:.2f}")
                if "tokens" in found
                else (None, None)
            )
            averages = [mean_and_spread(board["values"]) for board in boards]
            rows.append([student.name, self.how(student), *read, *averages, encoder.folder.name])
        titles = [f"{METHOD_TITLES[method]} (%)" for method in methods]
        notes = [f"scores: {boards[0]['name']}, {self.settings.seeds} seed{'s' * (self.settings.seeds > 1)}"]
        head = ["student", "how", "tokens", "held-out loss (nats)", *titles, "folder"]
        return Table(head, rows, notes)

    def how(self, student: Student) -> str:
        """Says in a few words how a student begins."""
        if student in self.smaller:
            return f"grown from {self.smaller[student]}"
        return "adopted" if student in self.settings.adopted else "from random weights"
