"""A server of chat completions on this machine, with log-probabilities and with faults."""

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

# What a model may say first, with its probability.
Tokens = Sequence[tuple[str, float]]


@dataclass
class Fault:
    """What happens to requests whose prompt has a text in it.

    Attributes:
        kind: `status`, `drop` (no answer), `hang`, or `body` (a body of one's own).
        times: How many requests; None: all.
        key: Whether the message quotes the key that came.
    """

    part: str
    kind: str
    times: int | None = 1
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "something is wrong"
    body: str = ""
    seconds: float = 0.0
    key: bool = False


@dataclass
class ChatServer:
    """Runs between `with` and the end of its block.

    Attributes:
        answers: From a prompt to the likeliest first tokens.
        knows: Fields that it takes; None: all.
        most: Requests that it answers; the others wait until it is raised.
        asked: Requests by prompt.
        answered: Prompts whose answers were sent whole.
        together: The most requests at a time.
        keys: The keys that came; None where there was none.
    """

    answers: Callable[[str], Tokens]
    knows: frozenset[str] | None = None
    most: int | None = None
    asked: Counter[str] = field(default_factory=Counter)
    answered: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    together: int = 0

    def __post_init__(self) -> None:
        self.faults: list[Fault] = []
        self._now, self._lock = 0, threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.chat = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def fault(self, part: str, kind: str = "status", **more: Any) -> None:
        self.faults.append(Fault(part, kind, **more))

    def takes(self, prompt: str) -> Fault | None:
        """Counts a request in; returns what is to go wrong with it."""
        with self._lock:
            self.asked[prompt] += 1
            self._now += 1
            self.together = max(self.together, self._now)
            for fault in self.faults:
                if fault.part in prompt and fault.times != 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def waits(self) -> bool:
        """Waits for a place among the answers; returns whether there was one before the end."""
        while not self.closing.is_set():
            with self._lock:
                if self.most is None:
                    return True
                if self.most > 0:
                    self.most -= 1
                    return True
            time.sleep(0.002)
        return False

    def leaves(self, prompt: str, whole: bool) -> None:
        with self._lock:
            self._now -= 1
            if whole:
                self.answered.append(prompt)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    chat: ChatServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        chat = self.server.chat
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization")
        chat.keys.add(key)
        chat.bodies.append(body)
        prompt = body["messages"][-1]["content"]
        whole = False
        fault = chat.takes(prompt)
        try:
            whole = self._answer(chat, body, prompt, fault, key)
        except OSError:
            # The client has gone.
            self.close_connection = True
        finally:
            chat.leaves(prompt, whole)

    def _answer(
        self, chat: ChatServer, body: Mapping[str, Any], prompt: str, fault: Fault | None, key: str | None
    ) -> bool:
        if self.path != "/v1/chat/completions":
            return self._send(404, {"error": {"message": f"no {self.path} here"}})
        if fault is not None and fault.kind != "body":
            if fault.kind == "hang":
                chat.closing.wait(fault.seconds)
            if fault.kind in ("drop", "hang"):
                self.close_connection = True
                return False
            message = f"{fault.message} ({key})" if fault.key else fault.message
            return self._send(fault.status, {"error": {"message": message}}, fault.headers)
        unknown = sorted(set(body) - (chat.knows if chat.knows is not None else set(body)))
        if unknown:
            return self._send(400, {"error": {"message": f"Unrecognized request argument: {unknown[0]}"}})
        if not chat.waits():
            return False
        if fault is not None:
            return self._send(200, fault.body)
        self._send(200, completion(chat.answers(prompt), body))
        return True

    def _send(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> bool:
        raw = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)
        self.wfile.flush()
        return False


def completion(tokens: Tokens, body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a chat completion of one token, as vLLM writes it."""
    likeliest = sorted(tokens, key=lambda pair: -pair[1])[: body["top_logprobs"]]
    top = [
        {"token": token, "logprob": math.log(probability) if probability else -9999.0, "bytes": None}
        for token, probability in likeliest
    ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{body['model']}-0125",
        "system_fingerprint": "fp-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": top[0]["token"]},
                "logprobs": {"content": [{**top[0], "top_logprobs": top}]},
                "finish_reason": "length",
            }
        ],
        "usage": {
            "prompt_tokens": len(body["messages"][-1]["content"].split()),
            "completion_tokens": 1,
            "total_tokens": 1 + len(body["messages"][-1]["content"].split()),
        },
    }
