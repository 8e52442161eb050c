"""Tokenised rows on disk, so that runs over the same rows tokenise them once."""

import fcntl
import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wellread_hf.models.encoding import EncodedRows, RowEncoder, encode
from wellread_hf.store.records import digest, write_atomically

ROWS = ".rows"


def encode_once(texts: Sequence[tuple[str, ...]], encoder: RowEncoder, runs: Path) -> EncodedRows:
    """Tokenises rows as `encode` does, or reads what that gave an earlier run, of another process too.

    The files in `runs/.rows` are named by what decides their content; they may be deleted at any time.

    Args:
        texts: One or two texts a row.
        encoder: How the model reads them.
        runs: Folder of all stages.

    Raises:
        DataError: As from `encode`.
    """
    if not encoder.words.tokenizer.is_fast:
        # Its rules are code, which has no name to know them by.
        return encode(texts, encoder)
    folder = runs / ROWS
    folder.mkdir(parents=True, exist_ok=True)
    name = _name(texts, encoder)
    path = folder / f"{name}.npz"
    # Whoever comes first tokenises, the others wait; the lock goes with the process, even a killed one.
    with (folder / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _read(path, texts, encoder)
        if found is None:
            found = encode(texts, encoder)
            _write(path, found)
    return found


def _name(texts: Sequence[tuple[str, ...]], encoder: RowEncoder) -> str:
    seen = hashlib.sha256()
    for row in texts:
        for text in row:
            part = text.encode()
            # With its length, no two rows run into each other.
            seen.update(len(part).to_bytes(8, "little"))
            seen.update(part)
    return digest(
        {
            "texts": seen.hexdigest(),
            "columns": len(texts[0]) if texts else 0,
            "tokenizer": encoder.words.rules,
            "segments": encoder.segments_from,
            "side": encoder.words.tokenizer.truncation_side,
            "max_length": encoder.max_length,
        }
    )


def _read(path: Path, texts: Sequence[tuple[str, ...]], encoder: RowEncoder) -> EncodedRows | None:
    """Reads a file of rows; None where there is none, or a damaged one."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file) as arrays:
            rows = EncodedRows(
                arrays["ids"],
                arrays["segments"] if encoder.gives_segments(texts) else None,
                arrays["offsets"],
                encoder.pad_id,
                encoder.pad_left,
                *map(int, arrays["uncut"]),
            )
            return rows if _fits(rows, len(texts)) else None
    except (OSError, TypeError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # It is a cache: where it is missing or damaged, it is made again.
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
    uncut = np.array([rows.cut, rows.longest])
    arrays: dict[str, Any] = {"ids": rows.ids, "offsets": rows.offsets, "uncut": uncut}
    if rows.segments is not None:
        arrays["segments"] = rows.segments
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue())
