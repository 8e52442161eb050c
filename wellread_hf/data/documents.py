"""Packing by documents: windows of consecutive tokens, each within one document, for pairs of segments."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.packing import (
    BLOCKS,
    Blocks,
    Counts,
    Packing,
    mapped,
    write_rows,
)
from wellread_hf.data.tokens import Tokens, id_dtype
from wellread_hf.errors import DataError

DOCUMENTS = "documents.bin"
# [CLS] A [SEP] B [SEP]
SPECIAL_TOKENS = 3
_NUMBER = np.dtype(np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPacking(Packing):
    """What packing by documents made. `block_length` counts the special tokens that pairs will have.

    Attributes:
        documents: Documents that gave at least one window.
        short: Documents too short for one; none of their text is used.
        tokens_left_out: Tokens of these, and of the others' ends that fill no window.
    """

    documents: int
    short: int
    tokens_left_out: int


@dataclass(frozen=True, slots=True)
class Windows(Blocks):
    """Packed windows: `ids` [n, block_length - 3], and the number of each one's document [n], ascending."""

    documents: npt.NDArray[Any]


@dataclass(slots=True)
class _Counts(Counts):
    used: int = 0
    documents: int = 0
    short: int = 0
    longest: int = 0


def pack_documents(
    tokens: Iterable[Tokens],
    tokenizer: Any,
    block_length: int,
    masked: int,
    folder: Path,
) -> DocumentPacking:
    """Writes windows of `block_length` - 3 ids, each within one text: a text is a document.

    A document is cut into windows from its start; its end, where that fills none, and documents that are
    shorter than one are left out and counted. So rows need no padding. A window of mostly unknown words is
    left out, too: any two halves of two windows have `masked` ordinary tokens together.

    Args:
        tokens: The corpus; read once, a part in memory at a time.
        tokenizer: What cut it.
        block_length: Ids a row, special tokens included.
        masked: Positions that the masked LM will score in each row.
        folder: Receives `blocks.bin` and `documents.bin`, each whole or not at all.

    Raises:
        DataError: No document is long enough, or nearly all words are unknown to the tokenizer.
    """
    window = block_length - SPECIAL_TOKENS
    # With so few others in each of two windows, both halves of a pair have enough to mask.
    most_special = (window - masked) // 2
    count = _Counts()

    def kept() -> Iterator[tuple[npt.NDArray[Any], ...]]:
        for rows, numbers in _windows(tokens, tokenizer, window, count):
            special = np.isin(rows, tokenizer.all_special_ids).sum(axis=1)
            enough = count.chosen(special <= most_special)
            yield rows[enough], numbers[enough]
        count.check_known(tokenizer)
        if not count.rows:
            raise DataError(
                f"next-sentence prediction needs documents of at least {window} tokens for blocks of "
                f"{block_length}, got {count.texts} texts, the longest of {count.longest} tokens "
                f"({count.left_out} windows were mostly unknown words); give a source with a document a "
                "row, or smaller `block_lengths`"
            )

    return DocumentPacking(
        sha256=write_rows(folder, [BLOCKS, DOCUMENTS], kept()),
        **count.packing(block_length, id_dtype(tokenizer)),
        documents=count.documents,
        short=count.short,
        tokens_left_out=count.tokens - count.used,
    )


def open_documents(folder: Path, packing: DocumentPacking) -> Windows:
    """Maps what `pack_documents` wrote.

    Raises:
        StoreError: A file has another size than its record says.
    """
    shape = (packing.blocks, packing.block_length - SPECIAL_TOKENS)
    return Windows(
        mapped(folder / BLOCKS, np.dtype(packing.dtype), shape),
        mapped(folder / DOCUMENTS, _NUMBER, shape[:1]),
    )


def _windows(
    tokens: Iterable[Tokens], tokenizer: Any, window: int, count: _Counts
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yields the windows [n, window] of some texts at a time, and their documents' numbers [n]."""
    for part in tokens:
        whole = part.lengths // window
        numbers = np.repeat(np.arange(count.texts, count.texts + len(whole), dtype=_NUMBER), whole)
        count.longest = max(count.longest, int(part.lengths.max(initial=0)))
        count.short += int((whole == 0).sum())
        count.documents += int((whole > 0).sum())
        count.used += len(numbers) * window
        count.add(part, tokenizer)
        # The ids of a document that lie in windows: all but its end.
        place = np.arange(len(part.ids)) - np.repeat(np.cumsum(part.lengths) - part.lengths, part.lengths)
        used = place < np.repeat(whole * window, part.lengths)
        yield part.ids[used].reshape(-1, window), numbers
