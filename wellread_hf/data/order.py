"""The order in which a run sees its rows, as one function of (seed, position).

Trainers get a data set as long as the whole run and read it in sequence. So what comes at a step does
not depend on workers, processes or a resume, every batch is full, and no sampler has to know of epochs.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import SettingsError

# Batches whose rows are sorted together: enough for little padding, few enough to stay random.
_MEGABATCH = 50
# Their order takes 16 GB.
_MOST_ROWS = 2**31


def shuffled(rows: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Returns a permutation of range(rows) that depends on (seed, epoch) alone."""
    # As a pair: by seed + epoch, runs of neighbouring seeds would share orders.
    return np.random.default_rng([seed, epoch]).permutation(rows)


def length_grouped(
    lengths: npt.NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> npt.NDArray[np.int64]:
    """Returns a permutation in which the rows of a batch are of like length.

    Random groups of 50 batches are sorted by length and cut into batches, which are shuffled.
    A last, short batch comes last.
    """
    draw = np.random.default_rng([seed, epoch])
    order = draw.permutation(len(lengths))
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), _MEGABATCH * batch_size):
        group = order[start : start + _MEGABATCH * batch_size]
        # Stable: NumPy's default orders rows of one length differently from CPU to CPU.
        group = group[np.argsort(-lengths[group], kind="stable")]
        batches.extend(group[first : first + batch_size] for first in range(0, len(group), batch_size))
    whole = [batch for batch in batches if len(batch) == batch_size]
    # The short one is last, where the next epoch fills it up.
    short = [batch for batch in batches if len(batch) < batch_size]
    return np.concatenate([*(whole[index] for index in draw.permutation(len(whole))), *short])


def whole_run(
    lengths: npt.NDArray[np.int64], batch_size: int, steps: int, seed: int
) -> npt.NDArray[np.int64]:
    """Returns the row indices of all steps · batch_size positions, epoch after epoch."""
    if steps * batch_size > _MOST_ROWS:
        raise SettingsError(
            f"expected a run that sees at most {_MOST_ROWS:,} rows, got {steps:,} steps of {batch_size:,}; "
            "take fewer epochs or steps"
        )

    def epochs() -> Iterator[npt.NDArray[np.int64]]:
        for epoch in range(-(-steps * batch_size // len(lengths))):
            order = length_grouped(lengths, batch_size, seed, epoch)
            # What fills up the last epoch's short batch comes from this one's end: its batches stay whole.
            yield np.roll(order, -epoch * len(lengths) % batch_size)

    return np.concatenate(list(epochs()))[: steps * batch_size]
