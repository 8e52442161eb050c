"""Words as pieces of any tokenizer: a word is represented by its first piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.metrics.finite import require_finite
from wellread_hf.metrics.per_word import PerWord


def tags_words(model: Any) -> bool:
    """Returns whether a model classifies the words of a text; peft's wrapper is looked through."""
    stock = model.get_base_model() if hasattr(model, "get_base_model") else model
    return any(kind.__name__.endswith("ForTokenClassification") for kind in type(stock).__mro__)


@dataclass(frozen=True, slots=True)
class FirstPieces:
    """Where the words of tokenised rows are.

    Attributes:
        first: [words of all rows] the position in its row of each word's first piece; -1 for a word without
            one: it was cut off, or the tokenizer makes nothing of it.
        offsets: [rows + 1] where each row starts in `first`.
    """

    first: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    @property
    def unseen(self) -> int:
        """Words without a piece."""
        return int((self.first < 0).sum())

    def of(self, row: int) -> npt.NDArray[np.int32]:
        """Returns the positions of a row's words."""
        return self.first[self.offsets[row] : self.offsets[row + 1]]

    def at_pieces(self, row: int, values: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
        """Puts values [words, ...] of a row at the words' first pieces [length, ...].

        All else gets -100, or NaN in arrays of floats: no label, and nothing said by a teacher.
        """
        found = np.full((length, *values.shape[1:]), no_value(values), values.dtype)
        first = self.of(row)
        found[first[first >= 0]] = values[first >= 0]
        return found

    def answers(self, logits: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> PerWord:
        """Returns the logits of the words of some rows, NaN for words without a piece.

        Args:
            logits: [B, T, C] of these rows, padded on the right.
            rows: Which rows [B].

        Raises:
            NotFiniteError: One of a word that has a piece is NaN or infinite.
        """
        first = PerWord(self.first, self.offsets)[rows]
        batch = np.repeat(np.arange(len(rows)), first.counts)
        found = logits[batch, np.maximum(first.values, 0)]
        seen = first.values >= 0
        if seen.any():
            require_finite("model's outputs", found[seen])
        found[~seen] = np.nan
        return PerWord(found, first.offsets)


def no_value(values: npt.NDArray[Any]) -> float:
    """Returns what stands for no value in an array: NaN, or -100 among whole numbers."""
    return np.nan if values.dtype.kind == "f" else -100


def first_pieces(word_ids: Sequence[Sequence[int | None]], counts: Sequence[int]) -> npt.NDArray[np.int32]:
    """Finds the first piece of each word [words of all rows], -1 for words without one.

    Args:
        word_ids: Of each row's tokens the word that it is of; None for special tokens.
        counts: Words of each row.
    """
    lengths = [len(row) for row in word_ids]
    starts = np.cumsum([0, *lengths])[:-1]
    # None becomes NaN.
    ids = np.nan_to_num(
        np.fromiter(chain.from_iterable(word_ids), dtype=object).astype(float), nan=-1
    ).astype(int)
    row = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(ids)) - np.repeat(starts, lengths)
    # Of a word's pieces the last that is written stays: so from the last to the first.
    words = np.flatnonzero(ids >= 0)[::-1]
    found = np.full(sum(counts), -1, dtype=np.int32)
    found[np.cumsum([0, *counts])[:-1][row[words]] + ids[words]] = position[words]
    return found
