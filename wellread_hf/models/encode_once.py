"""Tokenised rows on disk, so that runs over the same rows tokenise them once."""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from wellread_hf.models.encode import EncodedRows, RowEncoder, encode
from wellread_hf.models.words import FirstPieces
from wellread_hf.store.records import digest, write_atomically

# Below the folder of all stages.
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
        # Its rules are code, which has no digest.
        return encode(texts, encoder)
    path = runs / ROWS / f"{_name(texts, encoder)}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The first process tokenises, the others wait; the lock goes with its process, even a killed one.
    with FileLock(path.with_suffix(".lock")):
        found = _read(path, texts, encoder)
        if found is None:
            found = encode(texts, encoder)
            _write(path, found)
    return found


def _name(texts: Sequence[tuple[str, ...]], encoder: RowEncoder) -> str:
    content = hashlib.sha256()
    for row in texts:
        if encoder.tags:
            # Rows have as many words as they like.
            content.update(len(row).to_bytes(8, "little"))
        for text in row:
            part = text.encode()
            # With its length, no two rows run into each other.
            content.update(len(part).to_bytes(8, "little"))
            content.update(part)
    return digest(
        {
            "texts": content.hexdigest(),
            "columns": "words" if encoder.tags else len(texts[0]) if texts else 0,
            "tokenizer": encoder.words.rules,
            "segments": encoder.segments_from,
            "side": encoder.words.tokenizer.truncation_side,
            "max_length": encoder.max_length,
        }
    )


def _read(path: Path, texts: Sequence[tuple[str, ...]], encoder: RowEncoder) -> EncodedRows | None:
    """Reads a file of rows; None where there is none, or a damaged one, which is made again."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            cut, longest = map(int, arrays["uncut"])
            rows = EncodedRows(
                arrays["ids"],
                arrays["segments"] if encoder.gives_segments(texts) else None,
                arrays["offsets"],
                encoder.pad_id,
                encoder.pad_left,
                cut,
                longest,
                FirstPieces(arrays["first"], arrays["words"]) if encoder.tags else None,
            )
        whole = rows.offsets.shape == (len(texts) + 1,) and rows.ids.shape == (rows.offsets[-1],)
        return rows if whole else None
    except (OSError, AttributeError, TypeError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, rows: EncodedRows) -> None:
    content = io.BytesIO()
    uncut = np.array([rows.cut, rows.longest])
    arrays: dict[str, Any] = {"ids": rows.ids, "offsets": rows.offsets, "uncut": uncut}
    if rows.segments is not None:
        arrays["segments"] = rows.segments
    if rows.words is not None:
        arrays |= {"first": rows.words.first, "words": rows.words.offsets}
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue())
