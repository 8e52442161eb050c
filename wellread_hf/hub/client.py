"""The client's HTTP made patient: time-outs that it lacks, and answers to try again after as exceptions.

The client retries half of its calls, some without end and some for as long as the server says
(huggingface_hub 2.4, `utils/_http.py`). With these hooks one place decides instead, `calls`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any

from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory

AGAIN = (408, 425, 429, 500, 502, 503, 504)
_CONNECT_SECONDS, _SILENCE_SECONDS = 10.0, 60.0
_QUOTA = re.compile(r"\b(?:in|after|for)\s+(?:about\s+)?(\d+)\s+(second|minute|hour)s?\b", re.I)
_UNITS = {"second": 1, "minute": 60, "hour": 3600}
# A date beyond a calendar's end helps nobody.
_LONGEST_WAIT = 7 * 86400.0
# On this answer the client asks again at once and without end (huggingface_hub 2.4, `create_repo`).
_CREATION_BUSY = "another conflicting operation is in progress"


class AnsweredAgain(Exception):
    """An answer of the Hub that may be tried again.

    Attributes:
        code: HTTP status.
        wait: Seconds that the Hub asks to wait, if it says so.
        message: What it said.
    """

    def __init__(self, code: int, wait: float | None, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code, self.wait, self.message = code, wait, message


@contextmanager
def patient_client(longest: float = inf) -> Iterator[None]:
    """Gives the client time-outs that it lacks, and takes the retries of answers out of its hands.

    Args:
        longest: Seconds that no time-out exceeds.
    """

    def factory() -> Any:
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], lambda request: _bound(request, longest)],
            "response": [*hooks["response"], _raise_if_again],
        }
        return client

    set_client_factory(factory)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)


def _bound(request: Any, longest: float) -> None:
    """Fills in time-outs; a default of the client does not do, calls pass `timeout=None` themselves."""
    given = request.extensions.get("timeout") or {}
    bounds = {"connect": _CONNECT_SECONDS, "read": _SILENCE_SECONDS, "write": _SILENCE_SECONDS}
    request.extensions["timeout"] = {
        name: min(longest, given.get(name) or bounds.get(name, _SILENCE_SECONDS))
        for name in (*bounds, "pool")
    }


def _raise_if_again(response: Any) -> None:
    if response.status_code not in (*AGAIN, 409):
        return
    response.read()
    if response.status_code == 409 and _CREATION_BUSY not in response.text:
        return
    try:
        answer = response.json()
        message = answer.get("error", "") if isinstance(answer, dict) else ""
    except ValueError:
        message = ""
    message = str(message or response.headers.get("X-Error-Message") or response.reason_phrase)
    raise AnsweredAgain(response.status_code, asked_wait(response.headers, message), one_line(message))


def asked_wait(headers: Any, message: str) -> float | None:
    """Returns the seconds that an answer asks to wait: by `RateLimit`, `Retry-After`, or in its words."""
    asked = _asked(headers, message)
    return None if asked is None else min(max(asked, 0.0), _LONGEST_WAIT)


def _asked(headers: Any, message: str) -> float | None:
    limit = re.search(r"r\s*=\s*0\s*;\s*t\s*=\s*(\d+)", headers.get("RateLimit", ""))
    if limit:
        return float(limit[1]) + 1
    after = headers.get("Retry-After", "").strip()
    if after.isdecimal():
        return float(after) + 1
    if after:
        try:
            return (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds() + 1
        except (TypeError, ValueError):
            return None
    told = _QUOTA.search(message)
    return float(told[1]) * _UNITS[told[2].lower()] if told else None


def one_line(text: str, longest: int = 300) -> str:
    """Puts text from elsewhere on one line of a bearable length, without what would steer a terminal."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())[:longest]
