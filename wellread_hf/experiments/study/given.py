"""Models that others have trained: found by a pattern, and refused where they are no such models."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.study.arms import Arm, Domain, Weights
from wellread_hf.experiments.study.study_settings import StudySettings
from wellread_hf.settings import Running, Start
from wellread_hf.stages.inputs import TASK, find
from wellread_hf.stages.objectives import config_of, shape_of
from wellread_hf.store.places import fetch
from wellread_hf.store.stage import Location
from wellread_hf.students import Shape, Student

# The setting that names models to start from, by where an arm's weights come from.
GIVEN_BY: dict[Weights, str] = {
    "pre-trained": "weights",
    "word embeddings": "weights",
    "truncated": "deep",
    "distilled MLM": "deep",
    "pre-trained, MLM+": "mlm_plus",
}
# The setting that names the sources of each domain.
SOURCES: dict[Domain, str] = {"in": "transfer", "near": "near", "far": "far"}
_CLASSIFIER, _WITH_SENTENCES = "ForSequenceClassification", "ForPreTraining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A pattern for pre-trained students that lie somewhere.

    Attributes:
        option: The option that names it.
        pattern: Hub id or folder, filled in by `Student.fill_in`.
        running: Where stages are.
        next_sentence: They have been pre-trained with next sentences, too.
    """

    option: str
    pattern: str
    running: Running
    next_sentence: bool = False

    def like(self, student: Student) -> Start:
        """Returns the one for a student.

        Raises:
            SourceError: It is not there.
            SettingsError: It is of another size, or not pre-trained in this way.
        """
        name, shape = self._found(student)
        if shape != student.shape:
            raise SettingsError(
                f"{self.option} {self.pattern}: expected {student.name}, {_told(student.shape)}, got "
                f"{_told(shape)}; put {{student}}, {{layers}}, {{hidden}} or {{heads}} into it, or name "
                "other `students`"
            )
        return Start(weights=name)

    def deeper(self, student: Student, layers: int) -> Start:
        """Returns the one for a student of so many layers that a shallower one takes some of.

        Raises:
            SourceError: It is not there.
            SettingsError: It is not deeper, of another width, or not pre-trained in this way.
        """
        name, shape = self._found(Student(layers, student.hidden))
        if shape.layers <= student.layers or shape.width != student.hidden:
            raise SettingsError(
                f"{self.option} {self.pattern}: expected more layers than {student.name} has and its width, "
                f"{student.hidden}, got {_told(shape)}; name a deeper one as wide ({{layers}} is filled in "
                "from `deep_layers`)"
            )
        return Start(weights=name)

    def _found(self, student: Student) -> tuple[str, Shape]:
        name = student.fill_in(self.pattern)
        found = find(name, "model", self.option.strip("`"), self.running)
        shape = shape_of(found)
        if shape is None:
            raise SettingsError(
                f"{self.option} {name}: expected a pre-trained model, whose config.json tells layers and "
                "width, found none there; name another place"
            )
        heads = _heads(found)
        if _CLASSIFIER in heads:
            raise SettingsError(
                f"{self.option} {name}: expected a pre-trained model, got a classifier ({heads}), which has "
                "learnt a task; name the model that it was made from"
            )
        if self.next_sentence and heads and _WITH_SENTENCES not in heads:
            raise SettingsError(
                f"{self.option} {name}: expected a model with a next-sentence head (BertForPreTraining), got "
                f"{heads}; name one that recipes/pretrain.py `next_sentence` made"
            )
        return name, shape


def check_teacher(name: str, running: Running, own_code: bool) -> None:
    """Refuses a teacher that is no classifier.

    Args:
        name: Hub id or folder.
        running: Where stages are.
        own_code: It brings code of its own, whose classes have names of their own.

    Raises:
        SourceError: It is not there.
        SettingsError: It is no model, or one of another kind.
    """
    found = find(name, "model", "teacher", running)
    heads = _heads(found)
    another = heads and not own_code and _CLASSIFIER not in heads
    if not config_of(found) or another:
        raise SettingsError(
            f"`teacher` {name}: expected a fine-tuned classifier, with a config.json that tells so, got "
            f"{heads or 'no such file'}; name another, or leave it out to have one made"
        )


def words_of(model: Location) -> frozenset[str] | None:
    """Returns the words of a model's tokenizer; None where its files do not tell them."""
    try:
        if (path := fetch(model, "tokenizer.json")) is not None:
            vocabulary = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
            return frozenset(vocabulary) if isinstance(vocabulary, dict) else None
        path = fetch(model, "vocab.txt")
        return None if path is None else frozenset(path.read_text(encoding="utf-8").splitlines())
    except (ValueError, KeyError, TypeError):
        # Whoever loads the tokenizer tells what is wrong with it.
        return None


def check_words(told: Mapping[str, frozenset[str] | None]) -> None:
    """Refuses models and tokenizers of other words in one study, whose arms would differ in that as well.

    Args:
        told: The words by what named them.

    Raises:
        SettingsError: Two differ.
    """
    known = [(named, words) for named, words in told.items() if words is not None]
    for named, words in known[1:]:
        first, ours = known[0]
        if words != ours:
            raise SettingsError(
                f"{first} and {named}: expected the same words, so that arms differ in one thing, got "
                f"{len(ours):,} and {len(words):,}, {len(ours & words):,} of them in both; give models of "
                "one tokenizer"
            )


def _heads(found: Location) -> str:
    """Returns the names of a model's classes, empty where its config tells none."""
    heads = config_of(found).get("architectures")
    return ", ".join(map(str, heads)) if isinstance(heads, list) else ""


def _told(shape: Shape) -> str:
    return f"{shape.layers} layers {shape.width} wide"


def names_here(settings: StudySettings, arm: Arm | None) -> dict[str, str]:
    """Returns what a study calls the settings of its stages, for `WellreadError.renamed`.

    Args:
        settings: The study's.
        arm: What the stages are a part of; None: the teacher.
    """
    # Weights that are drawn have the words of given ones.
    weights = "corpus.tokenizer" if settings.weights is None else "weights"
    sources, rows = SOURCES["in"], "budget.transfer_rows"
    if arm is not None:
        weights, sources = GIVEN_BY.get(arm.weights, weights), SOURCES[arm.domain]
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
