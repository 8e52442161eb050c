"""The table of a sweep's trials: one SQLite file to which rows are only added."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from wellread_hf.errors import DiskFullError, NotFiniteError, StoreError
from wellread_hf.store.records import canonical_json, commit

TABLE = "trials.sqlite"

State = Literal["done", "failed", "stopped"]

# Written into the file's header, where `file` and every SQLite tool can read them.
_APPLICATION = int.from_bytes(b"WRHF")
_FORMAT = 1
# Bytes of SQLite's own header.
_HEADER = 100
# Seconds to wait for a reader, or for a writer, to let go of the file.
_PATIENCE = 60.0
# Types are kept by SQLite itself from 3.37 on.
_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
BEGIN;
CREATE TABLE trials (
    number INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    folder TEXT NOT NULL,
    student TEXT NOT NULL,
    task TEXT NOT NULL,
    method TEXT NOT NULL,
    learning_rate REAL NOT NULL,
    batch_size INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('done', 'failed', 'stopped')),
    metric TEXT,
    score REAL,
    scores TEXT NOT NULL,
    steps INTEGER,
    seconds REAL NOT NULL,
    finished TEXT NOT NULL,
    host TEXT NOT NULL,
    device TEXT,
    error TEXT,
    settings TEXT NOT NULL,
    versions TEXT NOT NULL
) {_STRICT};
CREATE TRIGGER no_update BEFORE UPDATE ON trials
BEGIN SELECT RAISE(ABORT, 'the table of trials is append-only'); END;
CREATE TRIGGER no_delete BEFORE DELETE ON trials
BEGIN SELECT RAISE(ABORT, 'the table of trials is append-only'); END;
COMMIT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A row: one run of training of a sweep.

    Attributes:
        digest: Digest of the training stage.
        folder: Name of the training stage's folder below the folder of all stages.
        student: The student, e.g. `bert-2-128`.
        task: The task, e.g. `sst2`.
        method: One of `students.METHODS`.
        learning_rate: Peak learning rate.
        batch_size: Rows a step.
        seed: Seed of the training.
        state: `done`, `failed`, or `stopped`: stopped early as a poor one.
        metric: The task's first metric, which selects.
        score: Its dev score, 0 to 1 (Matthews' and the others of correlation from -1).
        scores: All dev metrics by name, in the same unit.
        steps: Optimizer steps that were done.
        seconds: Wall time of the training in seconds.
        finished: When it ended: UTC, ISO 8601.
        host: Name of the machine.
        device: Kind of device.
        error: Why it failed, in one line.
        settings: The resolved settings.
        versions: Package versions and the code's commit.

    Raises:
        NotFiniteError: A score is NaN or infinite, or it is done and has none.
    """

    digest: str
    folder: str
    student: str
    task: str
    method: str
    learning_rate: float
    batch_size: int
    seed: int
    state: State
    metric: str | None
    score: float | None
    scores: Mapping[str, float]
    steps: int | None
    seconds: float
    finished: str
    host: str
    device: str | None
    error: str | None
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        missing = self.state == "done" and (self.metric is None or self.score is None)
        known = [self.score] if self.score is not None else []
        if missing or not all(map(isfinite, [*known, *self.scores.values()])):
            raise NotFiniteError(
                f"{self.folder}: expected a {self.state} trial's dev score to be a finite number, got "
                f"{self.score} of {self.metric} among {dict(self.scores)}; look at its log.json, and lower "
                "the learning rate if the loss ran away"
            )


_COLUMNS = tuple(field.name for field in fields(Trial))
_JSON = {"scores", "settings", "versions"}


class TrialTable:
    """Append-only; one writer, any number of readers.

    A row is one transaction: after a kill it is there as a whole or not at all. An unfinished one
    is rolled back by whoever opens the file next.

    Args:
        path: The SQLite file; made if there is none.

    Raises:
        StoreError: The file is damaged, of another program or of another format, or cannot be written.
        DiskFullError: There is no room for a row.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _told(path):
            if not path.exists():
                _create(path)
            self._connection = _connect(path)
            # The journal's removal is made durable too, else a power cut could undo the last row.
            self._connection.execute("PRAGMA synchronous = EXTRA")

    def append(self, trial: Trial) -> None:
        """Adds a row; when this returns it is on disk."""
        values = [_encoded(name, getattr(trial, name)) for name in _COLUMNS]
        marks = ", ".join("?" * len(_COLUMNS))
        with _told(self._path), self._connection:
            self._connection.execute(f"INSERT INTO trials ({', '.join(_COLUMNS)}) VALUES ({marks})", values)

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def read(path: Path) -> list[Trial]:
        """Reads the latest row of each digest, in order of first appearance; also while a writer writes.

        Raises:
            StoreError: There is no such file, or it is damaged, of another program or of another format.
        """
        if not path.is_file():
            raise StoreError(f"expected a table of trials, found no {path}; `wellread sweep` writes one")
        with _told(path), closing(_connect(path)) as connection:
            # Nothing is ever written; yet the file is not opened as read-only, since then what a killed
            # writer left behind could not be rolled back.
            connection.execute("PRAGMA query_only = ON")
            rows = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM trials ORDER BY number").fetchall()
        try:
            trials = [Trial(**dict(zip(_COLUMNS, map(_decoded, _COLUMNS, row), strict=True))) for row in rows]
        except (ValueError, TypeError, NotFiniteError) as error:
            raise _unreadable(path, f"a row that cannot be read ({error})") from error
        return list({trial.digest: trial for trial in trials}.values())


def _create(path: Path) -> None:
    """Makes an empty table beside its place, so that no reader ever sees half of one."""
    beside = path.with_name(f"{path.name}.part")
    # A journal without its table belongs to one that was moved away, and would be played into ours.
    for stale in (beside, *map(_journal, (beside, path))):
        stale.unlink(missing_ok=True)
    with closing(sqlite3.connect(beside)) as connection:
        connection.executescript(_SCHEMA)
    commit(beside, path)


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _connect(path: Path) -> sqlite3.Connection:
    """Opens a table that is there, and checks that it is one and whole."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=_PATIENCE)
    try:
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    def ask(pragma: str) -> Any:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]

    if path.stat().st_size < _HEADER:
        raise _unreadable(path, f"a file of {path.stat().st_size} bytes")
    # In one transaction, during which no writer changes the file.
    connection.execute("BEGIN")
    application, version = ask("application_id"), ask("user_version")
    if application != _APPLICATION:
        raise _unreadable(path, "another program's SQLite file")
    if version != _FORMAT:
        raise StoreError(
            f"{path}: expected a table of trials of format {_FORMAT}, got format {version}; use the version "
            "of wellread_hf that wrote it, or move the file away and run the sweep again: finished trials "
            "are found in their folders and their rows are written anew"
        )
    # SQLite takes the missing end of a page for zeros.
    size, expected = path.stat().st_size, ask("page_count") * ask("page_size")
    if size != expected:
        raise _unreadable(path, f"a damaged one ({size:,} bytes of {expected:,})")
    problem = ask("quick_check(1)")
    if problem != "ok":
        raise _unreadable(path, f"a damaged one ({' '.join(problem.split())})")
    connection.execute("COMMIT")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tells SQLite's errors in our words."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        match error.sqlite_errorcode & 0xFF:  # the low byte is the kind, the rest says where
            case sqlite3.SQLITE_FULL:
                raise DiskFullError(
                    f"{path} could not be written because the disk is full; make room and run the sweep "
                    "again, it goes on where it stopped"
                ) from error
            case sqlite3.SQLITE_NOTADB:
                raise _unreadable(path, "a file that is none or is damaged at its start") from error
            case sqlite3.SQLITE_CORRUPT:
                raise _unreadable(path, f"a damaged one ({error})") from error
        raise StoreError(
            f"{path}: expected a table of trials that can be opened here, got: {error}; check that the "
            "folder can be written and that nothing holds the file, then run the command again"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be opened ({error}); check the path") from error


def _unreadable(path: Path, found: str) -> StoreError:
    return StoreError(
        f"{path}: expected a table of trials, got {found}; move it away and run the sweep again: finished "
        "trials are found in their folders and their rows are written anew"
    )


def _encoded(name: str, value: Any) -> Any:
    return canonical_json(value) if name in _JSON else value


def _decoded(name: str, value: Any) -> Any:
    return json.loads(value) if name in _JSON else value
