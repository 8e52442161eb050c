"""Some rows of a task or a transfer set, drawn by a seed."""

import numpy as np
import numpy.typing as npt

from wellread_hf.data.rows import Rows
from wellread_hf.errors import DataError
from wellread_hf.settings import Task, Transfer


def check_draw(rows: int, settings: Task | Transfer) -> None:
    """Refuses to draw more rows than there are, or from none.

    Raises:
        DataError: There are fewer than the settings draw, or none.
    """
    if not rows:
        raise DataError("expected rows, found none; check the names of files and splits")
    setting, count, _ = _draw(settings)
    if count is not None and count > rows:
        raise DataError(f"`{setting}` {count}: there are {rows} rows to draw from; give at most that many")


def draw_rows(rows: Rows, settings: Task | Transfer) -> Rows:
    """Draws the number of rows that a task or a transfer set asks for, keeping their order.

    Raises:
        DataError: As from `check_draw`.
    """
    chosen = drawn(len(rows.texts), settings)
    if chosen is None:
        return rows
    return Rows(
        texts=[rows.texts[index] for index in np.flatnonzero(chosen)],
        labels=None if rows.labels is None else rows.labels[chosen],
    )


def drawn(rows: int, settings: Task | Transfer) -> npt.NDArray[np.bool_] | None:
    """Returns which of so many rows are drawn [rows]; None: all.

    Raises:
        DataError: As from `check_draw`.
    """
    check_draw(rows, settings)
    _, count, seed = _draw(settings)
    if count is None:
        return None
    # The first of one permutation, so that a larger draw contains a smaller one.
    chosen = np.zeros(rows, dtype=np.bool_)
    chosen[np.random.default_rng(seed).permutation(rows)[:count]] = True
    return chosen


def _draw(settings: Task | Transfer) -> tuple[str, int | None, int]:
    """Returns the setting that says how many rows to draw, their number (None: all), and the seed."""
    if isinstance(settings, Task):
        return "task.train_rows", settings.train_rows, settings.train_seed
    return "transfer.rows", settings.rows, settings.seed
