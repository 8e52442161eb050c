"""A small task whose texts are put to a chat server, and the command that does it."""

import hashlib
import json
from pathlib import Path

from chat_server import ChatServer, Tokens

from wellread_hf.store.records import StageRecord

KEY = "not-a-real-key-for-tests"
TEMPLATE = "Review: {{ sentence }}\nIs the review good or bad? It is"
TRAIN = [
    (f"it was {word} {number}", label) for number in range(4) for label, word in enumerate(("dull", "fun"))
]
VALIDATION = [
    (f"then {word} {number}", label) for number in range(5) for label, word in enumerate(("dull", "fun"))
]
# Two rows have one text.
POOL = [f"about {number} hours" for number in range(30)] + ["about 3 hours"]


def score(prompt: str) -> float:
    """What the model says of a prompt, from 0 to 1: surely right where a word gives it away."""
    if "fun" in prompt or "dull" in prompt:
        return 0.9 if "fun" in prompt else 0.1
    return 0.05 + 0.9 * hashlib.sha256(prompt.encode()).digest()[0] / 255


def says(prompt: str) -> Tokens:
    good = 0.8 * score(prompt)
    return [
        ("bad", 0.5 * (0.8 - good)),
        (" Bad", 0.5 * (0.8 - good)),
        (" good", good),
        ("The", 0.15),
        ("A", 0.05),
    ]


def prompt_of(text: str) -> str:
    return TEMPLATE.replace("{{ sentence }}", text)


class Place:
    """A task, a pool and a prompt in a folder, and the command that labels the pool."""

    def __init__(self, folder: Path, server: ChatServer) -> None:
        self.folder, self.server, self.runs = folder, server, folder / "runs"
        for name, rows in {"train": TRAIN, "validation": VALIDATION}.items():
            lines = [json.dumps({"sentence": text, "label": ("neg", "pos")[label]}) for text, label in rows]
            (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        (folder / "pool.jsonl").write_text("".join(json.dumps({"sentence": text}) + "\n" for text in POOL))
        (folder / "prompt.jinja").write_text(TEMPLATE)

    def words(self, *more: object) -> list[object]:
        task = ["--task", "mine", "--task.columns", "sentence"]
        task += [word for name, file in (("data", "train"), ("validation", "validation"))
                 for word in (f"--task.{name}", str(self.folder / f"{file}.jsonl"))]  # fmt: skip
        return [
            *("--endpoint", self.server.url, "--endpoint.model", "small", *task),
            *("--transfer", f"{self.folder / 'pool.jsonl'},column=sentence"),
            *("--prompt", self.folder / "prompt.jinja", "--label-words", "bad", "good"),
            *("--runs", self.runs, *more),
        ]

    @property
    def stage(self) -> Path:
        (folder,) = self.runs.glob("label-*")
        return folder

    @property
    def record(self) -> StageRecord:
        return StageRecord.read(self.stage)

    @property
    def journal(self) -> Path:
        return self.stage / "checkpoints/answers.jsonl"
