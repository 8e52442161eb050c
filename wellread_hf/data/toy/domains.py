"""Text of the toy world from other domains than the task's: the same words, in other company and amounts.

- *near*: sentences of the corpus' kind, plainer, with lists of adjectives;
- *far*: the words that are rare in the task are the frequent ones, and three texts of four are chronicles,
  which say who did what and pass no verdict on anything.

By the rank correlation of their word frequencies with those of the task's training sentences (settings as
they come) the task's own pool is at 0.95, near at 0.83, far at -0.12.
"""

import json
import random
from collections.abc import Collection
from pathlib import Path

from wellread_hf.data.toy.world import ADVERBS, Language, ToyWorldSettings

_CHRONICLES = 0.75


def write_toy_domains(folder: Path, settings: ToyWorldSettings, task: Path) -> dict[str, object]:
    """Writes `near.jsonl` and `far.jsonl` with a column `sentence`, as many rows as the world's pool has.

    No validation or test sentence begins one of them.

    Args:
        folder: Receives them.
        settings: Seed and sizes of the world.
        task: The world's task: `validation.jsonl`, `test.jsonl`.

    Returns:
        Rows by domain.
    """
    held_out = {
        json.loads(line)["sentence"]
        for split in ("validation", "test")
        for line in (task / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    }
    folder.mkdir(parents=True, exist_ok=True)
    usual, turned = Language(settings), Language(settings, turned=True)
    for name in ("near", "far"):
        # A generator of its own, so that one file does not depend on the other.
        rng = random.Random(f"{settings.seed} {name}")
        # A dict has each text once, in order; a set of strings has another order in each process.
        texts: dict[str, None] = {}
        while len(texts) < settings.pool_rows:
            texts[_near(usual, rng, held_out) if name == "near" else _far(turned, rng, held_out)] = None
        lines = [json.dumps({"sentence": text}) + "\n" for text in texts]
        # The same line ends on every system, since the same settings give the same bytes.
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    return {name: settings.pool_rows for name in ("near", "far")}


def _near(language: Language, rng: random.Random, held_out: Collection[str]) -> str:
    return language.sentence(rng, rng.randrange(2), "corpus", held_out)


def _far(language: Language, rng: random.Random, held_out: Collection[str]) -> str:
    if rng.random() >= _CHRONICLES:
        return language.corpus_text(rng, held_out)
    events = []
    for _ in range(rng.randint(2, 3)):
        did = language.word(rng, rng.choice(("bad outcome", "good outcome")))
        events.append(" ".join([language.word(rng, "person"), did, *rng.sample(ADVERBS, rng.randint(1, 2))]))
    return " and ".join(events)
