"""The soft-label store: a teacher runs over a transfer set once, its logits are kept in shards.

A shard is a slice of the rows sorted by length, written whole or not at all, so that a killed pass
loses one shard at most and several processes share the work without talking. Every shard carries the
numbers of its rows, a hash of each row's text, and a checksum of its own.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from wellread_hf.errors import LabelError, StoreError
from wellread_hf.models.encoding import encode
from wellread_hf.models.inference import logits_of, longest_first
from wellread_hf.progress import bar
from wellread_hf.records import commit
from wellread_hf.settings import Label

_CHECKSUM = "sha256"


def match_labels(teacher: Sequence[str], task: Sequence[str], option: str) -> list[int]:
    """Finds, for each of the task's classes, the teacher's output of the same name.

    Names are compared without regard to case, spaces, `_` and `-`.

    Raises:
        LabelError: The names are not the same set; the message shows both lists.
    """
    plain_teacher, plain_task = [_plain(name) for name in teacher], [_plain(name) for name in task]
    if sorted(plain_teacher) != sorted(plain_task) or len(set(plain_task)) < len(plain_task):
        raise LabelError(
            f"the teacher's classes ({', '.join(teacher)}) and the task's ({', '.join(task)}) cannot be "
            f"matched by name; name the teacher's outputs in their order with {option}"
        )
    return [plain_teacher.index(name) for name in plain_task]


def teacher_order(config: Any, task: Sequence[str], named: Sequence[str]) -> list[int]:
    """Returns which output of a teacher belongs to each class of the task.

    Args:
        config: The teacher's config.
        task: Class names of the task; empty for regression.
        named: The teacher's class names, where its config has none.

    Raises:
        LabelError: Numbers of labels differ, a regression teacher meets a classification task (or
            the other way round), or names cannot be matched.
    """
    outputs = config.num_labels
    if outputs != max(1, len(task)):
        what = "regression" if outputs == 1 else f"{outputs} classes"
        ours = f"{len(task)} classes ({', '.join(task)})" if task else "regression"
        raise LabelError(
            f"the teacher was trained for {what}, the task is {ours}; take a teacher that was fine-tuned "
            "on this task (recipes/teacher.py)"
        )
    if not task:
        return [0]
    found = named or [config.id2label[number] for number in range(outputs)]
    return match_labels(found, task, "--label.teacher-labels")


def label_rows(
    teacher: Any,
    tokenizer: Any,
    texts: Sequence[tuple[str, ...]],
    order: Sequence[int],
    settings: Label,
    folder: Path,
) -> int:
    """Passes a teacher over the transfer set and writes the shards that are not there yet.

    Under several processes each writes every n-th shard; all return when all are done.

    Args:
        teacher: A sequence classifier, on its device.
        tokenizer: The teacher's own.
        texts: The transfer set.
        order: For each class of the task, the teacher's output (`teacher_order`).
        settings: Lengths and sizes.
        folder: Receives the shards.

    Returns:
        Number of shards that were there already.
    """
    encoded = encode(texts, tokenizer, settings.max_length)
    hashes = text_hashes(texts)
    sorted_rows = longest_first(encoded.lengths)
    shards = -(-len(texts) // settings.shard_rows)
    state = PartialState()
    reused = 0
    with bar("labelling", "rows", len(texts)) as shown:
        for shard in range(state.process_index, shards, state.num_processes):
            rows = sorted_rows[shard * settings.shard_rows : (shard + 1) * settings.shard_rows]
            path = folder / _shard_name(shard, shards)
            if path.is_file() and _is_whole(path, rows, hashes[rows]):
                reused += 1
                shown.update(len(rows))
                continue
            logits = logits_of(teacher, encoded, rows, settings.batch_tokens, shown)
            if not np.isfinite(logits).all():
                damaged = rows[~np.isfinite(logits).all(axis=1)]
                raise LabelError(
                    f"expected finite numbers, got NaN or infinite outputs of the teacher for row "
                    f"{damaged[0] + 1}: its weights are damaged; take another teacher"
                )
            _write_shard(path, rows, logits[:, list(order)], hashes[rows])
    state.wait_for_everyone()
    return reused


def text_hashes(texts: Sequence[tuple[str, ...]]) -> npt.NDArray[np.uint64]:
    """Returns a 64-bit hash of each row's text [n]."""
    raw = b"".join(hashlib.blake2b("\0".join(row).encode(), digest_size=8).digest() for row in texts)
    return np.frombuffer(raw, dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """A whole store.

    Attributes:
        logits: [rows, classes] in fp32, in the order of the transfer set and of the task's classes.
        hashes: [rows] hashes of the rows' texts.
    """

    logits: npt.NDArray[np.float32]
    hashes: npt.NDArray[np.uint64]

    @classmethod
    def open(cls, folder: Path) -> "SoftLabels":
        """Reads and checks all shards.

        Raises:
            StoreError: A shard is missing, truncated or damaged; the message names it.
        """
        paths = sorted(folder.glob("shard-*.safetensors"))
        expected = int(paths[0].stem.split("-of-")[1]) if paths else 1
        if len(paths) != expected:
            raise StoreError(
                f"{folder}: expected {expected} shards of soft labels, found {len(paths)}; delete the "
                "folder, the next run of recipes/label.py makes it again"
            )
        shards = [_read_shard(path) for path in paths]
        rows = np.concatenate([shard["rows"] for shard in shards])
        logits = np.empty((len(rows), shards[0]["logits"].shape[1]), dtype=np.float32)
        hashes = np.empty(len(rows), dtype=np.uint64)
        for shard in shards:
            logits[shard["rows"]] = shard["logits"]
            hashes[shard["rows"]] = shard["hashes"]
        return cls(logits=logits, hashes=hashes)

    def check_belongs(self, texts: Sequence[tuple[str, ...]]) -> None:
        """Refuses texts that are not the ones the teacher read, row by row.

        Raises:
            LabelError: Number or text of rows differ; the message names the first such row.
        """
        if len(texts) != len(self.hashes):
            raise LabelError(
                f"the soft labels have {len(self.hashes)} rows, the data set has {len(texts)}: they do "
                "not belong together; label this data set (recipes/label.py)"
            )
        wrong = np.flatnonzero(text_hashes(texts) != self.hashes)
        if len(wrong):
            raise LabelError(
                f"the soft labels were made for other texts: {len(wrong)} of {len(texts)} rows differ, the "
                f"first is row {wrong[0] + 1}; label this data set (recipes/label.py)"
            )


def _shard_name(shard: int, shards: int) -> str:
    return f"shard-{shard:05d}-of-{shards:05d}.safetensors"


def _write_shard(
    path: Path,
    rows: npt.NDArray[np.int64],
    logits: npt.NDArray[np.float32],
    hashes: npt.NDArray[np.uint64],
) -> None:
    tensors: dict[str, npt.NDArray[Any]] = {
        "rows": rows,
        "logits": np.ascontiguousarray(logits),
        "hashes": hashes,
    }
    beside = path.with_name(path.name + ".part")
    save_file(tensors, beside, metadata={_CHECKSUM: _checksum(tensors)})
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    commit(beside, path)


def _read_shard(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in ("rows", "logits", "hashes")}
            stored = (file.metadata() or {})[_CHECKSUM]
    except (SafetensorError, KeyError, OSError) as error:
        raise _damaged(path, str(error)) from error
    if _checksum(tensors) != stored:
        raise _damaged(path, "its checksum is wrong")
    return tensors


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path}: expected a whole shard of soft labels, but {why}; delete this file and the folder's "
        "stage.json, then run recipes/label.py again: it makes the missing shard only"
    )


def _is_whole(path: Path, rows: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64]) -> bool:
    try:
        shard = _read_shard(path)
    except StoreError:
        return False
    return np.array_equal(shard["rows"], rows) and np.array_equal(shard["hashes"], hashes)


def _checksum(tensors: dict[str, npt.NDArray[Any]]) -> str:
    checksum = hashlib.sha256()
    for name in sorted(tensors):
        checksum.update(name.encode())
        checksum.update(np.ascontiguousarray(tensors[name]).tobytes())
    return checksum.hexdigest()


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in " _-")
