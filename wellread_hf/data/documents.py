"""Packing by documents: windows of consecutive tokens, each within one document, for pairs of segments."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wellread_hf.data.packing import (
    BLOCKS,
    Blocks,
    Counts,
    Packing,
    encoded,
    id_dtype,
    mapped,
    write_rows,
)
from wellread_hf.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

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
    texts: Iterable[str],
    tokenizer: "PreTrainedTokenizerFast",
    block_length: int,
    masked: int,
    folder: Path,
) -> DocumentPacking:
    """Writes windows of `block_length` - 3 ids, each within one text: a text is a document.

    A document is cut into windows from its start; its end, where that fills none, and documents that are
    shorter than one are left out and counted. So rows need no padding. A window of mostly unknown words is
    left out, too: any two halves of two windows have `masked` ordinary tokens together.

    Args:
        texts: The corpus; read once, one batch in memory at a time.
        tokenizer: Cuts the text, on all cores.
        block_length: Ids a row, special tokens included.
        masked: Positions that the masked LM will score in each row.
        folder: Receives `blocks.bin` and `documents.bin`, each whole or not at all.

    Raises:
        DataError: No document is long enough, or nearly all words are unknown to the tokenizer.
    """
    window = block_length - SPECIAL_TOKENS
    # With so few others in each of two windows, both halves of a pair have enough to mask.
    most_special = (window - masked) // 2
    dtype, count = id_dtype(tokenizer), _Counts()

    def kept() -> Iterator[tuple[npt.NDArray[Any], ...]]:
        for rows, numbers in _windows(texts, tokenizer, window, dtype, count):
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
        **count.packing(block_length, dtype),
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
    texts: Iterable[str],
    tokenizer: "PreTrainedTokenizerFast",
    window: int,
    dtype: np.dtype[Any],
    count: _Counts,
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yields the windows [n, window] of one batch of texts at a time, and their documents' numbers [n]."""
    for batch in encoded(texts, tokenizer):
        found, numbers = [], []
        for number, ids in enumerate(batch, start=count.texts):
            whole = len(ids) // window
            count.add(np.array(ids), len(ids), tokenizer)
            count.longest = max(count.longest, len(ids))
            if not whole:
                count.short += 1
                continue
            count.documents += 1
            count.used += whole * window
            found.append(np.array(ids[: whole * window], dtype=dtype).reshape(whole, window))
            numbers.append(np.full(whole, number, dtype=_NUMBER))
        count.texts += len(batch)
        if found:
            yield np.concatenate(found), np.concatenate(numbers)
