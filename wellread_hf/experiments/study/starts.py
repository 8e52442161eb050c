"""Where the students of a study's arms start: weights drawn, given, cut from others, or read here."""

from collections.abc import Callable
from dataclasses import replace

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.study.arms import Arm
from wellread_hf.experiments.study.given import Given, check_words, words_of
from wellread_hf.experiments.study.study_settings import StudySettings
from wellread_hf.experiments.study.transfer_text import FILE
from wellread_hf.settings import Init, Kept, Start
from wellread_hf.stages import initialise, pretrain
from wellread_hf.stages.inputs import find
from wellread_hf.store.stage import Place, Stage
from wellread_hf.students import Student


class Starts:
    """The starts of one study, and the words that its students know.

    Args:
        settings: What is given, and how students are pre-trained.
    """

    def __init__(self, settings: StudySettings) -> None:
        self.settings = settings
        self.words: dict[str, frozenset[str] | None] = {}

    def of(
        self, arm: Arm, student: Student, seed: int, transfer_text: Callable[[Arm], Stage]
    ) -> Start | Stage:
        """Returns where an arm's student starts, or the stage that makes its weights.

        Args:
            arm: The arm.
            student: Which of the 24.
            seed: Of its weights.
            transfer_text: Plans the text of an arm's transfer set.

        Raises:
            SettingsError: The budget lacks steps to read in, or a model that was given does not do.
            SourceError: A model that was given is not there.
        """
        match arm.weights:
            case "random":
                return self._random(student)
            case "pre-trained":
                return self._pretrained(student, seed)
            case "pre-trained, MLM+":
                given = self._like("`mlm_plus`", self.settings.mlm_plus, student)
                return given or self._masked_lm(student, seed, next_sentence=True)
            case "pre-trained on D_T":
                return self._masked_lm(student, seed, transfer_text(arm))
            case "truncated":
                return self._init(self._deep(student, seed), student, "first", seed)
            case "word embeddings":
                return self._init(self._pretrained(student, seed), student, "embeddings", seed)
            case "distilled MLM":
                return self._distilled_lm(student, seed)

    def _random(self, student: Student) -> Start:
        given = self._like("`weights`", self.settings.weights, student)
        if given is None:
            self._speaks_as_corpus()
            return Start(student=student.name, tokenizer=self.settings.corpus.tokenizer)
        return Start(student=student.name, tokenizer=given.weights)

    def _pretrained(self, student: Student, seed: int) -> Start | Stage:
        return self._like("`weights`", self.settings.weights, student) or self._masked_lm(student, seed)

    def _like(self, option: str, pattern: str | None, student: Student) -> Start | None:
        if pattern is None:
            return None
        start = self._given(option, pattern).like(student)
        self._speaks(option, str(start.weights))
        return start

    def _given(self, option: str, pattern: str) -> Given:
        next_sentence, running = option == "`mlm_plus`", self.settings.running
        return Given(option=option, pattern=pattern, running=running, next_sentence=next_sentence)

    def check_words(self) -> None:
        """Refuses a study whose students have different words."""
        check_words(self.words)

    def _speaks(self, option: str, name: str) -> None:
        """Notes the words of a model or tokenizer that the study uses."""
        named = f"{option} {name}"
        if named not in self.words:
            found = find(name, "model", option.strip("`"), self.settings.running)
            self.words[named] = words_of(found)

    def _speaks_as_corpus(self) -> None:
        self._speaks("`corpus.tokenizer`", self.settings.corpus.tokenizer)

    def _masked_lm(
        self,
        student: Student,
        seed: int,
        text: Stage | None = None,
        next_sentence: bool = False,
    ) -> Stage:
        self._speaks_as_corpus()
        settings = replace(self.settings.pretrain, student=student.name, seed=seed)
        settings = replace(
            settings, steps=self.settings.budget.named("mlm_steps"), next_sentence=next_sentence
        )
        at = None if text is None else text.at(FILE, repo_type="dataset")
        return pretrain(settings, self.settings.corpus, self.settings.running, text=at)

    def _deep(self, student: Student, seed: int) -> Start | Stage:
        """Returns a deeper masked LM of the same width."""
        layers, pattern = self.settings.deep_layers, self.settings.deep
        if pattern is not None:
            start = self._given("`deep`", pattern).deeper(student, layers)
            self._speaks("`deep`", str(start.weights))
            return start
        if layers <= student.layers:
            raise SettingsError(
                f"`deep_layers` {layers}: expected more than the students have, got {student.name} among "
                "them; give more, or leave it out"
            )
        deep = Student(layers, student.hidden)
        return self._masked_lm(deep, seed)

    def _init(self, source: Start | Stage, student: Student, keep: Kept, seed: int) -> Stage:
        init = Init(student=student.name, keep=keep, seed=seed)
        return initialise(init, self.settings.running, _place(source))

    def _distilled_lm(self, student: Student, seed: int) -> Stage:
        self._speaks_as_corpus()
        deep = self._deep(student, seed)
        first = self._init(deep, student, "spread", seed)
        settings = replace(
            self.settings.pretrain,
            student=student.name,
            # A start brings its own.
            dropout=None,
            seed=seed,
            steps=self.settings.budget.named("mlm_steps"),
        )
        return pretrain(
            settings, self.settings.corpus, self.settings.running, start=first, teacher=_place(deep)
        )


def _place(source: Start | Stage) -> Place:
    return source if isinstance(source, Stage) else str(source.weights)
