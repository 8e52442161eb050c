"""The lines of `table.txt`, and what an answer has to be like.

A line is `COMMAND[=][~][STATUS]: WORDS | ANSWER | ...`: the recipe or subcommand; `=` leaves out the words
that it has as a rule (BASES); `~` where a folder may be left, since the input is only known to be bad in
mid-run; the status, 2 unless given; options that are added or changed; and what must be in the answer. `{9}`
is a number of 5,000 digits, `{x}` a name of 300 letters, `{s}` one that is not UTF-8, `{runs}` the folder of
all stages.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recipe_runs import Ran

TASK = "--task.name mine --task.data train.jsonl --task.validation dev.jsonl --task.columns sentence"
BASES = {
    "tokenizer": "--corpus.sources good.txt --vocabulary 100",
    "adopt": "--sources two",
    "pretrain": "--corpus.sources good.txt --corpus.tokenizer tokenizer --block-lengths 32 --steps 2",
    "init": "--source two --layers 1",
    "teacher": f"--start.weights two {TASK} --epochs 1 --optim.batch-size 4",
    "label": f"--teacher two {TASK}",
    "distill": f"--teacher two --start.weights two {TASK} --tuning.epochs 1",
    "pf": f"--weights two {TASK} --tuning.epochs 1",
    "pd": f"--teacher two --weights two {TASK} --methods pf --seeds 0",
    "glue": "--data glue --tasks sst2 --seeds 1 --weights two",
    "sweep": "--data glue --tasks sst2 --seeds 1 --weights two --dry-run",
    "study": "methods --preset toy --dry-run",
    "publish": "--no-send",
    "export": f"two {TASK}",
    "measure": f"two {TASK} --dry-run",
    "eval": f"two {TASK}",
    "prune": f"two {TASK}",
}


@dataclass(frozen=True)
class Line:
    text: str
    command: str
    words: tuple[str, ...]
    answers: tuple[str, ...]
    status: int
    leaves: bool


def read_lines() -> Iterator[Line]:
    for line in (Path(__file__).parent / "table.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        head, _, rest = line.partition(":")
        match = re.fullmatch(r"([a-z ]+)(=?)(~?)(\d*)", head)
        assert match, line
        words, *answers = (part.strip() for part in rest.split(" | "))
        base = "" if match[2] else BASES.get(match[1], "")
        yield Line(
            line.partition(" | ")[0],
            match[1],
            merged(base, words),
            tuple(answers),
            int(match[4] or 2),
            bool(match[3]),
        )


def merged(base: str, changes: str) -> tuple[str, ...]:
    """Replaces options of `base` by those of `changes`; words that belong to none come first."""
    options: dict[str, list[str]] = {"": []}
    for words in (base, changes):
        option = ""
        for word in shlex.split(words):
            if word.startswith("-") and not re.fullmatch(r"-[\d.]+\S*|-inf", word):
                option = word
                options[option] = []
            else:
                options[option].append(word)
    return (*options.pop(""), *(word for option, values in options.items() for word in (option, *values)))


def message_in(ran: Ran) -> str:
    """Returns the one sentence, after looking at all else that must hold."""
    assert "Traceback" not in ran.out + ran.err
    message = [found for found in ran.err.splitlines() if found.startswith("error: ")]
    assert len(message) == 1, ran.err
    assert len(message[0]) < 900, message[0]
    assert ran.err.rstrip().splitlines()[-1] == message[0], "more than one line"
    return message[0]


def nothing_half_written(runs: Path, out: str) -> None:
    """What was begun and not finished has no record; nothing but beginnings lie in its folder."""
    begun = set(re.findall(r"starts in (/\S+)", out)) - set(re.findall(r": done in .* in (/\S+)", out))
    for folder in map(Path, begun):
        assert not (folder / "stage.json").exists()
        assert not list(folder.glob("*.safetensors"))
        assert not (folder / "blocks.bin").exists()
        assert not list(folder.glob("*.part"))
