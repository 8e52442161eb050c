"""The shards of a soft-label store: files of arrays, whole or refused.

Each is named by its number and that of all, and carries a checksum over its arrays and their names.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from wellread_hf.errors import StoreError, cause
from wellread_hf.store.records import commit

_CHECKSUM = "sha256"
_NUMBER = "[0-9]" * 5
_NEEDED = ("rows", "logits", "hashes")
Arrays = dict[str, npt.NDArray[Any]]


def shard_name(shard: int, shards: int) -> str:
    """Names a shard of so many."""
    return f"shard-{shard:05d}-of-{shards:05d}.safetensors"


def shard_number(path: Path) -> int:
    """Returns the number in a shard's name."""
    return int(path.name.split("-")[1])


def shard_paths(folder: Path) -> list[Path]:
    """Finds the shards of a store.

    Raises:
        StoreError: One is missing.
    """
    paths = sorted(folder.glob(f"shard-{_NUMBER}-of-{_NUMBER}.safetensors"))
    expected = int(paths[0].stem.split("-of-")[1]) if paths else 1
    if len(paths) != expected:
        raise StoreError(
            f"{folder}: expected {expected} shards of soft labels, found {len(paths)}; delete the "
            "folder, the next run of wellread label makes it again"
        )
    return paths


def write_shard(path: Path, arrays: Arrays) -> None:
    """Writes a shard whole or not at all."""
    # safetensors takes contiguous arrays alone.
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    beside = path.with_name(path.name + ".part")
    save_file(arrays, beside, metadata={_CHECKSUM: _checksum(arrays)})
    # Or a crash of the machine could leave a name without content.
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    commit(beside, path)


def count_rows(path: Path) -> int:
    """Returns a shard's number of rows, which costs no more than reading its header.

    Raises:
        StoreError: It is damaged.
    """
    with _opened(path) as file:
        return int(file.get_slice("rows").get_shape()[0])


def read_shard(path: Path) -> Arrays:
    """Reads a shard's arrays, and compares their checksum.

    Raises:
        StoreError: It is damaged.
    """
    with _opened(path) as file:
        arrays = {name: file.get_tensor(name) for name in {*file.keys(), *_NEEDED}}
        stored = (file.metadata() or {})[_CHECKSUM]
    if _checksum(arrays) != stored:
        raise _damaged(path, "its checksum is wrong")
    return arrays


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except Exception as error:  # a damaged header raises any kind
        raise _damaged(path, cause(error)) from error


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path}: expected a whole shard of soft labels, but {why}; delete this file and the folder's "
        "stage.json, then run wellread label again: it makes the missing shard only"
    )


def _checksum(arrays: Arrays) -> str:
    checksum = hashlib.sha256()
    # Sorted: safetensors gives arrays in an order of its own, and a name counts as content does.
    for name in sorted(arrays):
        checksum.update(name.encode())
        checksum.update(np.ascontiguousarray(arrays[name]).tobytes())
    return checksum.hexdigest()
