"""One pass of a teacher over a transfer set, shared out over processes in shards.

Rows are sorted by length within a stretch of the transfer set, one of which is in memory at a time. A shard
is a slice of a sorted stretch, written whole or not at all by the process that claims it: a killed process
loses one shard at most, and another makes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import LabelError, StoreError
from wellread_hf.labelling.shards import Arrays, read_shard, shard_name, shard_number, write_shard
from wellread_hf.labelling.soft_labels import Texts, text_hashes
from wellread_hf.models.infer import longest_first
from wellread_hf.store.claims import claims, is_claimed, wait_for_any
from wellread_hf.store.progress import bar

# Rows of a stretch, rounded down to whole shards. Of SST-2's tokens in batches 0.5 % are padding with so
# many, 0.3 % with all of its 67,349 rows, 4 % with 4,096.
_STRETCH = 1 << 16


class TransferTexts(Protocol):
    """The rows of a transfer set: a list, or what reads them anew each time that they are gone over."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, ...]]: ...


class Encoded(Protocol):
    """Rows of a transfer set as a teacher reads them."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row."""
        ...


class Labeller(Protocol):
    """A teacher: how it reads texts, and what it says of them."""

    def encode(self, texts: Texts, before: int) -> Encoded:
        """Reads rows; `before` counts those of the transfer set that come first, for errors."""
        ...

    def label(self, encoded: Any, rows: npt.NDArray[np.int64], shown: Any) -> Arrays:
        """Returns `logits` [len(rows), ...] of some rows, and what else is stored beside them.

        Args:
            encoded: What `encode` returned.
            rows: Which of its rows, longest first.
            shown: A progress bar that counts rows.
        """
        ...

    def fits(self, shard: Arrays) -> bool:
        """Returns whether a stored shard has what `label` would return beside the logits."""
        ...


def label_rows(labeller: Labeller, texts: TransferTexts, shard_rows: int, folder: Path) -> int:
    """Passes a teacher over the transfer set and writes the shards that are not there yet.

    Other processes may do the same in the same folder. Each shard is made by one of them, the files are the
    same whatever their number, and all return when all shards are there.

    Args:
        labeller: The teacher.
        texts: The transfer set.
        shard_rows: Rows a shard.
        folder: Receives the shards.

    Returns:
        Number of shards that were there already.

    Raises:
        LabelError: An output is not finite.
    """
    shards = -(-len(texts) // shard_rows)
    paths = [folder / shard_name(shard, shards) for shard in range(shards)]
    before = {path for path in paths if path.is_file()}
    left, reused, helps = dict(enumerate(paths)), 0, False
    with bar("labelling", "rows", len(texts)) as shown:

        def there(shard: int) -> None:
            del left[shard]
            shown.update(min(shard_rows, len(texts) - shard * shard_rows))

        while left:
            for stretch in _stretches(texts, labeller, shard_rows):
                some = [shard for shard in stretch.shards if shard in left]
                missing = [path for shard in some if not (path := left[shard]).is_file()]
                # Each process at a stretch tokenises it, so those that nobody is at come first.
                if missing and not helps and is_claimed(missing[0]):
                    continue
                if not missing and not helps and stretch.is_complete([left[shard] for shard in some]):
                    for shard in some:
                        reused += left[shard] in before
                        there(shard)
                    continue
                for index, mine in claims([left[shard] for shard in some], stretch.has, wait=False):
                    shard = some[index]
                    if mine:
                        write_shard(left.pop(shard), stretch.label(shard, shown))
                    else:
                        reused += left[shard] in before
                        there(shard)
            if helps and left:
                wait_for_any(left.values())
            # What others have made since needs no look: they read the same texts.
            for shard in [shard for shard, path in left.items() if path not in before and path.is_file()]:
                there(shard)
            helps = True
    return reused


@dataclass(frozen=True)
class _Stretch:
    """Rows that are sorted by length together.

    Attributes:
        texts: Of the rows.
        start: Where they begin in the transfer set.
        labeller: The teacher.
        shard_rows: Rows a shard.
    """

    texts: Texts
    start: int
    labeller: Labeller
    shard_rows: int

    @property
    def shards(self) -> range:
        """The numbers of its shards."""
        first = self.start // self.shard_rows
        return range(first, first - (-len(self.texts) // self.shard_rows))

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """The hashes of its texts."""
        return text_hashes(self.texts)

    @cached_property
    def encoded(self) -> Encoded:
        """Its rows, tokenised for the first shard that is made."""
        return self.labeller.encode(self.texts, self.start)

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """Its rows, counted from its own start, longest first."""
        return longest_first(self.encoded.lengths)

    def is_complete(self, paths: Sequence[Path]) -> bool:
        """Returns whether all its shards are there, which is seen without tokenising its rows."""
        seen = np.zeros(len(self.texts), dtype=np.bool_)
        for path in paths:
            rows = self._rows_in(path)
            if rows is None:
                return False
            seen[rows] = True
        return bool(seen.all())

    def has(self, path: Path) -> bool:
        """Returns whether a shard is as it would be made; the outputs are taken as they are."""
        rows = self._rows_in(path)
        return rows is not None and np.array_equal(rows, self.rows_of(shard_number(path)))

    def rows_of(self, shard: int) -> npt.NDArray[np.int64]:
        """Returns the rows of a shard, counted from the start of the stretch."""
        first = (shard - self.shards.start) * self.shard_rows
        return self.order[first : first + self.shard_rows]

    def _rows_in(self, path: Path) -> npt.NDArray[np.int64] | None:
        """Reads which rows of the stretch a shard has; None: of other texts or outputs, or damaged."""
        try:
            shard = read_shard(path)
        except StoreError:
            return None
        rows: npt.NDArray[np.int64] = shard["rows"] - self.start
        inside = bool(len(rows)) and rows.min() >= 0 and rows.max() < len(self.texts)
        # A shard of other rows or other layers was made under other settings.
        fits = inside and self.labeller.fits(shard) and np.array_equal(shard["hashes"], self.hashes[rows])
        return rows if fits else None

    def label(self, shard: int, shown: Any) -> Arrays:
        """Returns the arrays of a shard.

        Raises:
            LabelError: An output is not finite.
        """
        rows = self.rows_of(shard)
        found = self.labeller.label(self.encoded, rows, shown)
        _check_finite(self.start + rows, found)
        return {"rows": self.start + rows, "hashes": self.hashes[rows], **found}


def _stretches(texts: TransferTexts, labeller: Labeller, shard_rows: int) -> Iterator[_Stretch]:
    """Cuts the transfer set into stretches of whole shards."""
    size = max(1, _STRETCH // shard_rows) * shard_rows
    rows, start = iter(texts), 0
    while some := list(islice(rows, size)):
        yield _Stretch(some, start, labeller, shard_rows)
        start += len(some)


def _check_finite(rows: npt.NDArray[np.int64], found: Arrays) -> None:
    whole = np.ones(len(rows), dtype=np.bool_)
    # In fp16 what is over 65,504 is infinite; the states of sound classifiers are far from it.
    for values in found.values():
        if len(values) == len(rows) and values.dtype.kind == "f":
            whole &= np.isfinite(values).reshape(len(rows), -1).all(axis=1)
    if not whole.all():
        raise LabelError(
            f"expected finite numbers, got NaN or infinite outputs of the teacher for row "
            f"{rows[~whole][0] + 1}: its weights are damaged; take another teacher"
        )
