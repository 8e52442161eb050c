"""Repositories: commits, branches and tags over contents on disk, named by their SHA-256."""

import base64
import fnmatch
import hashlib
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .exchange import CHUNK, Refusal

LARGE = 10 << 20
_BINARY = (
    "7z arrow bin bz2 ckpt ftz gz h5 joblib mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt "
    "pth rar safetensors tar tflite tgz wasm xz zip zst"
)
# What the Hub puts into a new static Space.
TEMPLATE = {
    "README.md": "---\ntitle: My Space\nsdk: static\npinned: false\n---\n",
    "index.html": "<!doctype html><p>Welcome to your static Space!</p>\n",
    "style.css": "body { padding: 2rem; }\n",
}
ATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in _BINARY.split())


@dataclass(frozen=True)
class Entry:
    """A file of a commit; `pointer_size` is None for a regular one."""

    sha256: str
    size: int
    oid: str
    pointer_size: int | None = None

    @property
    def lfs(self) -> bool:
        """Whether git keeps a pointer in its place."""
        return self.pointer_size is not None

    @property
    def content_id(self) -> str:
        """The hash by which the client recognises the content."""
        return self.sha256 if self.lfs else self.oid


def blob_id(content: bytes) -> str:
    """Returns git's hash of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def large_entry(sha256: str, size: int) -> Entry:
    """Returns the entry of a content that git knows by a pointer."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return Entry(sha256, size, blob_id(pointer), len(pointer))


@dataclass(frozen=True)
class Commit:
    """A state of all files, and how it came about."""

    id: str
    parent: str | None
    files: Mapping[str, Entry]
    title: str
    author: str
    date: str


class Repository:
    """A model, dataset or Space; a new one has one commit."""

    def __init__(self, kind: str, name: str, private: bool, folder: Path, lock: threading.RLock) -> None:
        self.kind, self.name, self.private = kind, name, private
        self.namespace = name.split("/")[0]
        self.address = name if kind == "models" else f"{kind}/{name}"
        self.key = uuid.uuid4().hex
        self.folder, self.incoming = folder / self.key, folder / self.key / "incoming"
        self.incoming.mkdir(parents=True)
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self._all: dict[str, Commit] = {}
        self._lock = lock
        first = {".gitattributes": ATTRIBUTES} | (TEMPLATE if kind == "spaces" else {})
        entries = {path: self.regular_entry(text.encode()) for path, text in first.items()}
        self.add_commit("main", entries, "initial commit", author=self.namespace)

    # Contents

    def path(self, sha256: str) -> Path:
        """Where a content lies, or would lie."""
        return self.folder / sha256

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether the content is there, with this size if one is given."""
        path = self.path(sha256)
        return path.is_file() and size in (None, path.stat().st_size)

    def receive(self, chunks: Iterable[bytes], sha256: str | None, place: str = "") -> str | None:
        """Stores a content chunk by chunk; returns its SHA-256. Keeps nothing if another was expected."""
        waiting = self.incoming / uuid.uuid4().hex
        digest = hashlib.sha256()
        try:
            with waiting.open("wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            if sha256 not in (None, digest.hexdigest()):
                return None
            # Whole or not at all, also for two clients that send the same content.
            os.replace(waiting, self.path(place + digest.hexdigest()))
            return digest.hexdigest()
        finally:
            waiting.unlink(missing_ok=True)

    def receive_part(self, upload: str, number: int, chunks: Iterable[bytes]) -> str:
        """Stores a part of a content; returns its entity tag."""
        (self.incoming / upload).mkdir(exist_ok=True)
        return str(self.receive(chunks, None, f"incoming/{upload}/{number}-"))

    def join_parts(self, upload: str, parts: list[tuple[int, str]], sha256: str) -> bool:
        """Makes one content of its parts; returns False if a part is missing or the whole is another one."""
        folder = self.incoming / upload
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
        return joined is not None

    def regular_entry(self, content: bytes) -> Entry:
        """Stores a content that git keeps itself."""
        return Entry(str(self.receive([content], None)), len(content), blob_id(content))

    def is_large(self, path: str, size: int, sample: bytes, files: Mapping[str, Entry]) -> bool:
        """Whether a file goes to the large ones: by its size, by .gitattributes, or because it is no text."""
        rules = files.get(".gitattributes")
        lines = self.path(rules.sha256).read_text().splitlines() if rules else []
        patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
        return (
            size > LARGE
            or any(fnmatch.fnmatch(path.rsplit("/", 1)[-1], pattern) for pattern in patterns)
            or not _is_text(sample)
        )

    # Commits

    @property
    def head(self) -> str:
        """The last commit of the branch main."""
        return self.branches["main"]

    @property
    def commits(self) -> list[Commit]:
        """The history of the branch main, the newest first."""
        return list(self.history(self.commit("main")))

    def commit(self, revision: str) -> Commit:
        """Returns the commit of a branch, a tag or a hash (also an unambiguous short one)."""
        if found := self.branches.get(revision) or self.tags.get(revision):
            return self._all[found]
        ids = [id for id in self._all if id.startswith(revision)] if len(revision) >= 5 else []
        if len(ids) != 1:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self._all[ids[0]]

    def history(self, commit: Commit) -> Iterator[Commit]:
        """Yields a commit and those before it, the newest first."""
        yield commit
        while commit.parent:
            commit = self._all[commit.parent]
            yield commit

    def files(self, revision: str = "main") -> dict[str, Entry]:
        """Returns the files of a revision."""
        return dict(self.commit(revision).files)

    def read(self, path: str, revision: str = "main") -> bytes:
        """Returns what a file holds."""
        return self.path(self.commit(revision).files[path].sha256).read_bytes()

    def add_commit(self, branch: str, files: Mapping[str, Entry], title: str, author: str = "test") -> Commit:
        """Puts a commit on a branch, which it makes if there is none."""
        with self._lock:
            date = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            parent = self.branches.get(branch)
            # Two commits of the same files in the same millisecond still are two.
            story = [self.key, parent, date, title, len(self._all), sorted(files)]
            id = hashlib.sha1(json.dumps(story).encode(), usedforsecurity=False).hexdigest()
            self._all[id] = Commit(id, parent, dict(files), title, author, date)
            self.branches[branch] = id
            return self._all[id]

    def commit_directly(
        self, files: Mapping[str, bytes | None], title: str = "somebody else was here", branch: str = "main"
    ) -> str:
        """Commits as somebody else would; None deletes a file. Returns the commit's hash."""
        with self._lock:
            now = dict(self.commit(branch).files)
            for path, content in files.items():
                if content is None:
                    del now[path]
                elif self.is_large(path, len(content), content[:512], now):
                    now[path] = large_entry(str(self.receive([content], None)), len(content))
                else:
                    now[path] = self.regular_entry(content)
            return self.add_commit(branch, now, title).id

    def corrupt(self, path: str, revision: str = "main") -> None:
        """Flips one bit of a stored file; its hashes and its size are reported as before."""
        stored = self.path(self.commit(revision).files[path].sha256)
        content = bytearray(stored.read_bytes())
        content[len(content) // 2] ^= 1
        stored.write_bytes(content)


def _is_text(sample: bytes) -> bool:
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        # A sample may end within a character.
        return error.reason == "unexpected end of data" and b"\0" not in sample
    return b"\0" not in sample


def check_path(path: str) -> str:
    """Returns the path of a file in a repository, or refuses it."""
    if not path or re.search(r"(^|/)(\.{0,2}|\.git)(/|$)", path) or "\\" in path or "\0" in path:
        raise Refusal(400, f"Invalid path: {path!r}")
    return path


def decode(text: str) -> bytes:
    """Returns the bytes of a Base64 text, or refuses it."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refusal(400, "The content is not Base64") from error
