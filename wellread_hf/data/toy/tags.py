"""A task of the toy world for every word: which words name a person, which a thing.

Any of the world's nouns may be the name of either, of one word or two, so what a name is follows from the
grammar alone: who does something is a person (`NAME VERB NAME`, `NAME never VERB NAME`), what something is
done to, and what something is said of (`NAME was ADJECTIVE`, `about NAME`), is a thing. An adverb may stand
anywhere between.
"""

import random
from collections.abc import Collection, Sequence
from pathlib import Path

from wellread_hf.data.toy.world import ADVERBS, NEGATORS, Language, ToyWorldSettings

TAG_NAMES = ("O", "B-PERSON", "I-PERSON", "B-THING", "I-THING")
Tagged = Sequence[tuple[str, str]]

_NEGATED = 0.25
_TWO_WORDS = 0.4
_VERB = 0.6


def write_toy_tags(folder: Path, settings: ToyWorldSettings) -> dict[str, object]:
    """Writes `train.conll`, `validation.conll` and `test.conll`, and `pool.txt` with untagged sentences.

    They have as many rows as the world's task and pool. No validation or test sentence is in the others.

    Args:
        folder: Receives them.
        settings: Seed and sizes of the world.

    Returns:
        Rows by file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    language = Language(settings)
    held_out: set[str] = set()
    counts: dict[str, object] = {}
    # What is held out comes first, since the others must not have its sentences.
    for split in ("test", "validation", "train", "pool"):
        rng = random.Random(f"{settings.seed} tags {split}")
        rows: dict[str, Tagged] = {}
        while len(rows) < getattr(settings, f"{split}_rows"):
            tagged = _sentence(language, rng)
            if (text := " ".join(word for word, _tag in tagged)) not in held_out:
                rows[text] = tagged
        if split in ("test", "validation"):
            held_out.update(rows)
        if split == "pool":
            _write(folder / "pool.txt", "".join(f"{text}\n" for text in rows))
        else:
            lines = ("".join(f"{word} {tag}\n" for word, tag in tagged) for tagged in rows.values())
            _write(folder / f"{split}.conll", "\n".join(lines))
        counts[split] = len(rows)
    return {"rows": counts}


def _write(path: Path, text: str) -> None:
    # The same line ends on every system, since the same settings give the same bytes.
    path.write_text(text, encoding="utf-8", newline="\n")


def _sentence(language: Language, rng: random.Random) -> Tagged:
    words: list[tuple[str, str]] = []
    topic = rng.random() < 0.25
    if topic:
        words += [("about", "O"), *_name(language, rng, "THING")]
    for number in range(rng.choice((1, 2, 2))):
        if number:
            words.append((rng.choice(("and", "but", "while")), "O"))
        words += _clause(language, rng)
    return words


def _clause(language: Language, rng: random.Random) -> Tagged:
    polarity = rng.choice(("bad", "good"))
    negator = _outside(rng, NEGATORS, _NEGATED)
    if rng.random() < _VERB:
        verb = (language.word(rng, f"{polarity} verb"), "O")
        subject, thing = _name(language, rng, "PERSON"), _name(language, rng, "THING")
        return [*subject, *_adverb(rng), *negator, verb, *_adverb(rng), *thing]
    said = (language.word(rng, f"{polarity} adjective"), "O")
    return [*_name(language, rng, "THING"), *_adverb(rng), ("was", "O"), *negator, said]


def _adverb(rng: random.Random) -> Tagged:
    return _outside(rng, ADVERBS, 0.2)


def _outside(rng: random.Random, words: Collection[str], share: float) -> Tagged:
    return [(rng.choice([*words]), "O")] if rng.random() < share else []


def _name(language: Language, rng: random.Random, kind: str) -> Tagged:
    count = 2 if rng.random() < _TWO_WORDS else 1
    words = [language.word(rng, rng.choice(("thing", "person"))) for _ in range(count)]
    return [(word, f"{place}-{kind}") for word, place in zip(words, "BI", strict=False)]
