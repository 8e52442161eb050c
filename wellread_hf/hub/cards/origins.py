"""Where weights and text come from, as a card says it: the Hub, a folder, pre-training, growing, adoption."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic.dataclasses import dataclass

from wellread_hf.hub.cards.shipped_facts import STRICT
from wellread_hf.hub.names import is_repo_id
from wellread_hf.students import Student


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Origin:
    """Content that went in, known by its fingerprint (`places.Location`)."""

    fingerprint: str  # `hub:ID@COMMIT`, `sha256:...` or `stage:DIGEST:PATH`

    @property
    def hub_id(self) -> str | None:
        """The Hub id, if the content came from the Hub and the id is one."""
        repo_id = self.fingerprint.removeprefix("hub:").rpartition("@")[0]
        return repo_id if self.fingerprint.startswith("hub:") and is_repo_id(repo_id) else None

    @property
    def revision(self) -> str | None:
        """The Hub commit, 40 hexadecimal digits; None for a branch or for what did not come from the Hub."""
        tail = self.fingerprint.rpartition("@")[2]
        return tail if self.hub_id is not None and re.fullmatch(r"[0-9a-f]{40}", tail) else None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Source:
    """A source of plain text: which content, and which part of it."""

    origin: Origin
    config: str | None
    split: str
    columns: tuple[str, ...]
    rows: int | None

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> "Source":
        """Reads what a stage's record says about a source."""
        return cls(
            origin=Origin(fingerprint=identity["name"]),
            config=identity["config"],
            split=identity["split"],
            columns=tuple(identity["columns"]),
            rows=identity.get("rows"),
        )


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Grown:
    """First weights that are those of a smaller student that had learnt, stacked and widened."""

    student: Student  # the smaller one
    origin: Origin
    layers: tuple[int, ...]  # of the smaller one, counted from 1, in the order of the larger one's


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Pretraining:
    """A finished masked-LM pre-training."""

    sources: tuple[Source, ...]  # empty where the record of the packing is gone
    corpus_tokens: int | None  # packed into the longest blocks
    tokenizer: Origin
    tokens: int  # seen in training
    steps: int
    start: Origin | None  # None: random weights
    grown: Grown | None  # what it grew from, in the first run of several
    random: bool  # it began with random weights, in the first run of several
    earlier_tokens: int  # seen in runs that this one went on from
    loss: float  # held-out masked-LM loss, in nats
    unigram_loss: float  # that of word frequencies alone
    schedule: tuple[tuple[str, str], ...]  # settings: name, value
    seconds: float  # wall time of training
    seed: int
    languages: tuple[str, ...] = ()  # of the text, as its maker states them; empty: as the sources say


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Adoption:
    """Weights that were taken over and compared with the original."""

    source: Origin
    parity: float  # largest absolute difference of a logit
    sentences: int  # compared

    @property
    def googles(self) -> bool:
        """Whether the source is Google's release; of a copy elsewhere nobody here can know."""
        return str(self.source.hub_id).startswith("google/bert_uncased_L-")
