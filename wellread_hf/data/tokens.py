"""Text to token ids: any number of processes tokenise shards of it, with the same result.

A shard is a run of whole texts of some four million characters, and a file of its own. A process that is free
takes the next one, what a killed run had finished is kept, and all else reads the shards in order.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wellread_hf.store.claims import claims
from wellread_hf.store.progress import bar
from wellread_hf.store.records import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# A second or two of work: little to lose or to wait for, and 5,000 files for all that BERT read.
_SHARD_CHARACTERS = 4_000_000
# Characters tokenised in one call: enough to keep every core busy, little enough to stay flat in memory.
_BATCH_CHARACTERS = 1_000_000
# Words whose ids are remembered, in some 200 bytes each.
_MOST_WORDS = 1 << 18
# New words tokenised as one text.
_WORDS_AT_ONCE = 1_000
# ASCII white space and punctuation always end a word for BERT's normalizer and pre-tokenizer. The frequent
# marks are enough.
_SPACES = "\n\t"
_MARKS = ",.()\"'-"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The ids of some texts, one after another and without special tokens, and each text's number of them."""

    ids: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence["Tokens"]) -> "Tokens":
        """Returns texts after texts."""
        return cls(
            np.concatenate([part.ids for part in parts]), np.concatenate([part.lengths for part in parts])
        )

    @classmethod
    def read(cls, path: Path) -> "Tokens":
        """Reads a shard."""
        with path.open("rb") as file:
            return cls(np.load(file), np.load(file))

    def write(self, path: Path) -> None:
        """Writes a shard, whole or not at all."""
        file = io.BytesIO()
        np.save(file, self.ids)
        np.save(file, self.lengths)
        write_atomically(path, file.getvalue())


def id_dtype(tokenizer: Any) -> np.dtype[Any]:
    """Returns the narrowest type that holds a tokenizer's ids."""
    return np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)


def tokens_of(texts: Iterable[str], tokenizer: "PreTrainedTokenizerFast") -> Iterator[Tokens]:
    """Yields the ids of one batch of texts at a time, in order; a bar counts them."""
    tokenised = _tokeniser(tokenizer)
    with bar("packing", "tokens", unit_scale=True) as shown:
        for batch in _batches(texts, _BATCH_CHARACTERS):
            tokens = tokenised(batch)
            shown.update(len(tokens.ids))
            yield tokens


def share_out(
    texts: Callable[[], Iterable[str]],
    tokenizer: "PreTrainedTokenizerFast",
    folder: Path,
    is_over: Callable[[], bool],
) -> list[Path]:
    """Tokenises a corpus together with all processes that call this, until all of its shards are there.

    Every process reads all of the text, which takes a small part of the time, and tokenises the shards that
    no other has claimed.

    Args:
        texts: Streams the corpus from its start.
        tokenizer: The tokenizer, which uses all cores.
        folder: Receives the shards.
        is_over: Whether others have finished all and may have removed the shards.

    Returns:
        The shards' files, in order.
    """
    tokenised = _tokeniser(tokenizer)
    paths: list[Path] = []
    busy: list[int] = []

    def make(shard: Sequence[str], path: Path) -> None:
        parts = [tokenised(batch) for batch in _batches(shard, _BATCH_CHARACTERS)]
        Tokens.joined(parts).write(path)
        shown.update(sum(len(part.ids) for part in parts))

    with bar("packing", "tokens", unit_scale=True) as shown:
        for number, shard in enumerate(_batches(texts(), _SHARD_CHARACTERS)):
            if is_over():
                return []
            paths.append(folder / f"{number:06d}.tokens")
            busy.append(number)
            for _, mine in claims(paths[-1:], wait=False):
                busy.pop()
                if mine:
                    make(shard, paths[-1])
        # What others work on; a lost one's is made here, from the text read again.
        for index, mine in claims([paths[number] for number in busy]):
            if mine and not is_over():
                shard = next(islice(_batches(texts(), _SHARD_CHARACTERS), busy[index], None))
                make(shard, paths[busy[index]])
    return paths


def _batches(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Yields runs of whole texts of so many characters at least, but for the last."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _tokeniser(tokenizer: "PreTrainedTokenizerFast") -> Callable[[Sequence[str]], Tokens]:
    """Returns what tokenises texts, by words where that can be done; the ids are the same either way."""
    backend = tokenizer.backend_tokenizer
    # All three are left over from the last call, or from the one before saving; transformers sets them anew.
    backend.no_truncation()
    backend.no_padding()
    # A `[SEP]` that somebody wrote separates nothing.
    backend.encode_special_tokens = True
    dtype = id_dtype(tokenizer)
    if _reads_words(backend):
        return _Words(backend, str(tokenizer.sep_token), dtype)

    def tokenised(texts: Sequence[str]) -> Tokens:
        # The fast path: no offsets, Rust threads on all cores.
        rows = [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
        ids = np.fromiter(chain.from_iterable(rows), dtype)
        return Tokens(ids, np.fromiter(map(len, rows), np.int64, len(rows)))

    return tokenised


def _reads_words(backend: Any) -> bool:
    """Returns whether a tokenizer is BERT's, which treats each word by itself."""
    kinds = [type(part).__name__ for part in (backend.normalizer, backend.pre_tokenizer, backend.model)]
    added = backend.get_added_tokens_decoder().values()
    # A word that was added would be found across borders.
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and all(
        token.special and not token.normalized and not any(map(str.isspace, token.content)) for token in added
    )


class _Words:
    """Tokenises each word once, since a corpus repeats its words.

    Args:
        backend: A tokenizer that reads words.
        separator: One of its special tokens.
        dtype: Of the ids.
    """

    def __init__(self, backend: Any, separator: str, dtype: np.dtype[Any]) -> None:
        self.backend, self.separator, self.dtype = backend, separator, dtype
        self.special = [token.content for token in backend.get_added_tokens_decoder().values()]
        # The ids of a word, as bytes.
        self.known: dict[str, bytes] = {}

    def __call__(self, texts: Sequence[str]) -> Tokens:
        rows = [_split(text) for text in texts]
        if len(self.known) > _MOST_WORDS:
            self.known.clear()
        # Sorted, so that what is tokenised together depends on nothing but the text.
        new = sorted(set(chain.from_iterable(rows)).difference(self.known))
        parts = [new[start : start + _WORDS_AT_ONCE] for start in range(0, len(new), _WORDS_AT_ONCE)]
        for part, ids in zip(parts, self._ids_of(parts), strict=True):
            self.known.update(zip(part, ids, strict=True))
        raw = [b"".join(map(self.known.__getitem__, words)) for words in rows]
        lengths = np.fromiter(map(len, raw), np.int64, len(raw)) // self.dtype.itemsize
        return Tokens(np.frombuffer(b"".join(raw), self.dtype), lengths)

    def _ids_of(self, parts: Sequence[Sequence[str]]) -> Iterator[Sequence[bytes]]:
        """Tokenises words as texts of many, which takes 0.6 of the time of as many texts."""
        between = f" {self.separator} "
        self.backend.encode_special_tokens = False
        texts = [between.join(part) + between for part in parts]
        found = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        self.backend.encode_special_tokens = True
        end = self.backend.token_to_id(self.separator)
        for part, encoding in zip(parts, found, strict=True):
            ids = np.array(encoding.ids, self.dtype)
            ends = np.flatnonzero(ids == end)
            # Words in which somebody wrote a special token take the slow way.
            if len(ends) != len(part) or any(special in " ".join(part) for special in self.special):
                alone = self.backend.encode_batch_fast(part, add_special_tokens=False)
                yield [np.array(encoding.ids, self.dtype).tobytes() for encoding in alone]
                continue
            raw, size = ids.tobytes(), self.dtype.itemsize
            starts = [0, *((ends[:-1] + 1) * size).tolist()]
            yield [raw[start:stop] for start, stop in zip(starts, (ends * size).tolist(), strict=True)]


def _split(text: str) -> list[str]:
    """Splits a text where words end for certain; pieces may be empty, or several words still."""
    for space in _SPACES:
        text = text.replace(space, " ")
    for mark in _MARKS:
        text = text.replace(mark, f" {mark} ")
    return text.split(" ")
