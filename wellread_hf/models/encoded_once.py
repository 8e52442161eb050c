"""Tokenised rows on disk, so that runs over the same rows tokenise them once."""

import fcntl
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wellread_hf.models.encoding import EncodedRows, encode
from wellread_hf.records import digest, write_atomically

ROWS = ".rows"


def encode_once(texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int, runs: Path) -> EncodedRows:
    """Tokenises rows as `encode` does, or reads what that gave an earlier run, of another process too.

    The files in `runs/.rows` are named by what decides their content; they may be deleted at any time.

    Args:
        texts: One or two texts a row.
        tokenizer: A fast tokenizer.
        max_length: Tokens a row.
        runs: Folder of all stages.

    Raises:
        TokenizerError: As from `encode`.
    """
    if not tokenizer.is_fast:
        # Its rules are code, which has no name to know them by.
        return encode(texts, tokenizer, max_length)
    folder = runs / ROWS
    folder.mkdir(parents=True, exist_ok=True)
    name = _name(texts, tokenizer, max_length)
    path = folder / f"{name}.npz"
    # Whoever comes first tokenises, the others wait; the lock goes with the process, even a killed one.
    with (folder / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _read(path, len(texts), tokenizer)
        if found is None:
            found = encode(texts, tokenizer, max_length)
            _write(path, found)
    return found


def _name(texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int) -> str:
    seen = hashlib.sha256()
    for row in texts:
        for text in row:
            part = text.encode()
            # With its length, no two rows run into each other.
            seen.update(len(part).to_bytes(8, "little"))
            seen.update(part)
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    # What the last call asked for; ours is named below.
    del rules["truncation"], rules["padding"]
    return digest(
        {
            "texts": seen.hexdigest(),
            "columns": len(texts[0]) if texts else 0,
            "tokenizer": rules,
            "inputs": tokenizer.model_input_names,
            "sides": [tokenizer.truncation_side, tokenizer.padding_side],
            "max_length": max_length,
        }
    )


def _read(path: Path, count: int, tokenizer: Any) -> EncodedRows | None:
    """Reads a file of `count` rows; None where there is none, or a damaged one."""
    if tokenizer.pad_token_id is None:
        return None
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file) as arrays:
            rows = EncodedRows(
                arrays["ids"],
                arrays["segments"] if "token_type_ids" in tokenizer.model_input_names else None,
                arrays["offsets"],
                tokenizer.pad_token_id,
            )
            return rows if _fits(rows, count) else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # It is only a copy: where it is missing or damaged, it is made again.
        return None


def _fits(rows: EncodedRows, count: int) -> bool:
    """Tells whether the arrays are those of `count` rows: a foreign file may hold arrays of any form."""
    arrays = [rows.ids, rows.offsets] + ([] if rows.segments is None else [rows.segments])
    return (
        # What is no array in the archive comes as its bytes.
        all(isinstance(array, np.ndarray) and array.dtype.kind == "i" for array in arrays)
        and rows.offsets.shape == (count + 1,)
        and rows.offsets[0] == 0
        and rows.ids.shape == (rows.offsets[-1],)
        and bool((rows.lengths >= 0).all())
        and (rows.segments is None or rows.segments.shape == rows.ids.shape)
    )


def _write(path: Path, rows: EncodedRows) -> None:
    content = io.BytesIO()
    arrays: dict[str, Any] = {"ids": rows.ids, "offsets": rows.offsets}
    if rows.segments is not None:
        arrays["segments"] = rows.segments
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue())
