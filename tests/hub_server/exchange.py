"""What goes over the wire: a request that can be read in pieces, a reply that can be sent in pieces."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from .state import User

CHUNK = 1 << 20


class Request:
    """One request; its body stays on the wire until somebody reads it."""

    def __init__(self, method: str, target: str, headers: Message, stream: BufferedIOBase) -> None:
        self.method, self.target, self.headers, self._stream = method, target, headers, stream
        parts = urlsplit(target)
        self.path = parts.path
        self.query = parse_qs(parts.query, keep_blank_values=True)
        self.length = int(headers.get("Content-Length") or 0)
        self.received = 0
        self.body = b""
        self.user: User | None = None

    def chunks(self, limit: int | None = None) -> Iterator[bytes]:
        """Yields what is left of the body, or up to `limit` bytes of it; ends early if the client does."""
        end = self.length if limit is None else min(self.length, limit)
        while self.received < end:
            chunk = self._stream.read(min(CHUNK, end - self.received))
            if not chunk:
                raise ConnectionResetError("the client went away in the middle of its request")
            self.received += len(chunk)
            yield chunk

    def skip(self, limit: int | None = None) -> None:
        """Reads and forgets the rest of the body, or up to `limit` bytes of it."""
        for _ in self.chunks(limit):
            pass

    def read(self) -> None:
        """Keeps the whole body in `self.body`."""
        self.body = b"".join(self.chunks())

    def json(self) -> dict[str, Any]:
        """Returns the body as a JSON object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refusal(400, f"The body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise Refusal(400, "The body is not a JSON object")
        return value

    def flag(self, name: str) -> bool:
        """Whether a query parameter is there and says yes."""
        return self.query.get(name, ["false"])[0].lower() in ("true", "1")


@dataclass(frozen=True)
class FileSlice:
    """Bytes of a file on disk, to be sent without loading them."""

    path: Path
    start: int
    length: int

    def chunks(self) -> Iterator[bytes]:
        """Yields the bytes."""
        left = self.length
        with self.path.open("rb") as file:
            file.seek(self.start)
            while left:
                chunk = file.read(min(CHUNK, left))
                left -= len(chunk)
                yield chunk


@dataclass
class Reply:
    """Status, headers and body of an answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | FileSlice = b""

    @property
    def length(self) -> int:
        """How many bytes the body has."""
        return self.body.length if isinstance(self.body, FileSlice) else len(self.body)

    def chunks(self) -> Iterator[bytes]:
        """Yields the body."""
        if isinstance(self.body, FileSlice):
            yield from self.body.chunks()
        elif self.body:
            yield self.body


class Refusal(Exception):
    """An error answer in the Hub's form: a JSON body with `error`, and the headers the client reads."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(message)
        # A header is one line of Latin-1, whatever a name in the message may be.
        line = re.sub(r"\s+", " ", message).encode("latin-1", "replace").decode("latin-1")
        named = {"X-Error-Message": line} | ({"X-Error-Code": code} if code else {})
        self.reply = json_reply({"error": message, **more}, status, {**named, **(headers or {})})


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Returns an answer with a JSON body."""
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Reply(status, {**kind, **(headers or {})}, json.dumps(value).encode())


def text_reply(text: str, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    """Returns an HTML page if the text begins like one, and the Hub's JSON error otherwise."""
    if text.lstrip().startswith("<"):
        return Reply(status, {"Content-Type": "text/html", **(headers or {})}, text.encode())
    return Refusal(status, text or HTTPStatus(status).phrase, headers=headers).reply


def file_reply(request: Request, path: Path, headers: Mapping[str, str]) -> Reply:
    """Returns a file, or the part of it that the Range header asks for."""
    size = path.stat().st_size
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if not asked or not any(asked.groups()):
        return Reply(200, headers, FileSlice(path, 0, size))
    first, last = asked.groups()
    # "-5" is the last five bytes, "5-" all from the sixth on.
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        raise Refusal(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{size}"})
    span = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
    return Reply(206, headers | span, FileSlice(path, start, end - start))
