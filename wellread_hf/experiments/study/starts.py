"""Where the students of a study's arms start: weights drawn, given, cut from others, or pre-trained here."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.study.arms import Arm, Weights
from wellread_hf.experiments.study.study_settings import StudySettings
from wellread_hf.experiments.study.texts import TEXT
from wellread_hf.settings import Init, Kept, Start
from wellread_hf.stages import initialise, pretrain
from wellread_hf.stages.inputs import find
from wellread_hf.stages.objectives import config_of, shape_of
from wellread_hf.store.places import fetch
from wellread_hf.store.stage import Location, Place, Stage
from wellread_hf.students import Shape, Student

# The setting that names models to start from, by where an arm's weights come from.
GIVEN_BY: dict[Weights, str] = {
    "pre-trained": "weights",
    "word embeddings": "weights",
    "truncated": "deep",
    "distilled MLM": "deep",
    "pre-trained, MLM+": "mlm_plus",
}
_CLASSIFIER, _WITH_SENTENCES = "ForSequenceClassification", "ForPreTraining"


class Starts:
    """The starts of one study, and the words that its students know.

    Args:
        settings: What is given, and how students are pre-trained.
    """

    def __init__(self, settings: StudySettings) -> None:
        self.settings = settings
        self._words: dict[str, frozenset[str] | None] = {}

    def of(self, arm: Arm, student: Student, seed: int, text: Callable[[Arm], Stage]) -> Start | Stage:
        """Returns where an arm's student starts, or the stage that makes its weights.

        Args:
            arm: The arm.
            student: Which of the 24.
            seed: Of its weights.
            text: Plans the text of an arm's transfer set.

        Raises:
            SettingsError: The budget lacks steps to pre-train for, or a model that was given does not do.
            SourceError: A model that was given is not there.
        """
        match arm.weights:
            case "random":
                return Start(student=student.name, tokenizer=self._tokenizer(student))
            case "pre-trained":
                return self._pretrained(student, seed)
            case "pre-trained, MLM+":
                given = self._given("mlm_plus", student)
                return given or self._masked_lm(student, seed, next_sentence=True)
            case "pre-trained on D_T":
                return self._masked_lm(student, seed, text=text(arm).at(TEXT, repo_type="dataset"))
            case "truncated":
                return self._init(self._deep(student, seed), student, "first", seed)
            case "word embeddings":
                return self._init(self._pretrained(student, seed), student, "embeddings", seed)
            case "distilled MLM":
                deep = self._deep(student, seed)
                first = self._init(deep, student, "spread", seed)
                # A start brings its own dropout.
                return self._masked_lm(student, seed, start=first, teacher=_place(deep), dropout=None)

    def check_words(self) -> None:
        """Refuses models and tokenizers of other words in one study: its arms would differ in that as well.

        Raises:
            SettingsError: Two differ.
        """
        known = [(named, words) for named, words in self._words.items() if words is not None]
        for named, words in known[1:]:
            first, ours = known[0]
            if words != ours:
                raise SettingsError(
                    f"{first} and {named}: expected the same words, so that arms differ in one thing, got "
                    f"{len(ours):,} and {len(words):,}, {len(ours & words):,} of them in both; give models "
                    "of one tokenizer"
                )

    def _tokenizer(self, student: Student) -> str:
        given = self._given("weights", student)
        return str(self._corpus_tokenizer() if given is None else given.weights)

    def _corpus_tokenizer(self) -> str:
        name = self.settings.corpus.tokenizer
        self._note_words(find(name, "model", "corpus.tokenizer", self.settings.running))
        return name

    def _pretrained(self, student: Student, seed: int) -> Start | Stage:
        return self._given("weights", student) or self._masked_lm(student, seed)

    def _given(self, field: str, student: Student) -> Start | None:
        pattern: str | None = getattr(self.settings, field)
        if pattern is None:
            return None
        self._note_words(given_like(self.settings, field, student))
        return Start(weights=student.fill_in(pattern))

    def _note_words(self, at: Location) -> None:
        if str(at) not in self._words:
            self._words[str(at)] = _words_of(at)

    def _masked_lm(
        self,
        student: Student,
        seed: int,
        *,
        text: Location | None = None,
        start: Place | None = None,
        teacher: Place | None = None,
        **changes: Any,
    ) -> Stage:
        s = self.settings
        # Noted here too, so that its words are compared with those of given models.
        self._corpus_tokenizer()
        steps = s.budget.named("mlm_steps")
        settings = replace(s.pretrain, student=student.name, seed=seed, steps=steps, **changes)
        return pretrain(settings, s.corpus, s.running, text=text, start=start, teacher=teacher)

    def _deep(self, student: Student, seed: int) -> Start | Stage:
        """Returns a deeper masked LM of the same width."""
        layers, pattern = self.settings.deep_layers, self.settings.deep
        deep = Student(layers, student.hidden)
        if pattern is not None:
            at, shape = _found(self.settings, "deep", deep)
            if shape.layers <= student.layers or shape.width != student.hidden:
                raise SettingsError(
                    f"{at}: expected more layers than {student.name} has and its width, {student.hidden}, "
                    f"got {_size(shape)}; name a deeper one as wide ({{layers}} is filled in from "
                    "`deep_layers`)"
                )
            self._note_words(at)
            return Start(weights=deep.fill_in(pattern))
        if layers <= student.layers:
            raise SettingsError(
                f"`deep_layers` {layers}: expected more than the students have, got {student.name} among "
                "them; give more, or leave it out"
            )
        return self._masked_lm(deep, seed)

    def _init(self, source: Start | Stage, student: Student, keep: Kept, seed: int) -> Stage:
        init = Init(student=student.name, keep=keep, seed=seed)
        return initialise(init, self.settings.running, _place(source))


def given_like(settings: StudySettings, field: str, student: Student) -> Location:
    """Finds the pre-trained model that a setting names for a student.

    Raises:
        SourceError: It is not there.
        SettingsError: It is of another size, or not pre-trained in this way.
    """
    at, shape = _found(settings, field, student)
    if shape != student.shape:
        raise SettingsError(
            f"{at}: expected {student.name}, {_size(student.shape)}, got {_size(shape)}; put {{student}}, "
            "{layers}, {hidden} or {heads} into it, or name other `students`"
        )
    return at


def check_teacher(settings: StudySettings, name: str) -> None:
    """Refuses a teacher that is no classifier.

    Raises:
        SourceError: It is not there.
        SettingsError: It is no model, or one of another kind.
    """
    at = find(name, "model", "teacher", settings.running)
    heads = _heads(at)
    # Code of its own has classes with names of their own.
    another = heads and not settings.label.trust_remote_code and _CLASSIFIER not in heads
    if not config_of(at) or another:
        raise SettingsError(
            f"{at}: expected a fine-tuned classifier whose config.json says so, got "
            f"{heads or 'no such file'}; name another, or leave it out to have one made"
        )


def _found(settings: StudySettings, field: str, student: Student) -> tuple[Location, Shape]:
    at = find(student.fill_in(getattr(settings, field)), "model", field, settings.running)
    shape, heads = shape_of(at), _heads(at)
    if shape is None:
        raise SettingsError(
            f"{at}: expected a pre-trained model, with depth and width in its config.json, found none there; "
            "name another place"
        )
    if _CLASSIFIER in heads:
        raise SettingsError(
            f"{at}: expected a pre-trained model, got a classifier ({heads}), which has learnt a task; name "
            "the model that it was made from"
        )
    # Google's configs name no classes, although their weights have both heads.
    if field == "mlm_plus" and heads and _WITH_SENTENCES not in heads:
        raise SettingsError(
            f"{at}: expected a model with a next-sentence head (BertForPreTraining), got {heads}; name one "
            "that wellread pretrain made with `next_sentence`"
        )
    return at, shape


def _heads(at: Location) -> str:
    """Returns the names of a model's classes, empty where its config has none."""
    heads = config_of(at).get("architectures")
    return ", ".join(map(str, heads)) if isinstance(heads, list) else ""


def _size(shape: Shape) -> str:
    return f"{shape.layers} layers {shape.width} wide"


def _words_of(at: Location) -> frozenset[str] | None:
    """Returns the words of a model's tokenizer; None where loading them would fail."""
    try:
        if (path := fetch(at, "tokenizer.json")) is not None:
            vocabulary = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
            return frozenset(vocabulary) if isinstance(vocabulary, dict) else None
        path = fetch(at, "vocab.txt")
        return None if path is None else frozenset(path.read_text(encoding="utf-8").splitlines())
    except (ValueError, KeyError, TypeError):
        return None


def _place(source: Start | Stage) -> Place:
    return source if isinstance(source, Stage) else str(source.weights)
