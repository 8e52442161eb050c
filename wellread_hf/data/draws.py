"""Some rows of a task or a transfer set, drawn by a seed."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import compress

import numpy as np
import numpy.typing as npt

from wellread_hf.data.guard import Found
from wellread_hf.data.rows import Rows
from wellread_hf.errors import DataError
from wellread_hf.settings import Task, Transfer


def check_draw(rows: int, settings: Task | Transfer, dropped: int = 0) -> None:
    """Refuses to draw more rows than there are, or from none.

    Args:
        rows: How many there are.
        settings: What says how many to draw.
        dropped: How many of them are left out.

    Raises:
        DataError: There are fewer than the settings draw, or none.
    """
    if not rows:
        where = f"{' '.join(settings.sources)}: " if isinstance(settings, Transfer) else ""
        raise DataError(f"{where}expected rows, found none; check the names of files and splits")
    left = rows - dropped
    if not left:
        raise DataError(
            f"expected other rows than those of the validation and test sets, got {rows}, all of them found "
            "there; give other text, or switch off `transfer.guard` (--transfer.no-guard)"
        )
    setting, count, _ = _draw(settings)
    if count is not None and count > left:
        found = f", besides {dropped} of the validation and test sets" if dropped else ""
        raise DataError(
            f"`{setting}` {count}: there are {left} rows to draw from{found}; give at most that many"
        )


def draw_rows(rows: Rows, settings: Task | Transfer, dropped: Collection[int] = ()) -> Rows:
    """Draws the number of rows that a task or a transfer set asks for, keeping their order.

    Args:
        rows: All rows.
        settings: How many to draw, and by which seed.
        dropped: Numbers of rows that are left out.

    Raises:
        DataError: As from `check_draw`.
    """
    chosen = drawn(len(rows.texts), settings, dropped)
    if chosen is None and not dropped:
        return rows
    kept = np.ones(len(rows.texts), dtype=np.bool_) if chosen is None else chosen
    kept[[*dropped]] = False
    return Rows(
        texts=[rows.texts[index] for index in np.flatnonzero(kept)],
        labels=None if rows.labels is None else rows.labels[kept],
    )


def drawn(
    rows: int, settings: Task | Transfer, dropped: Collection[int] = ()
) -> npt.NDArray[np.bool_] | None:
    """Returns which of so many rows are drawn [rows]; None: all that are not left out.

    Args:
        rows: How many there are.
        settings: How many to draw, and by which seed.
        dropped: Numbers of rows that are left out. The others are drawn in the order that they have anyway.

    Raises:
        DataError: As from `check_draw`.
    """
    check_draw(rows, settings, len(dropped))
    _, count, seed = _draw(settings)
    if count is None:
        return None
    # The first of one permutation, so that a larger draw contains a smaller one.
    order = np.random.default_rng(seed).permutation(rows)
    if dropped:
        order = order[~np.isin(order, [*dropped])]
    chosen = np.zeros(rows, dtype=np.bool_)
    chosen[order[:count]] = True
    return chosen


@dataclass(frozen=True, slots=True)
class DrawnTexts:
    """The texts of a transfer set, read anew each time that they are gone over.

    Attributes:
        every: Reads those of all rows.
        chosen: Which are drawn; None: all that are not left out.
        found: How many rows there are, and which are left out.
    """

    every: Callable[[], Iterator[tuple[str, ...]]]
    chosen: npt.NDArray[np.bool_] | None
    found: Found

    def __len__(self) -> int:
        left = self.found.rows - len(self.found.numbers)
        return left if self.chosen is None else int(self.chosen.sum())

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        if self.chosen is not None:
            return compress(self.every(), self.chosen)
        # A list of all rows, such as `chosen` is, may be too much where all are taken.
        out = self.found.numbers
        return (row for number, row in enumerate(self.every()) if number not in out)


def _draw(settings: Task | Transfer) -> tuple[str, int | None, int]:
    """Returns the setting that says how many rows to draw, their number (None: all), and the seed."""
    if isinstance(settings, Task):
        return "task.train_rows", settings.train_rows, settings.train_seed
    return "transfer.rows", settings.rows, settings.seed
