"""A toy world: a small made-up language in which what a word means shows in the company it keeps.

The language says of things whether they are good or bad. Its content words are invented, so their form
shows nothing; its function words are English, so a person can follow. Adjectives and verbs have a hidden
polarity, and a text has a hidden *verdict* on the thing it is about, which the grammar makes of the words:

- a negator turns its clause round: `THING was not ADJECTIVE`, `PERSON never VERB THING`;
- `but` joins two opposite clauses, and the second counts;
- `although` opens a clause that is opposite and does not count, before or after the one that does;
- of two things that differ, `about THING ...` says which one the text is about.

A task sentence's label is its verdict, so it follows from the whole sentence and from no one token. The
corpus is the same language, plainer, with lists of adjectives of one polarity, and says what came of it:
`so PERSON OUTCOME`, in agreement with the verdict. To fill that in, a masked LM has to find out which words
go together and what the function words do to them; the task never shows it.
"""

import json
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy.typing as npt
from pydantic import Field

from wellread_hf.settings.fields import Seed, checked

LABEL_NAMES = ("negative", "positive")

# Every corpus text has so many words. With the separator after it that is 15 tokens, so blocks of 17 hold one
# text and blocks of 32 hold two, each at the same place. Where texts start anywhere in a block, a tiny model
# spends most of a minute on finding out which token stands next to which.
CORPUS_WORDS = 14

Style = Literal["corpus", "task"]
_FORMS = ("list", "plain", "and", "but", "although", "about")
# The task has more forms that are hard to read, which keeps scores off the ceiling (docs/log.md).
_FORM_WEIGHTS: Mapping[Style, tuple[float, ...]] = {
    "corpus": (0.3, 0.15, 0.1, 0.15, 0.2, 0.1),
    "task": (0.0, 0.15, 0.1, 0.3, 0.25, 0.2),
}
_NEGATED: Mapping[Style, float] = {"corpus": 0.15, "task": 0.25}
NEGATORS = ("not", "never", "hardly")
ADVERBS = ("again", "here", "indeed", "now", "soon", "then", "there", "today")
_FUNCTION_WORDS = ("about", "although", "and", "but", "it", "so", "was", "while", *NEGATORS, *ADVERBS)
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_POLARITIES = ("bad", "good")
# Few, so that each is frequent: they get their meaning first, and then the others get theirs from them.
_OUTCOMES = 2
# A class of fewer words has sentences that repeat.
_Words = Annotated[int, Field(ge=5, le=10_000)]
_Rows = Annotated[int, Field(ge=1, le=1_000_000)]


@checked("toy")
class ToyWorldSettings:
    """Seed and sizes of a toy world."""

    seed: Seed = 0
    """Seed of the words and of all sentences."""
    corpus_texts: Annotated[int, Field(ge=1, le=10_000_000)] = 60_000
    """Texts of the raw corpus."""
    # With 200 labels the demo's teacher fell from 80 to 65 (docs/log.md).
    train_rows: _Rows = 500
    """Labelled sentences to train on."""
    validation_rows: _Rows = 1_000
    """Labelled sentences to choose hyperparameters on."""
    test_rows: _Rows = 2_000
    """Labelled sentences to report on."""
    # With 4,000 sentences PD was level with PF (docs/log.md).
    pool_rows: _Rows = 8_000
    """Sentences without labels, for a teacher to label."""
    # With 120 a polarity no class was learnt within a million tokens (docs/log.md).
    adjectives: _Words = 30
    """Adjectives of each polarity."""
    verbs: _Words = 10
    """Verbs of each polarity."""
    things: _Words = 20
    """Nouns for things."""
    people: _Words = 10
    """Nouns for people."""


# Written and learnt in seconds; too small to teach anything.
SMOKE_WORLD = ToyWorldSettings(
    corpus_texts=2_000, train_rows=64, validation_rows=64, test_rows=64, pool_rows=128
)


def write_toy_world(folder: Path, settings: ToyWorldSettings | None = None) -> None:
    """Writes a toy world; the same settings give the same bytes.

    No validation or test sentence is in the training rows, the pool or (before its `so`) the corpus.

    Args:
        folder: Receives `corpus.txt` (a text a line), `task/{train,validation,test}.jsonl` (`sentence` and
            `label`, an index of `LABEL_NAMES`), `pool.jsonl` (`sentence`), `tokenizer/` (for
            `AutoTokenizer`, a piece a word) and `lexicon.json` (content word to hidden class).
        settings: Seed and sizes; default: `ToyWorldSettings()`.
    """
    from transformers import BertTokenizer

    settings = settings or ToyWorldSettings()
    language = Language(settings)
    held_out: set[str] = set()

    def draw(name: str, count: int) -> dict[str, int]:
        # A generator for each part, so that the size of one does not change another.
        rng = random.Random(f"{settings.seed} {name}")
        # By sentence, so that none is in a split twice.
        drawn: dict[str, int] = {}
        while len(drawn) < count:
            verdict = rng.randrange(2)
            drawn[language.sentence(rng, verdict, "task", held_out)] = verdict
        return drawn

    (folder / "task").mkdir(parents=True, exist_ok=True)
    # What is held out comes first, since the others must not have its sentences.
    for split in ("test", "validation", "train"):
        rows = draw(split, getattr(settings, f"{split}_rows"))
        _write_rows(
            folder / "task" / f"{split}.jsonl",
            ({"sentence": sentence, "label": label} for sentence, label in rows.items()),
        )
        if split != "train":
            held_out.update(rows)
    _write_rows(folder / "pool.jsonl", ({"sentence": text} for text in draw("pool", settings.pool_rows)))
    rng = random.Random(f"{settings.seed} corpus")
    texts = (language.corpus_text(rng, held_out) for _ in range(settings.corpus_texts))
    _write_lines(folder / "corpus.txt", texts)
    lexicon = {word: name for name, words in language.words.items() for word in words}
    _write_lines(folder / "lexicon.json", [json.dumps(lexicon, indent=1)])
    pieces = (*_SPECIAL_TOKENS, *_FUNCTION_WORDS, *lexicon)
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    # Not trained: a piece a word keeps the invented words whole. 512 are BERT's positions.
    BertTokenizer(vocab=vocabulary, model_max_length=512).save_pretrained(folder / "tokenizer")


def probe_accuracy(
    embeddings: npt.NDArray[Any], vocabulary: Mapping[str, int], lexicon: Mapping[str, str]
) -> float:
    """Returns how well a linear probe finds the hidden polarity in word embeddings.

    Args:
        embeddings: [pieces, H] a model's word embeddings.
        vocabulary: Row of each piece.
        lexicon: Hidden class of each content word, as in `lexicon.json`.

    Returns:
        Five-fold cross-validated accuracy over adjectives and verbs; chance is 0.5.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = [f"{polarity} {kind}" for polarity in _POLARITIES for kind in ("adjective", "verb")]
    words = sorted(word for word, name in lexicon.items() if name in classes)
    rows = embeddings[[vocabulary[word] for word in words]]
    # Fewer words than dimensions: without strong regularisation any labelling of them is separable.
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1_000))
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
    polarities = [lexicon[word].split()[0] for word in words]
    return float(cross_val_score(probe, rows, polarities, cv=folds).mean())


class Language:
    """Words by hidden class, and the grammar; a verdict and a polarity are 0 (bad) or 1 (good).

    Args:
        settings: Seed and sizes.
        turned: The rare words are the frequent ones.
    """

    def __init__(self, settings: ToyWorldSettings, turned: bool = False) -> None:
        sizes = {"thing": settings.things, "person": settings.people}
        for polarity in _POLARITIES:
            sizes[f"{polarity} adjective"] = settings.adjectives
            sizes[f"{polarity} verb"] = settings.verbs
            sizes[f"{polarity} outcome"] = _OUTCOMES
        invented = iter(_invent_words(random.Random(f"{settings.seed} words"), sum(sizes.values())))
        self.words = {name: [next(invented) for _ in range(size)] for name, size in sizes.items()}
        # Zipf's law, flattened at the top: rare words are where reading more than the labels pays.
        self._weights = {
            name: list(accumulate(1 / (rank + 5) for rank in range(size)[:: -1 if turned else 1]))
            for name, size in sizes.items()
        }

    def sentence(self, rng: random.Random, verdict: int, style: Style, held_out: Collection[str]) -> str:
        """Returns a sentence with this verdict that is not held out."""
        while (text := self._sentence(rng, verdict, style)) in held_out:
            pass
        return text

    def corpus_text(self, rng: random.Random, held_out: Collection[str]) -> str:
        """Returns a sentence, what came of it once or twice, and adverbs up to `CORPUS_WORDS`."""
        verdict = rng.randrange(2)
        words = self.sentence(rng, verdict, "corpus", held_out).split()
        # Often twice: outcomes that stand together are the first thing a masked LM learns of polarity.
        for link in ("so", "and")[: rng.choice((1, 2, 2))]:
            if len(words) + 3 <= CORPUS_WORDS:
                words += [link, self.word(rng, "person"), self.word(rng, f"{_POLARITIES[verdict]} outcome")]
        return " ".join([*words, *rng.sample(ADVERBS, CORPUS_WORDS - len(words))])

    def _sentence(self, rng: random.Random, verdict: int, style: Style) -> str:
        thing = self.word(rng, "thing")

        def says(of: str, polarity: int) -> str:
            return self._clause(rng, of, polarity, _NEGATED[style])

        match rng.choices(_FORMS, _FORM_WEIGHTS[style])[0]:
            case "list":
                name = f"{_POLARITIES[verdict]} adjective"
                *listed, last = (self.word(rng, name) for _ in range(rng.randint(2, 4)))
                return f"{thing} was {' '.join(listed)} and {last}"
            case "plain":
                return says(thing, verdict)
            case "and":
                return f"{says(thing, verdict)} and {says('it', verdict)}"
            case "but":
                return f"{says(thing, 1 - verdict)} but {says('it', verdict)}"
            case "although" if rng.random() < 0.5:
                return f"although {says(thing, 1 - verdict)} {says('it', verdict)}"
            case "although":
                return f"{says(thing, verdict)} although {says('it', 1 - verdict)}"
            case _:
                return f"about {thing} {self._comparison(rng, thing, verdict, says)}"

    def _comparison(
        self, rng: random.Random, thing: str, verdict: int, says: Callable[[str, int], str]
    ) -> str:
        # With one name for both, `about` could not say which clause counts.
        while (other := self.word(rng, "thing")) == thing:
            pass
        clauses = [says(thing, verdict), says(other, 1 - verdict)]
        rng.shuffle(clauses)
        return " while ".join(clauses)

    def _clause(self, rng: random.Random, of: str, polarity: int, negated: float) -> str:
        negator = []
        if rng.random() < negated:
            polarity, negator = 1 - polarity, [rng.choice(NEGATORS)]
        if rng.random() < 0.7:
            return " ".join([of, "was", *negator, self.word(rng, f"{_POLARITIES[polarity]} adjective")])
        verb = self.word(rng, f"{_POLARITIES[polarity]} verb")
        return " ".join([self.word(rng, "person"), *negator, verb, of])

    def word(self, rng: random.Random, name: str) -> str:
        """Returns a word of a hidden class, the frequent ones more often."""
        return rng.choices(self.words[name], cum_weights=self._weights[name])[0]


def _invent_words(rng: random.Random, count: int) -> Collection[str]:
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    # A dict keeps the order of drawing; a set of strings has another order in each process.
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choices(syllables, k=rng.choice((2, 3))))] = None
    return words


def _write_rows(path: Path, rows: Iterable[Mapping[str, str | int]]) -> None:
    _write_lines(path, (json.dumps(row) for row in rows))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    # The same line ends on every system, since the same settings give the same bytes.
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
