"""Values of the words of rows: tags, logits and predictions of token classification."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class PerWord:
    """An array of rows of several lengths, indexed by rows as any array is.

    Attributes:
        values: [words of all rows, ...], one row after another. A class number of -1 and logits of NaN stand
            for a word that has none: the model did not see it.
        offsets: [rows + 1] where each row starts in `values`.
        names: The classes in order; of labels only.
    """

    values: Array
    offsets: npt.NDArray[np.int64]
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Array, counts: Any, names: tuple[str, ...] = ()) -> "PerWord":
        """Joins values and the number of words of each row [rows]."""
        return cls(values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), names)

    @classmethod
    def joined(cls, parts: Sequence["PerWord"]) -> "PerWord":
        """Joins rows."""
        values, counts = ([getattr(part, name) for part in parts] for name in ("values", "counts"))
        return cls.of(np.concatenate(values), np.concatenate(counts), parts[0].names)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: Any) -> Any:
        """Returns the values of one row, of some rows, or with `[:, columns]` some columns of all."""
        if isinstance(rows, tuple):
            return replace(self, values=self.values[rows])
        if isinstance(rows, int | np.integer):
            return self.values[self.offsets[rows] : self.offsets[rows + 1]]
        chosen = np.arange(len(self))[rows]
        some = self.of(self.values[:0], self.counts[chosen], self.names)
        within = np.arange(some.offsets[-1]) - np.repeat(some.offsets[:-1], some.counts)
        return replace(some, values=self.values[within + np.repeat(self.offsets[chosen], some.counts)])

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Words of each row [rows]."""
        return np.diff(self.offsets)

    @property
    def ndim(self) -> int:
        """1 where a word has one value, 2 where it has several."""
        return self.values.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and values of a word."""
        return (len(self), *self.values.shape[1:])


def words_seen(logits: PerWord, labels: PerWord) -> tuple[Array, Array]:
    """Returns the logits [n, classes] and class numbers [n] of all words that a model saw."""
    seen = ~np.isnan(logits.values[:, 0])
    return logits.values[seen], labels.values[seen]


def words_of(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Cuts a text into words with their places in it, at blanks and punctuation marks, as BERT does."""
    from tokenizers.pre_tokenizers import BertPreTokenizer

    found: list[tuple[str, tuple[int, int]]] = BertPreTokenizer().pre_tokenize_str(text)
    return found


def divided(logits: Any, temperature: float) -> Any:
    """Returns logits [n, classes] or of words, divided by a temperature, in their type."""
    if isinstance(logits, PerWord):
        return replace(logits, values=divided(logits.values, temperature))
    return logits / np.float32(temperature)


def largest_difference(ours: Any, theirs: Any) -> float:
    """Returns the largest difference of two arrays, or of what is said of the same words."""
    if isinstance(ours, PerWord):
        # NaN for words that neither sees, as both read the same pieces.
        ours, theirs = (np.nan_to_num(each.values, nan=0.0) for each in (ours, theirs))
    return float(abs(ours - theirs).max())
