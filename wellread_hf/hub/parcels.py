"""What may be pushed: an allow-list of files, all checked here before the first request."""

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id
from safetensors import SafetensorError, safe_open

from wellread_hf.errors import PublishError
from wellread_hf.hub.cards.secrets import secrets_in
from wellread_hf.store.places import RepoType
from wellread_hf.store.progress import bar
from wellread_hf.store.records import ADAPTER, RECORD

_MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_MAY_BE_THERE = ("special_tokens_map.json", "vocab.txt")
# What our own stages and `wellread card` leave in a run's folder beside the model; it stays here.
# A kill between a record and the tidying after it leaves locks and checkpoints.
_STAYS_HERE = (RECORD, "log.json", "README.md", "switches.json", ".lock")
_FOLDERS_STAY_HERE = (".eval_results", ADAPTER, "checkpoints", "unchecked")
_SHARD = re.compile(r"shard-\d{5}-of-\d{5}\.safetensors")
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,94}[a-z0-9])?")
_NAMESPACE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")


class LocalFile:
    """A file to push, hashed once however often it is tried.

    Args:
        path: Its path in the repository.
        content: A file here, or bytes.
    """

    def __init__(self, path: str, content: Path | bytes) -> None:
        self.path = path
        self.content = content
        self._pristine = CommitOperationAdd(path, content)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self._pristine.upload_info.size)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, as large files are known by on the Hub; computed once."""
        return str(self._pristine.upload_info.sha256.hex())

    # Not cached: small files alone are known so, and Python 3.11's cached property has one lock for all.
    @property
    def blob_id(self) -> str:
        """Git's SHA-1 of the bytes, as small files are known by on the Hub."""
        digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        with self._pristine.as_file() as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def operation(self) -> CommitOperationAdd:
        """Returns a fresh operation: the client notes in it what it found on the Hub at the last try."""
        return copy.copy(self._pristine)

    def text(self) -> str | None:
        """Returns the content of a text file, of weights their header; None for pictures."""
        if self.path.endswith(".png"):
            return None
        with self._pristine.as_file() as file:
            if not self.path.endswith(".safetensors"):
                return file.read().decode("utf-8", errors="replace")
            header = int.from_bytes(file.read(8), "little")
            return file.read(header).decode("utf-8", errors="replace") if header < self.size else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """All files of one repository.

    Attributes:
        name: Name of the repository, without the namespace.
        files: By path in the repository.
        repo_type: `model` or `dataset`.
        note: What a collection says of it.
    """

    name: str
    files: Mapping[str, LocalFile]
    repo_type: RepoType = "model"
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def model_parcel(folder: Path, name: str, added: Mapping[str, bytes], note: str = "") -> Parcel:
    """Takes the files of a saved model, and what is made for the Hub alone: card, picture, scores.

    Raises:
        PublishError: A file is missing or not on the allow-list, is a link, or has damaged weights.
    """
    found = _files(folder, (*_MODEL_FILES, *_MAY_BE_THERE))
    missing = [file for file in _MODEL_FILES if file not in found]
    if missing:
        raise PublishError(
            f"{folder}: expected a saved model with {', '.join(_MODEL_FILES)}, {', '.join(missing)} missing; "
            "save it again with save_pretrained (safetensors), tokenizer included"
        )
    settings = {file: _json(path) for file, path in found.items() if path.suffix == ".json"}
    if not settings["config.json"].get("architectures"):
        raise PublishError(
            f"{found['config.json']}: expected architectures, got none, so pipelines would not know what "
            "to load; save the model again, or take it over with recipes/adopt.py"
        )
    _check_weights(found["model.safetensors"])
    return _parcel(name, found, added, "model", note)


def soft_labels_parcel(folder: Path, name: str, added: Mapping[str, bytes], note: str = "") -> Parcel:
    """Takes the shards of a finished labelling stage, and what is made for the Hub alone: card and record.

    Raises:
        PublishError: A file is not on the allow-list, is a link, or is damaged; or there is no shard.
    """
    found = _files(folder, (), _SHARD)
    if not found:
        raise PublishError(f"{folder}: expected shards of soft labels, found none; run recipes/label.py")
    for shard in found.values():
        _check_weights(shard)
    return _parcel(name, found, added, "dataset", note)


def check_parcels(parcels: Sequence[Parcel], token: str | None) -> None:
    """Checks names, and every text for secrets; call it before anything is sent.

    Raises:
        PublishError: With all that was found.
    """
    problems = [problem for parcel in parcels for problem in _problems(parcel, token)]
    names = [parcel.name for parcel in parcels]
    problems += [f"two repositories are named {name}" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise PublishError("nothing was sent: " + "; ".join(problems))


def hash_files(parcels: Sequence[Parcel]) -> None:
    """Computes the SHA-256 of every file, on all cores; later looks cost nothing."""
    files = [file for parcel in parcels for file in parcel.files.values()]
    total = sum(file.size for file in files)
    with (
        bar("hashing", "B", total, unit_scale=True, unit_divisor=1024) as shown,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        # The largest first, so that no core is left with it at the end.
        files.sort(key=lambda file: -file.size)
        for file, _ in zip(files, pool.map(lambda file: file.sha256, files), strict=True):
            shown.update(file.size)


def check_namespace(namespace: str) -> None:
    """Refuses a namespace that is none.

    Raises:
        PublishError: It breaks a rule.
    """
    if not namespace:
        raise PublishError(
            "`namespace` is missing: expected the user or organisation that gets the repositories"
        )
    if not _NAMESPACE.fullmatch(namespace) or not _is_name(namespace):
        raise PublishError(
            f"`namespace` {namespace!r} is no name of a user or organisation: expected letters, digits, . _ -"
        )


def order_of(name: str) -> tuple[int, ...]:
    """Sorts the family by its sizes; task students come after it, everything else last."""
    sizes = re.fullmatch(r"bert-(\d+)-(\d+)(-.*)?", name)
    if sizes is None:
        return (2,)
    return (1 if sizes[3] else 0, int(sizes[1]), int(sizes[2]))


def _is_name(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _problems(parcel: Parcel, token: str | None) -> Iterator[str]:
    if not _NAME.fullmatch(parcel.name) or not _is_name(parcel.name):
        yield (
            f"{parcel.name!r} is no name for a repository: expected up to 96 lower-case letters, digits, "
            ". _ -, beginning and ending with a letter or digit, without -- and .."
        )
    for file in parcel.files.values():
        text = file.text() or ""
        found = [*secrets_in(text)]
        if token and token in text:
            found.append("the token that you are logged in with")
        if found:
            yield (
                f"{parcel.name}: {file.path} holds what looks like a token or a private key "
                f"({', '.join(found)}); take it out (and revoke it, if it was real)"
            )


def _parcel(
    name: str, found: Mapping[str, Path], added: Mapping[str, bytes], repo_type: RepoType, note: str
) -> Parcel:
    files = {path: LocalFile(path, where) for path, where in found.items()}
    files |= {path: LocalFile(path, content) for path, content in added.items()}
    return Parcel(name=name, files=dict(sorted(files.items())), repo_type=repo_type, note=note)


def _files(folder: Path, allowed: Sequence[str], pattern: re.Pattern[str] | None = None) -> dict[str, Path]:
    if not folder.is_dir() or folder.is_symlink():
        raise PublishError(f"{folder}: expected a folder (not a link to one); give a run's folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name in _FOLDERS_STAY_HERE and path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            kind = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "no ordinary file"
            raise PublishError(f"{path} is {kind}: expected ordinary files only; move it out of the folder")
        if path.name in allowed or (pattern and pattern.fullmatch(path.name)):
            found[path.name] = path
        elif path.name not in _STAYS_HERE and path.suffix not in (".png", ".part"):
            raise PublishError(
                f"{path} is not among the files that are pushed ({', '.join(allowed)}); move it out of the "
                "folder"
            )
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PublishError(f"{path}: not JSON ({error}); save the model again") from error
    if not isinstance(value, dict):
        raise PublishError(f"{path}: expected a JSON object, got something else; save the model again")
    return value


def _check_weights(path: Path) -> None:
    try:
        with safe_open(path, framework="numpy") as file:
            empty = not list(file.keys())
    except (SafetensorError, OSError) as error:
        raise PublishError(f"{path}: not a whole safetensors file ({error}); write it again") from error
    if empty:
        raise PublishError(f"{path} holds no tensors; write it again")
