"""What of a text is a row of a task's validation or test set: found once, and remembered."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from wellread_hf.data.guard import Found, HeldOut
from wellread_hf.store.progress import bar, log
from wellread_hf.store.records import canonical_json, json_object, write_atomically

Texts = Sequence[tuple[str, ...]]

# What is found changes with it.
VERSION = 1
# Below the folder of all stages; the files may be deleted at any time.
_FOUND = ".held-out"
_WORTH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Guarded:
    """Rows that are compared with held-out ones.

    Attributes:
        name: Digest of what decides both.
        texts: Reads the rows.
        held_out: The held-out ones.
    """

    name: str
    texts: Callable[[], Iterator[tuple[str, ...]]] = field(compare=False)
    held_out: Texts = field(compare=False)

    def find(self) -> Found:
        """Finds the held-out rows; writes nothing, and does it once in a process."""
        return _found(self)[0]

    def find_once(self, runs: Path) -> Found:
        """Finds them, or reads what an earlier run found, of another process too, where that took long.

        Args:
            runs: Folder of all stages.
        """
        path = runs / _FOUND / f"{self.name}.json"
        found = found_in(path)
        if found is None:
            found, seconds = _found(self)
            if seconds >= _WORTH_SECONDS:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, canonical_json(asdict(found)))
        report(found)
        return found


def report(found: Found) -> None:
    """Prints how many rows are left out, if any are."""
    if dropped := len(found.exact) + len(found.near):
        log(
            f"left out {dropped:,} of {found.rows:,} rows, which are in a validation or test set: "
            f"{len(found.exact):,} word for word, {len(found.near):,} nearly"
        )


def fingerprint(texts: Iterable[tuple[str, ...]]) -> str:
    """Returns a digest of texts, column by column."""
    content = hashlib.sha256()
    for row in texts:
        for text in row:
            # NUL ends a text, since none has one.
            content.update(text.encode() + b"\0")
        content.update(b"\0")
    return content.hexdigest()


# A plan has many stages that read one transfer set, and each is checked.
@lru_cache(maxsize=2)
def _found(rows: Guarded) -> tuple[Found, float]:
    started = time.monotonic()
    index = HeldOut(rows.held_out)
    with bar("looking for validation and test rows", "rows") as shown:
        found = index.find(counted(rows.texts(), shown))
    return found, time.monotonic() - started


def counted(texts: Iterable[tuple[str, ...]], shown: Any) -> Iterator[tuple[str, ...]]:
    """Yields texts and counts them in a bar."""
    for row in texts:
        yield row
        shown.update()


def found_in(path: Path) -> Found | None:
    """Reads what was found; None where there is no such file, or a damaged one."""
    read = json_object(path)
    try:
        return Found(int(read["rows"]), tuple(map(int, read["exact"])), tuple(map(int, read["near"])))
    except (KeyError, TypeError, ValueError):
        return None
