"""Faults and hooks: what shall happen to the n-th request that looks so and so."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .exchange import Reply, Request, text_reply

KINDS = (
    "status",  # an error answer instead of the action
    "status_after",  # an error answer although the action was done
    "delay",  # the action waits, its request being read
    "drop_before",  # the connection is reset before the body is read
    "drop_upload",  # ... in the middle of the request's body
    "drop_answer",  # ... in the middle of the answer
    "drop_after",  # ... after the action, before any answer
    "before",  # a hook, before the action
    "after",  # a hook, between the action and the answer
)


@dataclass
class Fault:
    """One rule; `hits` counts how often it took effect."""

    pattern: re.Pattern[str]
    kind: str
    nth: int
    times: int | None
    status: int = 500
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    at: int | None = None
    clean: bool = False
    call: Callable[[Request], object] | None = None
    hits: int = 0
    _seen: int = 0

    def reply(self) -> Reply:
        """The error answer of the kinds `status` and `status_after`."""
        return text_reply(self.body, self.status, self.headers)

    def cut(self, length: int) -> int:
        """After how many of so many bytes the connection drops."""
        return length // 2 if self.at is None else min(self.at, length)

    def takes(self, line: str) -> bool:
        """Counts a request that fits; whether the rule takes effect on it."""
        if not self.pattern.search(line):
            return False
        self._seen += 1
        over = self.times is not None and self._seen >= self.nth + self.times
        if self._seen < self.nth or over:
            return False
        self.hits += 1
        return True


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Puts a rule in force."""
        if fault.kind not in KINDS:
            raise ValueError(f"no kind of fault: {fault.kind!r}; the kinds are {', '.join(KINDS)}")
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        """Lifts all rules."""
        with self._lock:
            self._rules.clear()

    def on(self, request: Request) -> list[Fault]:
        """Returns the rules that take effect on a request, and counts them."""
        line = f"{request.method} {request.target}"
        with self._lock:
            # Every rule counts every request, also one that another rule takes.
            return [fault for fault in self._rules if fault.takes(line)]
