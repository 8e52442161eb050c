"""Contents on disk, named by their SHA-256: a folder for each repository."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from .exchange import CHUNK


class Objects:
    """The stored contents of one repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True)

    def path(self, sha256: str) -> Path:
        """Where a content lies, or would lie."""
        return self.folder / sha256

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether the content is there, with this size if one is given."""
        path = self.path(sha256)
        return path.is_file() and size in (None, path.stat().st_size)

    def add(self, content: bytes) -> str:
        """Stores a content; returns its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.has(sha256):
            self.receive([content], sha256)
        return sha256

    def receive(self, chunks: Iterable[bytes], sha256: str) -> bool:
        """Stores a content chunk by chunk; returns False, and keeps nothing, if it is another one."""
        waiting = self._incoming / uuid.uuid4().hex
        digest = hashlib.sha256()
        try:
            with waiting.open("wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != sha256:
                return False
            # Whole or not at all, also for two clients that send the same content.
            os.replace(waiting, self.path(sha256))
            return True
        finally:
            waiting.unlink(missing_ok=True)

    def receive_part(self, upload: str, number: int, chunks: Iterable[bytes]) -> str:
        """Stores a part of a content; returns its entity tag."""
        folder = self._incoming / upload
        folder.mkdir(exist_ok=True)
        waiting = folder / f"{number}.{uuid.uuid4().hex}"
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with waiting.open("wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            os.replace(waiting, folder / f"{number}-{digest.hexdigest()}")
        finally:
            waiting.unlink(missing_ok=True)
        return digest.hexdigest()

    def join_parts(self, upload: str, parts: list[tuple[int, str]], sha256: str) -> bool:
        """Makes one content of its parts; returns False if a part is missing or the whole is another one."""
        folder = self._incoming / upload
        paths = [folder / f"{number}-{tag}" for number, tag in sorted(parts)]
        if not all(path.is_file() for path in paths):
            return False

        def chunks() -> Iterable[bytes]:
            for path in paths:
                with path.open("rb") as file:
                    while chunk := file.read(CHUNK):
                        yield chunk

        joined = self.receive(chunks(), sha256)
        shutil.rmtree(folder)
        return joined

    def flip_a_bit(self, sha256: str) -> None:
        """Damages a content without changing its size."""
        with self.path(sha256).open("r+b") as file:
            file.seek(self.path(sha256).stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))

    def remove(self) -> None:
        """Forgets everything."""
        shutil.rmtree(self.folder)

    @property
    def size(self) -> int:
        """How many bytes are stored."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())
