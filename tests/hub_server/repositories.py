"""Repositories: commits, branches and tags over stored contents."""

import base64
import fnmatch
import hashlib
import itertools
import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .exchange import Refusal
from .objects import Objects

LARGE = 10 << 20
_BINARY = (
    "7z arrow bin bz2 ckpt ftz gz h5 joblib mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt "
    "pth rar safetensors tar tflite tgz wasm xz zip zst"
)
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


def timestamp() -> str:
    """Returns the time as the Hub writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Commit:
    """A state of all files, and how it came about."""

    id: str
    parent: str | None
    files: Mapping[str, Entry]
    title: str
    description: str
    author: str
    date: str


class Repository:
    """A model or dataset repository; a new one has one commit."""

    def __init__(self, kind: str, name: str, private: bool, folder: Path, lock: threading.RLock) -> None:
        self.kind, self.name, self.private, self.gated = kind, name, private, False
        self.created = timestamp()
        self.key = uuid.uuid4().hex
        self.objects = Objects(folder / self.key)
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self._all: dict[str, Commit] = {}
        self._lock = lock
        attributes = {".gitattributes": self.regular_entry(ATTRIBUTES.encode())}
        self.add_commit("main", attributes, "initial commit", author=self.namespace)

    @property
    def namespace(self) -> str:
        """The user or organization it belongs to."""
        return self.name.split("/")[0]

    @property
    def address(self) -> str:
        """The path of its page below the endpoint."""
        return self.name if self.kind == "models" else f"{self.kind}/{self.name}"

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
        found = self.branches.get(revision.removeprefix("refs/heads/"))
        found = found or self.tags.get(revision.removeprefix("refs/tags/"))
        if found:
            return self._all[found]
        ids = [id for id in self._all if id.startswith(revision)] if len(revision) >= 5 else []
        if len(ids) != 1:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self._all[ids[0]]

    def history(self, commit: Commit) -> Iterator[Commit]:
        """Yields a commit and its ancestors."""
        yield commit
        while commit.parent:
            commit = self._all[commit.parent]
            yield commit

    def last_change(self, commit: Commit, path: str) -> Commit:
        """Returns the commit that gave a file its content."""
        for newer, older in itertools.pairwise(self.history(commit)):
            if older.files.get(path) != newer.files[path]:
                return newer
            commit = older
        return commit

    def files(self, revision: str = "main") -> dict[str, Entry]:
        """Returns the files of a revision."""
        return dict(self.commit(revision).files)

    def read(self, path: str, revision: str = "main") -> bytes:
        """Returns what a file holds."""
        return self.objects.path(self.commit(revision).files[path].sha256).read_bytes()

    def regular_entry(self, content: bytes) -> Entry:
        """Stores a content that git keeps itself."""
        return Entry(self.objects.add(content), len(content), blob_id(content))

    def is_large(self, path: str, size: int, sample: bytes, files: Mapping[str, Entry]) -> bool:
        """Whether a file goes to the large ones: by its size, by .gitattributes, or because it is no text."""
        rules = files.get(".gitattributes")
        lines = self.objects.path(rules.sha256).read_text().splitlines() if rules else []
        patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
        return (
            size > LARGE
            or any(fnmatch.fnmatch(path.rsplit("/", 1)[-1], pattern) for pattern in patterns)
            or not _is_text(sample)
        )

    def add_commit(
        self, branch: str, files: Mapping[str, Entry], title: str, description: str = "", author: str = "test"
    ) -> Commit:
        """Puts a commit on a branch, which it makes if there is none."""
        with self._lock:
            date, parent = timestamp(), self.branches.get(branch)
            # Two commits of the same files in the same millisecond still are two.
            story = [parent, date, title, len(self._all), sorted((path, e.oid) for path, e in files.items())]
            id = hashlib.sha1(json.dumps([self.key, *story]).encode(), usedforsecurity=False).hexdigest()
            self._all[id] = Commit(id, parent, dict(files), title, description, author, date)
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
                    now[path] = large_entry(self.objects.add(content), len(content))
                else:
                    now[path] = self.regular_entry(content)
            return self.add_commit(branch, now, title).id

    def corrupt(self, path: str, revision: str = "main") -> None:
        """Flips one bit of a stored file; its hashes and its size are told as before."""
        self.objects.flip_a_bit(self.commit(revision).files[path].sha256)


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
