"""Files on their way to the Hub: each hashed once, with the path that it gets there."""

import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd

from wellread_hf.store.stage import RepoType

_CHUNK = 1 << 20
# Of an ONNX file these are names and notes; weights have such a row of letters by chance alone.
_PRINTABLE = re.compile(rb"[\x20-\x7e]{16,}")


class LocalFile:
    """A file here, or bytes, and its path in the repository; hashed once however often it is tried."""

    def __init__(self, path: str, content: Path | bytes) -> None:
        self.path, self.content = path, content
        self._pristine = CommitOperationAdd(path, content)

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self._pristine.upload_info.size)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, by which the Hub knows large files; computed once."""
        return str(self._pristine.upload_info.sha256.hex())

    # Not cached: small files alone are known so, and Python 3.11's cached property has one lock for all.
    @property
    def blob_id(self) -> str:
        """Git's SHA-1 of the bytes, by which the Hub knows small files."""
        digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        with self._pristine.as_file() as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
        return digest.hexdigest()

    def operation(self) -> CommitOperationAdd:
        """Returns a fresh operation: the client notes in it what it found on the Hub at the last try."""
        return copy.copy(self._pristine)

    def text(self) -> str:
        """Returns a text file, the header of weights, the words in a graph; of a picture nothing."""
        # A picture is bytes; read as text it could match by chance.
        if self.path.endswith(".png"):
            return ""
        with self._pristine.as_file() as file:
            if self.path.endswith(".onnx"):
                return b"\n".join(_PRINTABLE.findall(file.read())).decode()
            length = -1
            if self.path.endswith(".safetensors"):
                length = int.from_bytes(file.read(8), "little")
                # The file is damaged, which `_check_tensors` reports better.
                if length >= self.size:
                    return ""
            return file.read(length).decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """All files of one repository, or of a branch of it."""

    name: str  # of the repository, without the namespace
    files: Mapping[str, LocalFile]  # by path in the repository
    repo_type: RepoType | Literal["space"] = "model"
    note: str = ""  # what a collection says about it
    branch: str | None = None  # None: main

    @property
    def place(self) -> str:
        """The name, with `@BRANCH` where it is not main."""
        return self.name if self.branch is None else f"{self.name}@{self.branch}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())
