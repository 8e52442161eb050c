"""Digests, atomic files, and `stage.json`: the record whose presence means that a stage is finished."""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from wellread_hf.errors import StoreError, is_disk_full, library_errors_as

RECORD = "stage.json"
# All settings of the run, written beside its record; other runs may have the same result.
SETTINGS = "settings.yaml"
# Folder in a stage's that holds a LoRA adapter, beside the merged model.
ADAPTER = "adapter"
# Whether file digests are written down for the next run; a plan that is only shown writes nothing.
REMEMBERS = ContextVar("REMEMBERS", default=True)
# The command line that runs, program first; none where a program of the user's own plans the stages.
INVOKED_AS: ContextVar[tuple[str, ...]] = ContextVar("INVOKED_AS", default=())
# Where, in the folder of all stages.
MEMORY = ".digests.json"
# What lies in a stage's folder and is no output: others write it later, or it goes.
_NO_OUTPUT = (RECORD, SETTINGS, "README.md", "error.txt", "checkpoints", ".*", "*.part", "*.png", "unchecked")


def digest(value: object) -> str:
    """Returns the SHA-256 of a value's canonical JSON; dataclasses, paths and tuples are allowed."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Writes JSON with sorted keys and no spaces, so that equal values give equal text."""
    # NaN is no JSON, and does not equal itself.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain, allow_nan=False)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes beside `path`, fsyncs and renames: a reader sees the old file or the whole new one."""
    # Processes of one launch may write the same file at once; each has a half of its own.
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with beside.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    commit(beside, path)


@contextmanager
def removed_if_failed(*paths: Path) -> Iterator[None]:
    """Removes half-written files when the block fails: they are of no use, and a full disk needs the room."""
    try:
        yield
    except Exception:
        # Whatever failed is raised again: this only removes the halves.
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def commit(beside: Path, path: Path) -> None:
    """Renames a finished, fsynced file or folder into its place, and makes the renaming durable."""
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def unchecked(folder: Path) -> Iterator[Path]:
    """Lends a folder to save to; at the end of the block its content moves to `folder`.

    If anything is raised there it is deleted instead: what is not as it should be must not lie where
    a model is looked for.
    """
    beside = folder / "unchecked"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        yield beside
        for path in sorted(beside.iterdir()):
            there = folder / path.name
            # A file replaces a file, but a folder has to be removed first.
            if there.is_dir():
                shutil.rmtree(there)
            path.replace(there)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def file_digest(path: Path, memory: Path | None = None) -> str:
    """Returns the SHA-256 of a file's bytes; see `file_digests`."""
    return file_digests([path], memory)[path]


def file_digests(paths: Iterable[Path], memory: Path | None = None) -> dict[Path, str]:
    """Returns the SHA-256 of files' bytes.

    Args:
        paths: The files.
        memory: A JSON file that remembers digests by path, size and times, so that a corpus of gigabytes is
            read once and not at every start. It is a cache: a damaged one is written again.
    """
    known = {} if memory is None else _remembered(memory)
    found, new = dict[Path, str](), dict[str, str]()
    for path in paths:
        status = path.stat()
        # ctime shows an edit whose mtime was set back.
        key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"
        if key not in known:
            with path.open("rb") as file:
                known[key] = new[key] = hashlib.file_digest(file, "sha256").hexdigest()
        found[path] = known[key]
    if memory is not None and new and REMEMBERS.get():
        try:
            memory.parent.mkdir(parents=True, exist_ok=True)
            # Others may have written meanwhile.
            write_atomically(memory, json.dumps(_remembered(memory) | new, indent=0))
        except OSError as error:
            # The memory saves time alone, so a run goes on without it; a full disk would stop it anyway.
            if is_disk_full(error):
                raise
    return found


def _remembered(memory: Path) -> dict[str, str]:
    known = json_object(memory)
    return known if all(isinstance(value, str) for value in known.values()) else {}


def json_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object; one that is missing or damaged has no keys."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


_FACTS = ("size", "mtime_ns", "ctime_ns")


def _facts(path: Path) -> dict[str, int] | None:
    """Returns what changes with a file's content; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return dict(zip(_FACTS, (status.st_size, status.st_mtime_ns, status.st_ctime_ns), strict=True))


def outputs_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns what a record says of the files in a folder."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(fnmatch(part, no) for part in path.relative_to(folder).parts for no in _NO_OUTPUT)
    )
    # The facts first: a change while a file is read shows later.
    facts = {path: _facts(path) or {} for path in files}
    return {
        str(path.relative_to(folder)): {"sha256": sha256, **facts[path]}
        for path, sha256 in file_digests(files).items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """What made a finished folder, and what came of it.

    Attributes:
        kind: The stage, e.g. `pretrain`.
        name: What a person calls it, e.g. `bert-2-128`.
        digest: Digest of settings and inputs; the folder's name ends in its first 12 digits.
        settings: The resolved settings.
        inputs: Digests of the stages that went in, by folder; fingerprints of all else are in `settings`.
        outcome: What the stage measured: losses, scores, counts.
        seconds: Wall time in seconds; of training over all sittings, else of the one that ended it.
        versions: Package versions and the code's commit.
        command: The command line.
        processes: Processes that worked on it.
        device: Kind of device of the first one.
        version: The stage's.
        outputs: SHA-256, size and times of each file that it wrote, by path in the folder.
    """

    kind: str
    name: str
    digest: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    outcome: Mapping[str, Any]
    seconds: float
    versions: Mapping[str, str]
    command: str
    # Records of before there were these two have none.
    processes: int | None = None
    device: str | None = None
    version: int = 1
    outputs: Mapping[str, Mapping[str, Any]] | None = None

    @property
    def fingerprint(self) -> str:
        """What later stages know its folder by."""
        return f"stage:{self.digest}:."

    @property
    def text(self) -> str:
        """What stands in `stage.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True, default=_plain) + "\n"

    def write(self, folder: Path) -> None:
        """Writes `stage.json` atomically; call it last."""
        write_atomically(folder / RECORD, self.text)

    def check_outputs(self, folder: Path, inside: Path | None = None) -> None:
        """Compares the files of a finished folder with what its stage wrote.

        Size and times come first, so that files as they were left cost no reading; those that were copied
        or moved are read once.

        Args:
            folder: Where it lies.
            inside: The file or folder below it that is used; None: all of it.

        Raises:
            StoreError: A file was changed or is gone; the message names it.
        """
        with library_errors_as(StoreError, f"{folder / RECORD}: outputs cannot be read"):
            doubtful = {
                folder / name: str(written["sha256"])
                for name, written in (self.outputs or {}).items()
                if inside is None or (folder / name).is_relative_to(inside)
                if _facts(folder / name) != {key: written[key] for key in _FACTS}
            }
        whole = [path for path in doubtful if path.is_file()]
        found = file_digests(whole, folder.parent / MEMORY)
        for path, sha256 in doubtful.items():
            if found.get(path) != sha256:
                how = "was changed since its stage wrote it" if path in found else "is missing"
                program = self.command.partition(" ")[0]
                maker = f"recipes/{program}" if program.endswith(".py") else "its command"
                raise StoreError(f"{path} {how}; delete {folder / RECORD} and run {maker} again")

    @classmethod
    def read(cls, folder: Path) -> "StageRecord":
        """Reads a finished folder's record.

        Raises:
            StoreError: There is none (the stage is unfinished), or it cannot be read.
        """
        path = folder / RECORD
        try:
            record = cls(**json.loads(path.read_text()))
            for name in ("settings", "inputs", "outcome"):
                if not isinstance(getattr(record, name), dict):
                    raise TypeError(f"{name} is no JSON object")
            return record
        except FileNotFoundError:
            raise StoreError(
                f"expected a finished stage in {folder}, found no {RECORD}; run the stage again, "
                "it goes on where it stopped"
            ) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read ({error}); delete it and run the stage again") from error
