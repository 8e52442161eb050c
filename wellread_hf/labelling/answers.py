"""A server's answers about label words, and the journal that keeps each as soon as it has come."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import log
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from wellread_hf.errors import LabelError

# With less of the probability than this the label words are no answer to a prompt.
LITTLE = 0.01
# Below this a word's probability is that of noise; its logarithm, -20.7, stays an ordinary number.
_LEAST = 1e-9
# Tokens begin with a space in most vocabularies, some of which write it as a sign; a model may quote a word.
_AROUND = " \t\r\n▁Ġ\"'`*.,:;"
# Letters: a shorter beginning is that of too many other words.
_BEGINNING = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said of one prompt.

    Attributes:
        log_probs: Log-probability of each label word, normalised over them [words].
        mass: Probability, 0 to 1, that the model gave to all label words together.
        shared: Probability of tokens that several label words begin with; no part of `mass`.
        tokens_in: Tokens of the prompt, as the server counts them.
        tokens_out: Tokens of the answer.
        constrained: Whether the server took the list of label words as a constraint.
        model: The model's name, as the server says it.
        fingerprint: The server's `system_fingerprint`; None where it gives none.
        refused: What the server said where it refused the prompt; its words are then alike likely.
    """

    log_probs: tuple[float, ...]
    mass: float
    shared: float
    tokens_in: int
    tokens_out: int
    constrained: bool
    model: str
    fingerprint: str | None
    refused: str | None = None

    @classmethod
    def of_refusal(cls, said: str, words: int) -> "Answer":
        """Returns what is kept of a prompt that the server refused."""
        return cls((-log(words),) * words, 0.0, 0.0, 0, 0, False, "", None, said)


def check_beginnings(words: Sequence[str]) -> None:
    """Refuses label words that no first token can distinguish.

    Raises:
        LabelError: One is empty, begins another one, or begins with the same word.
    """
    plain = [word.strip(_AROUND).casefold() for word in words]
    for at, word in enumerate(plain):
        if not word:
            raise LabelError(f"`prompt.label_words`: expected words, got {words[at]!r}; give one a class")
        for before, other in zip(words, plain[:at], strict=False):
            if word.startswith(other) or other.startswith(word) or word.split()[0] == other.split()[0]:
                raise LabelError(
                    f"`prompt.label_words`: {before!r} and {words[at]!r} begin alike, but an answer's first "
                    "token has to distinguish them; take words that begin differently, or A B C"
                )


def probabilities_of(
    tokens: Sequence[tuple[str, float]], words: Sequence[str]
) -> tuple[tuple[float, ...], float, float]:
    """Returns what the likeliest first tokens say of label words: `log_probs`, `mass` and `shared`.

    A token stands for the word that it is, or that it begins with two letters or more, whatever its case and
    the spaces around it. The tokens of a word are summed up. A word without any is at most as likely as the
    least likely token that is listed, and as all tokens together that are not: it gets the smaller of the
    two. Source of the bound: the listed tokens are the likeliest ones.

    Args:
        tokens: The likeliest first tokens, each with its natural log-probability.
        words: The label words.
    """
    listed = [float(np.exp(min(value, 0.0))) for _, value in tokens]
    plain = [word.strip(_AROUND).casefold() for word in words]
    found, shared = np.zeros(len(words)), 0.0
    for (token, _), probability in zip(tokens, listed, strict=True):
        begun = token.strip(_AROUND).casefold()
        meant = [
            at
            for at, word in enumerate(plain)
            if begun == word or (len(begun) >= _BEGINNING and word.startswith(begun))
        ]
        if len(meant) == 1:
            found[meant[0]] += probability
        elif meant:
            shared += probability
    mass, rest = float(found.sum()), 1.0 - sum(listed)
    unlisted = min([*listed, rest])
    logs = np.log(np.maximum(found, max(unlisted, _LEAST)))
    return tuple((logs - np.logaddexp.reduce(logs)).tolist()), mass, shared


class Journal:
    """The answers of a stage, one line each, on the disk before the next question is asked.

    A line that a kill cut off is dropped when the file is opened again.

    Attributes:
        answers: By the key of the question.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.answers = read_answers(path)
        self._file = path.open("ab")
        self._file.truncate(_whole_lines(path.read_bytes()))

    def add(self, key: str, answer: Answer) -> None:
        """Keeps an answer; it is on the disk when this returns."""
        line = json.dumps({"key": key} | asdict(answer), separators=(",", ":"))
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        # A millisecond or so, beside a request's hundreds.
        os.fsync(self._file.fileno())
        self.answers[key] = answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_answers(path: Path) -> dict[str, Answer]:
    """Reads a journal's answers by their keys; none where there is no journal."""
    raw = path.read_bytes() if path.is_file() else b""
    return dict(filter(None, map(_read, raw[: _whole_lines(raw)].splitlines())))


def _whole_lines(raw: bytes) -> int:
    """Returns how many bytes are whole lines: a kill may have cut the last one off."""
    return raw.rfind(b"\n") + 1


def _read(line: bytes) -> tuple[str, Answer] | None:
    """Reads a line of the journal; None where it is damaged, so that its row is asked again."""
    try:
        found: dict[str, Any] = json.loads(line)
        values = {field.name: found[field.name] for field in fields(Answer)}
        return str(found["key"]), Answer(**values | {"log_probs": tuple(values["log_probs"])})
    except (ValueError, TypeError, KeyError):
        return None
