"""Packing: text becomes blocks of token ids of one length, in one memory-mapped file."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.tokens import Tokens, id_dtype
from wellread_hf.errors import DataError, StoreError, TokenizerError
from wellread_hf.store.records import commit, removed_if_failed

BLOCKS = "blocks.bin"
# One block in this many is held out to measure the loss on text that was not trained on.
_HELD_OUT_EVERY = 200
_HELD_OUT_MOST = 1_000
# Of a corpus that fits its tokenizer a few words in a thousand are unknown; of one in another script all but
# figures, punctuation and foreign names.
_MOST_UNKNOWN = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What packing made; enough to open the file again and to notice damage."""

    blocks: int
    block_length: int
    dtype: str
    tokens: int
    texts: int
    left_out: int
    sha256: str


def masked_positions_per_block(block_length: int, mask_share: float) -> int:
    """Returns how many positions of a block are predicted: `mask_share` · T, rounded, at least 1."""
    return max(1, round(mask_share * block_length))


def check_tokenizer(tokenizer: Any, name: str) -> None:
    """Refuses a tokenizer that masked-LM pre-training cannot use.

    Raises:
        TokenizerError: It is not a fast one, or lacks a mask, [CLS] or [SEP] token.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise TokenizerError(
            f"{name}: expected a fast tokenizer (tokenizer.json), got a slow one; convert it or train "
            "one with wellread tokenizer"
        )
    for role in ("mask_token", "cls_token", "sep_token", "pad_token"):
        if getattr(tokenizer, role) is None:
            raise TokenizerError(
                f"{name}: expected a tokenizer with a {role}, got one without; take a BERT-like "
                "tokenizer or train one with wellread tokenizer"
            )


def pack(
    tokens: Iterable[Tokens],
    tokenizer: Any,
    block_length: int,
    masked: int,
    folder: Path,
) -> Packing:
    """Writes `[CLS] text [SEP] text ... [SEP]` blocks of exactly `block_length` ids to `folder`.

    Texts follow each other with one separator between them and may be cut by a block's end, as in
    BERT's own pre-training; no padding. The last, short block is dropped. A block with fewer than
    `masked` ordinary tokens (nearly all unknown words) is left out and counted.

    Args:
        tokens: The corpus; read once, a part in memory at a time.
        tokenizer: What cut it.
        block_length: Ids a block, special tokens included.
        masked: Positions that the masked LM will score in each block.
        folder: Receives `blocks.bin`, whole or not at all.

    Raises:
        DataError: The corpus is empty or fills less than two blocks (one is held out), or nearly all of its
            words are unknown to the tokenizer.
    """
    count = Counts()

    def kept() -> Iterator[tuple[npt.NDArray[Any]]]:
        stream = _id_stream(tokens, tokenizer, count)
        for blocks in _blocks(stream, block_length, tokenizer.cls_token_id, tokenizer.sep_token_id):
            ordinary = (~np.isin(blocks, tokenizer.all_special_ids)).sum(axis=1)
            yield (blocks[count.chosen(ordinary >= masked)],)
        count.check_known(tokenizer)
        if count.rows < 2:
            raise DataError(
                f"the corpus is too short: expected at least two blocks of {block_length} tokens, got "
                f"{count.texts} texts with {count.tokens} tokens; give more text or a smaller `block_lengths`"
            )

    sha256 = write_rows(folder, [BLOCKS], kept())
    return Packing(**count.packing(block_length, id_dtype(tokenizer)), sha256=sha256)


def write_rows(folder: Path, names: Sequence[str], batches: Iterable[tuple[npt.NDArray[Any], ...]]) -> str:
    """Writes arrays to files, batch after batch, one file an array; each is whole or not there.

    Returns:
        The SHA-256 of all that was written.
    """
    beside = [folder / f"{name}.part" for name in names]
    checksum = hashlib.sha256()
    with removed_if_failed(*beside), ExitStack() as stack:
        files = [stack.enter_context(path.open("w+b")) for path in beside]
        for arrays in batches:
            for file, values in zip(files, arrays, strict=True):
                file.write(np.ascontiguousarray(values).tobytes())
        for file in files:
            file.flush()
            # Or a crash of the machine could leave a name without content.
            os.fsync(file.fileno())
            # File after file, so that it does not depend on the batches.
            file.seek(0)
            while piece := file.read(1 << 20):
                checksum.update(piece)
    for path, name in zip(beside, names, strict=True):
        commit(path, folder / name)
    return checksum.hexdigest()


@dataclass(slots=True)
class Counts:
    """What has gone through the packer so far: `tokens` with separators, `words` without."""

    texts: int = 0
    tokens: int = 0
    words: int = 0
    unknown: int = 0
    rows: int = 0
    left_out: int = 0

    def add(self, tokens: Tokens, tokenizer: Any) -> None:
        """Counts some texts, without separators."""
        self.texts += len(tokens.lengths)
        self.tokens += len(tokens.ids)
        self.words += len(tokens.ids)
        # Tokenizers of bytes know every text, and have no such token.
        if tokenizer.unk_token_id is not None:
            self.unknown += int((tokens.ids == tokenizer.unk_token_id).sum())

    def chosen(self, enough: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Counts rows that have enough ordinary tokens, and those that are left out."""
        self.rows += int(enough.sum())
        self.left_out += int((~enough).sum())
        return enough

    def check_known(self, tokenizer: Any) -> None:
        """Refuses a corpus in a language or script that the tokenizer does not know.

        Raises:
            DataError: More than three quarters of its tokens are unknown words: there is little to predict.
        """
        if self.unknown > _MOST_UNKNOWN * self.words:
            raise DataError(
                f"the corpus does not fit the tokenizer: expected known words, got {self.unknown:,} unknown "
                f"ones ({tokenizer.unk_token}) among {self.words:,} tokens; take a tokenizer for its "
                "language and script, or train one (wellread tokenizer)"
            )

    def packing(self, block_length: int, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Returns what a `Packing` says of the rows."""
        counts = {"blocks": self.rows, "tokens": self.tokens, "texts": self.texts, "left_out": self.left_out}
        return {**counts, "block_length": block_length, "dtype": dtype.name}


def _id_stream(tokens: Iterable[Tokens], tokenizer: Any, count: Counts) -> Iterator[npt.NDArray[Any]]:
    """Yields the ids of some texts at a time, every text followed by the separator."""
    for part in tokens:
        # An empty text would leave two separators side by side.
        ends = np.cumsum(part.lengths)[part.lengths > 0]
        ids = np.insert(part.ids, ends, tokenizer.sep_token_id)
        count.add(part, tokenizer)
        count.tokens += len(ends)
        yield ids


def _blocks(
    stream: Iterable[npt.NDArray[Any]], block_length: int, first: int, last: int
) -> Iterator[npt.NDArray[Any]]:
    """Cuts the stream into [n, block_length] arrays, each row between `first` and `last`."""
    # [CLS] and [SEP] take two.
    inner = block_length - 2
    rest: npt.NDArray[Any] | None = None
    for ids in stream:
        ids = ids if rest is None else np.concatenate([rest, ids])
        whole = len(ids) // inner
        blocks = np.empty((whole, block_length), dtype=ids.dtype)
        blocks[:, 0], blocks[:, -1] = first, last
        blocks[:, 1:-1] = ids[: whole * inner].reshape(whole, inner)
        rest = ids[whole * inner :]
        yield blocks


@dataclass(frozen=True, slots=True)
class Blocks:
    """A packed corpus, memory-mapped: `train` and `held_out` are [n, block_length] views by row index."""

    ids: npt.NDArray[Any]

    @classmethod
    def open(cls, folder: Path, packing: Packing) -> "Blocks":
        """Maps `blocks.bin`.

        Raises:
            StoreError: The file has another size than its record says.
        """
        shape = (packing.blocks, packing.block_length)
        return cls(mapped(folder / BLOCKS, np.dtype(packing.dtype), shape))

    @property
    def length(self) -> int:
        """Tokens of a row that a model is shown."""
        return int(self.ids.shape[1])

    def row(self, block: int, epoch: int) -> dict[str, Any]:
        """Returns what a model is shown of a block before it is masked; the same in every epoch."""
        return {"input_ids": self.ids[block]}

    @property
    def held_out(self) -> npt.NDArray[np.int64]:
        """Indices of the held-out blocks: every 200th (of a small corpus more), 1,000 at most."""
        every = min(_HELD_OUT_EVERY, max(2, len(self.ids) // 8))
        chosen = np.arange(every - 1, len(self.ids), every)
        return chosen[:: max(1, -(-len(chosen) // _HELD_OUT_MOST))]

    @property
    def train(self) -> npt.NDArray[np.int64]:
        """Indices of the blocks to train on: all but the held-out ones."""
        return np.setdiff1d(np.arange(len(self.ids)), self.held_out, assume_unique=True)


def mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Maps a file of packed numbers.

    Raises:
        StoreError: It has another size than its record says.
    """
    expected = int(np.prod(shape)) * dtype.itemsize
    found = path.stat().st_size if path.is_file() else 0
    if found != expected:
        raise StoreError(
            f"{path}: expected {expected} bytes as recorded, found {found}; delete the folder, the "
            "next run packs the corpus again"
        )
    # Mapped, since a corpus may be larger than the memory.
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)
