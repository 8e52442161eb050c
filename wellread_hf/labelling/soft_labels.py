"""The soft-label store: a teacher's logits for a transfer set, kept in shards.

Logits are [rows, classes]; of a teacher that classifies words [words of all rows, classes], with the number
of `words` of each row, and which of them it has `seen`. They are of words, not of pieces, so that a student
with another tokenizer learns them as they are.

The [CLS] states [rows, k, H] of some of its layers may be kept beside them, in fp16. Every shard carries
the numbers of its rows, a hash of each row's text, and a checksum of its own.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit, log_softmax, logsumexp

from wellread_hf.errors import LabelError
from wellread_hf.labelling.shards import Arrays, count_rows, read_shard, shard_name, shard_paths, write_shard
from wellread_hf.metrics.per_word import PerWord

Texts = Sequence[tuple[str, ...]]
Logits = npt.NDArray[np.float32]


def write_rows(folder: Path, logits: Any, hashes: npt.NDArray[np.uint64], shard_rows: int) -> None:
    """Writes a whole store of logits [n, C] that were computed elsewhere.

    Args:
        folder: Receives the shards.
        logits: In the order of the transfer set and of the task's classes.
        hashes: [n] hashes of the rows' texts.
        shard_rows: Rows a shard.
    """
    shards = -(-len(logits) // shard_rows)
    for shard in range(shards):
        rows = np.arange(shard * shard_rows, min((shard + 1) * shard_rows, len(logits)))
        arrays = {"rows": rows, "hashes": hashes[rows], **arrays_of(logits[rows])}
        write_shard(folder / shard_name(shard, shards), arrays)


def arrays_of(logits: Any) -> Arrays:
    """Returns the arrays of a shard that hold logits; those of words without any are 0, and not `seen`."""
    if not isinstance(logits, PerWord):
        return {"logits": logits}
    seen = np.asarray(~np.isnan(logits.values).any(axis=1))
    values = np.where(seen[:, None], logits.values, np.float32(0))
    return {"logits": values, "words": logits.counts, "seen": seen}


def _logits_of(shard: Arrays) -> Any:
    if "words" not in shard:
        return shard["logits"]
    values = np.where(shard["seen"][:, None], shard["logits"], np.float32(np.nan))
    return PerWord.of(values, shard["words"])


def mean_logits(teachers: Sequence[Any], shares: Sequence[float], multi_label: bool = False) -> Any:
    """Returns the logits [n, C] of the weighted mean of teachers' probabilities; of values for C = 1.

    Args:
        teachers: Logits [n, C], one array a teacher; C = 1 is regression.
        shares: Weights that add up to 1.
        multi_label: Whether the classes are independent, each with a probability of its own.
    """
    if isinstance(first := teachers[0], PerWord):
        # What one teacher has not seen has no mean, and stays NaN.
        values = [teacher.values for teacher in teachers if isinstance(teacher, PerWord)]
        return replace(first, values=mean_logits(values, shares))
    logits = np.stack(teachers).astype(np.float64)
    weights = np.asarray(shares)[:, None, None]
    if multi_label:
        # log(p / (1 - p)) of the mean p, without the rounding of a sigmoid near 1.
        yes, no = (logsumexp(log_expit(sign * logits), axis=0, b=weights) for sign in (1, -1))
        mean = yes - no
    elif logits.shape[-1] == 1:
        mean = (weights * logits).sum(axis=0)
    else:
        # In logarithms, so that sure teachers stay finite.
        mean = logsumexp(log_softmax(logits, axis=-1), axis=0, b=weights)
    return np.asarray(mean, dtype=np.float32)


def text_hashes(texts: Texts) -> npt.NDArray[np.uint64]:
    """Returns a 64-bit hash of each row's text [n]."""
    # NUL separates the columns, since no text has one.
    raw = b"".join(hashlib.blake2b("\0".join(row).encode(), digest_size=8).digest() for row in texts)
    return np.frombuffer(raw, dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """A whole store.

    Attributes:
        logits: [rows, classes] in fp32, in the order of the transfer set and of the task's classes; those of
            words as a `PerWord`.
        hashes: [rows] hashes of the rows' texts.
        states: [rows, k, H] in fp16, the teacher's [CLS] states of the layers that were asked for.
    """

    logits: Any
    hashes: npt.NDArray[np.uint64]
    states: npt.NDArray[np.float16] | None = None

    @classmethod
    def open(cls, folder: Path, layers: Sequence[int] = ()) -> "SoftLabels":
        """Reads and checks all shards, one at a time: of the states, only what is asked for is kept.

        Args:
            folder: The store's.
            layers: Layers of the teacher whose states are wanted; one may come twice.

        Raises:
            StoreError: A shard is missing, truncated or damaged; the message names it.
            LabelError: States are wanted of layers that none were stored of.
        """
        if layers:
            _check_stored(folder, layers)
        paths = shard_paths(folder)
        total = sum(count_rows(path) for path in paths)
        found: Arrays = {}
        words: list[PerWord] = []
        order: list[npt.NDArray[np.int64]] = []
        for path in paths:
            shard = read_shard(path)
            kept: Arrays = {"hashes": shard["hashes"]}
            if isinstance(logits := _logits_of(shard), PerWord):
                words.append(logits)
                order.append(shard["rows"])
            else:
                kept["logits"] = logits
            if layers:
                columns = [shard["layers"].tolist().index(layer) for layer in layers]
                kept["states"] = shard["states"][:, columns]
            for name, values in kept.items():
                if name not in found:
                    # Filled shard by shard, so that a store is in memory once.
                    found[name] = np.empty((total, *values.shape[1:]), dtype=values.dtype)
                found[name][shard["rows"]] = values
        # Rows have as many words as they like, so these are put in order once all are there.
        logits = PerWord.joined(words)[np.argsort(np.concatenate(order))] if words else found.pop("logits")
        return cls(logits=logits, **found)

    def check_belongs(self, texts: Texts) -> None:
        """Refuses texts that are not the ones the teacher read, row by row.

        Raises:
            LabelError: Number or text of rows differ; the message names the first such row.
        """
        if len(texts) != len(self.hashes):
            raise LabelError(
                f"the soft labels have {len(self.hashes)} rows, the data set has {len(texts)}: they do "
                "not belong together; label this data set (wellread label), or switch `transfer.guard` off "
                "where they were made without it"
            )
        wrong = np.flatnonzero(text_hashes(texts) != self.hashes)
        if len(wrong):
            raise LabelError(
                f"the soft labels were made for other texts: {len(wrong)} of {len(texts)} rows differ, the "
                f"first is row {wrong[0] + 1}; label this data set (wellread label)"
            )


@dataclass(frozen=True, slots=True)
class StoredStates:
    """Whose [CLS] states a store holds.

    Attributes:
        layers: Layers of the teacher that are stored, counted from 1.
        depth: Layers that the teacher has.
    """

    layers: tuple[int, ...]
    depth: int


def stored_states(folder: Path) -> StoredStates | None:
    """Returns whose [CLS] states a store holds, by its first shard; None where it holds none.

    Raises:
        StoreError: A shard is missing or damaged.
    """
    shard = read_shard(shard_paths(folder)[0])
    if "states" not in shard:
        return None
    return StoredStates(layers=tuple(shard["layers"].tolist()), depth=int(shard["depth"][0]))


def _check_stored(folder: Path, layers: Sequence[int]) -> None:
    stored = stored_states(folder)
    there = () if stored is None else stored.layers
    if missing := sorted(set(layers) - set(there)):
        wanted, found = (", ".join(map(str, some)) for some in (sorted(set(layers)), there))
        raise LabelError(
            f"{folder}: expected [CLS] states of the teacher's layers {wanted} beside the soft labels, got "
            f"{found or 'none'}; label again with `label.states` "
            f"{' '.join(map(str, sorted({*there, *missing})))}"
        )
