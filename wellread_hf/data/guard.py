"""Rows of validation and test sets that are found again in other text, word for word or nearly."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

# A text that has this share of a held-out row's 3-grams (in fifths) nearly has the row in it.
_FIFTHS = 4
# Of so few words any text of some length has the 3-grams by chance; shorter rows are found word for word.
SHORTEST = 8
# Rows that are looked at together: some megabytes.
_BATCH = 2048
# Three words in 63 bits.
_WORD_BITS = 21
_WORD = re.compile(r"[^\W_]+")
# "it 's" and "does n't", as treebanks have them, are "it's" and "doesn't".
_APOSTROPHE = re.compile(r"\s*(n?)['’]\s*")

Index = npt.NDArray[np.int64]
# The words of a row's columns.
_Words = tuple[list[str], ...]


@dataclass(frozen=True)
class Found:
    """What of some rows is held out.

    Attributes:
        rows: How many rows there are.
        exact: Numbers of those that are a held-out row but for case, blanks and punctuation.
        near: Numbers of those that have at least 80 % of the word 3-grams of a held-out row of at least 8
            words.
    """

    rows: int
    exact: tuple[int, ...] = ()
    near: tuple[int, ...] = ()

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of all that were found."""
        return frozenset((*self.exact, *self.near))

    @property
    def counts(self) -> dict[str, int]:
        """How many were found, for a record."""
        return {"exact": len(self.exact), "near": len(self.near)}


class HeldOut:
    """Held-out rows, indexed by their word 3-grams.

    Takes about 200 bytes a row and 20 a 3-gram.

    Args:
        rows: Their texts, one a column. The columns of a pair are compared each with its own.
    """

    def __init__(self, rows: Iterable[tuple[str, ...]]) -> None:
        every = {letters: words for words in map(_words_of, rows) if any(letters := _letters(words))}
        self._letters = frozenset(every)
        self._numbers: dict[str, int] = {}
        long = [words for words in every.values() if sum(map(len, words)) >= SHORTEST]
        for words in long:
            for word in (word for column in words for word in column):
                # Those beyond two million are no part of any 3-gram, as unknown ones.
                if len(self._numbers) + 1 < 1 << _WORD_BITS:
                    self._numbers.setdefault(word, len(self._numbers) + 1)
        owners, grams = self._grams(long)
        self._keys, keys = np.unique(grams, return_inverse=True)
        # Sorted by owner; each once, since `_grams` gives each once.
        self._of_row = keys
        sizes = np.bincount(owners, minlength=len(long))
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self._enough = -(-_FIFTHS * sizes // 5)
        self._index(owners, keys)

    def _index(self, owners: Index, keys: Index) -> None:
        """Indexes rows by so many of their rarest 3-grams that a text with enough of all has one of them."""
        common = np.bincount(keys, minlength=len(self._keys))
        order = np.lexsort((common[keys], owners))
        rank = np.arange(len(order)) - self._starts[owners[order]]
        sizes = self._ends - self._starts
        rare = order[rank <= (sizes - self._enough)[owners[order]]]
        by_key = rare[np.argsort(keys[rare], kind="stable")]
        self._rows_of_key = owners[by_key]
        counts = np.bincount(keys[rare], minlength=len(self._keys))
        self._key_ends = np.cumsum(counts)
        self._key_starts = self._key_ends - counts

    def find(self, rows: Iterable[tuple[str, ...]]) -> Found:
        """Goes over rows, a batch of them in memory at a time."""
        exact: list[int] = []
        near: list[int] = []
        count = 0
        left = iter(rows)
        while some := [*islice(left, _BATCH)]:
            words = [*map(_words_of, some)]
            same = [number for number, each in enumerate(words) if _letters(each) in self._letters]
            alike = sorted({*self._near(words)} - {*same})
            exact += [count + number for number in same]
            near += [count + number for number in alike]
            count += len(some)
        return Found(count, tuple(exact), tuple(near))

    def _near(self, words: Sequence[_Words]) -> Iterator[int]:
        """Yields the rows that have enough of a held-out row's 3-grams."""
        if not len(self._keys):
            return
        owners, grams = self._grams(words)
        at = np.minimum(np.searchsorted(self._keys, grams), len(self._keys) - 1)
        known = self._keys[at] == grams
        owners, at = owners[known], at[known]
        # Sorted, since owners are and each owner's 3-grams.
        have = owners * len(self._keys) + at
        pairs, held = _expanded(self._key_starts[at], self._key_ends[at], self._rows_of_key)
        if not len(held):
            return
        candidates = np.unique(owners[pairs] * len(self._ends) + held)
        # In slices, so that memory does not grow where all texts have much in common.
        for some in np.array_split(candidates, -(-len(candidates) // (1 << 14))):
            row, held = np.divmod(some, len(self._ends))
            pairs, key = _expanded(self._starts[held], self._ends[held], self._of_row)
            wanted = row[pairs] * len(self._keys) + key
            there = have[np.minimum(np.searchsorted(have, wanted), len(have) - 1)] == wanted
            counts = np.bincount(pairs[there], minlength=len(some))
            yield from row[counts >= self._enough[held]].tolist()

    def _grams(self, rows: Sequence[_Words]) -> tuple[Index, Index]:
        """Returns whose 3-grams they are and the 3-grams of known words, sorted, each once a row."""
        number = self._numbers.get
        flat: list[int] = []
        lengths: list[int] = []
        for words in rows:
            before = len(flat)
            for column in words:
                # 0, an unknown word's, ends a column: no 3-gram goes across.
                flat += [*(number(word, 0) for word in column), 0]
            lengths.append(len(flat) - before)
        ids = np.array([*flat, 0, 0], dtype=np.int64)
        first, second, third = ids[:-2], ids[1:-1], ids[2:]
        known = np.flatnonzero((first > 0) & (second > 0) & (third > 0))
        owners = np.repeat(np.arange(len(rows)), lengths)[known]
        grams = (first[known] << 2 * _WORD_BITS) | (second[known] << _WORD_BITS) | third[known]
        order = np.lexsort((grams, owners))
        owners, grams = owners[order], grams[order]
        once = np.ones(len(grams), dtype=np.bool_)
        once[1:] = (owners[1:] != owners[:-1]) | (grams[1:] != grams[:-1])
        return owners[once], grams[once]


def _words_of(row: tuple[str, ...]) -> _Words:
    """Returns the words of each column, without case and punctuation."""
    first, *others = (_words(text) for text in row)
    # The same word in another column is another word.
    return first, *([f"{place} {word}" for word in words] for place, words in enumerate(others, start=2))


def _words(text: str) -> list[str]:
    if text.isascii():
        return _WORD.findall(_APOSTROPHE.sub(r"\1", text.casefold()))
    text = _APOSTROPHE.sub(r"\1", unicodedata.normalize("NFKC", text).casefold())
    # `\w` has no marks, and in many scripts they are the vowels.
    return "".join(letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in text).split()


def _letters(words: _Words) -> tuple[str, ...]:
    """Returns what two rows that differ in case, blanks and punctuation alone have in common."""
    return tuple(map("".join, words))


def _expanded(starts: Index, ends: Index, values: Index) -> tuple[Index, Index]:
    """Returns `values[start:end]` of all spans one after another, and the number of the span of each."""
    lengths = ends - starts
    spans = np.repeat(np.arange(len(lengths)), lengths)
    inside = np.arange(len(spans)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return spans, values[starts[spans] + inside]
