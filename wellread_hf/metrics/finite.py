"""Numbers that training or scoring can use."""

from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import NotFiniteError


def require_finite(what: str, values: npt.NDArray[Any]) -> None:
    """Refuses numbers that are NaN or infinite.

    Raises:
        NotFiniteError: With the first such row.
    """
    # A sum shows a NaN or an infinity among its numbers, so one look a row is enough.
    rows = values.reshape(len(values), -1).sum(axis=1)
    bad = np.flatnonzero(~np.isfinite(rows))
    if len(bad):
        raise NotFiniteError(
            f"expected finite {what}, got {rows[bad[0]]} in row {bad[0] + 1} ({len(bad)} such rows of "
            f"{len(values)}); a model that gives these is broken, train it again at a lower learning rate"
        )
