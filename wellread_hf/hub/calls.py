"""Every call to the Hub: bounded in time, tried again where that helps, and as slow as the Hub asks.

The client retries half of its calls, some without end and some for as long as the server says
(huggingface_hub 2.4, `utils/_http.py`). Hooks in its HTTP client leave the decision to `Calls`.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from math import inf
from random import Random
from typing import Any, TypeVar

from huggingface_hub import HfApi, get_token, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils._http import default_client_factory

from wellread_hf.errors import AuthenticationError, HubError, TryLaterError, WellreadError, one_line
from wellread_hf.store.places import is_transport_error
from wellread_hf.store.progress import say

Answer = TypeVar("Answer")

# What the client itself counts as temporary (`http_backoff`), and 425.
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
# The client sets no time-out for uploads and most calls: a silent server would hold them for ever.
_CONNECT_SECONDS, _SILENCE_SECONDS = 10.0, 60.0
# The client's own backoff begins at one second as well.
_FIRST_WAIT, _LONGEST_BACKOFF = 1.0, 30.0
# Longer waits are announced, or they look as if the program hung.
_SILENT_BELOW = 5.0
# A date beyond the calendar's end cannot be shown.
_LONGEST_WAIT = 7 * 86400.0
# A page of an error, cut to what fits a line of a table.
_LONGEST_MESSAGE = 300
_QUOTA = re.compile(r"\b(?:in|after|for)\s+(?:about\s+)?(\d+)\s+(second|minute|hour)s?\b", re.I)
_UNITS = {"second": 1, "minute": 60, "hour": 3600}
# On this answer the client asks again at once and without end (huggingface_hub 2.4, `create_repo`).
_CREATION_BUSY = "another conflicting operation is in progress"
# How the client reports a server without Xet: as a broken connection.
_NO_XET = re.compile(r"\(404 .*xet-\w+-token")


class CallError(Exception):
    """A call that failed: whether to retry, the HTTP status, and the seconds that the Hub asks to wait."""

    def __init__(self, message: str, retry: bool, code: int | None = None, wait: float | None = None) -> None:
        self.message, self.retry, self.code, self.wait = (
            one_line(message, _LONGEST_MESSAGE),
            retry,
            code,
            wait,
        )
        super().__init__(self.message)


class Stopped(Exception):
    """The run was stopped; what was begun is left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long to go on, in seconds."""

    deadline: float = 3600.0  # for one repository
    silence: float = 60.0  # until a Hub that has never answered counts as unreachable
    max_wait: float = 300.0  # longest single wait that the Hub may ask for; above it the run ends


@dataclass(slots=True)
class Pause:
    """What all workers share: a pause, the order to stop, and whether the Hub has ever answered."""

    stopped: threading.Event = field(default_factory=threading.Event)
    answered: bool = False
    _until: float = 0.0

    def extend(self, seconds: float) -> None:
        """Makes every worker wait: a rate limit counts for all of them."""
        self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, seconds: float = 0.0) -> None:
        """Waits for the seconds, and to the end of the pause.

        Raises:
            Stopped: The run was stopped, perhaps during the wait.
        """
        until = max(self._until, time.monotonic() + seconds)
        if self.stopped.wait(max(0.0, until - time.monotonic())):
            raise Stopped


class Calls:
    """The calls on behalf of one repository; the pause is shared by all workers."""

    def __init__(self, limits: Limits, pause: Pause) -> None:
        self.limits, self.pause = limits, pause
        self.tries = 0
        self._started = time.monotonic()
        # Workers that failed together should not come back together. No secret depends on it.
        self._jitter = Random()

    def __call__(self, what: str, call: Callable[[], Answer]) -> Answer:
        """Calls until it works.

        Args:
            what: What it does, for messages.
            call: The call; it must be safe to repeat.

        Raises:
            HubError: The Hub refuses, or did not answer in time; its subclasses say how.
        """
        for failed in count(1):
            try:
                return self.once(call)
            except CallError as error:
                self.wait_or_raise(what, error, failed)
        raise AssertionError("count() has no end")

    def once(self, call: Callable[[], Answer]) -> Answer:
        """Calls a single time; raises a `CallError` where that did not work."""
        self.pause.wait()
        self.tries += 1
        try:
            answer = call()
        except (Stopped, WellreadError):
            # From a call inside this one, which has had its own tries.
            raise
        except Exception as error:
            failure = _diagnose(error)
            # A fault of this machine or of ours is not the Hub's.
            if failure is None:
                raise
            # With a status, even of an error, somebody has answered.
            self.pause.answered |= failure.code is not None
            raise failure from error
        self.pause.answered = True
        return answer

    def wait_or_raise(self, what: str, error: CallError, failed: int) -> None:
        """Waits for the next try: as long as the Hub asks, or twice as long after each failure.

        Raises:
            HubError: There is no next try.
        """
        # Before all others: a token that is refused here is refused for every repository.
        if error.code == 401:
            raise AuthenticationError(
                f"{what}: the Hub does not accept the token ({error.message}); log in with `hf auth login`, "
                "or set HF_TOKEN to a token that may write"
            ) from error
        if not error.retry:
            raise HubError(f"{what}: {error.message}") from error
        wait = error.wait
        if wait is not None and wait > self.limits.max_wait:
            back = datetime.fromtimestamp(time.time() + wait).astimezone()
            raise TryLaterError(
                f"{what}: the Hub asks to wait {wait / 60:.0f} minutes ({error.message}); run the same "
                f"command again after {back:%H:%M}, or allow the wait with `max_wait` {wait / 60 + 1:.0f}"
            ) from error
        if wait is None:
            # The exponent is cut, because a float times 2 to the 1024 is an OverflowError.
            doubled = min(_LONGEST_BACKOFF, _FIRST_WAIT * 2 ** min(failed - 1, 10))
            wait = doubled * self._jitter.uniform(0.75, 1.25)
        # A wrong address is known within a minute; it need not take the hour that a repository may.
        allowed = self.limits.deadline
        if not self.pause.answered:
            allowed = min(allowed, self.limits.silence)
        # A try after the deadline is not worth its wait.
        if time.monotonic() + wait > self._started + allowed:
            raise HubError(
                f"{what}: no success within {allowed:.0f} s and {self.tries} calls, the last answer was: "
                f"{error.message}; run the same command again, it goes on from here"
            ) from error
        if wait >= _SILENT_BELOW:
            say(f"{what}: {error.message}; trying again in {wait:.0f} s")
        if error.code == 429:
            self.pause.extend(wait)
        self.pause.wait(wait)


def _diagnose(error: BaseException) -> CallError | None:
    """Finds the cause of an error of the client; None where it is not the Hub's or the network's.

    The client wraps errors of uploads in a plain `RuntimeError`, so causes are looked at as well.
    """
    following: BaseException | None = error
    while following is not None:
        error, following = following, following.__cause__ or following.__context__
        # Raised by a hook of ours; the client may have wrapped it since.
        if isinstance(error, CallError):
            return error
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            code = error.response.status_code
            return CallError(str(error.server_message or error), retry=code in _RETRIED, code=code)
        if isinstance(error, OfflineModeIsEnabled):
            return CallError("HF_HUB_OFFLINE=1 forbids the network; unset it", retry=False)
        if _NO_XET.search(str(error)):
            return CallError(
                "this Hub has no Xet storage; set HF_HUB_DISABLE_XET=1 and run the same command again",
                retry=False,
            )
        # An answer that is not JSON is a proxy's page, not the Hub's.
        if isinstance(error, json.JSONDecodeError):
            return CallError("an answer that is not JSON", retry=True)
        # After a failed connection the client throws away the session that all threads share.
        if isinstance(error, RuntimeError) and "client has been closed" in str(error):
            return CallError("the connection was closed", retry=True)
        # A full disk or a missing permission is an OSError too, but not the network's.
        ours = isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError)
        if is_transport_error(error) and not ours:
            return CallError(f"{type(error).__name__}: {error}", retry=True)
        # The client's error for a card that the Hub's `validate-yaml` refuses.
        if isinstance(error, ValueError) and "Invalid metadata" in str(error):
            return CallError(str(error), retry=False, code=400)
    return None


def client() -> HfApi:
    """Returns the client of the environment's Hub, for the user who is logged in."""
    return HfApi(token=get_token())


@contextmanager
def bounded_client(longest: float = inf) -> Iterator[None]:
    """Gives the client time-outs of at most `longest` seconds, and takes retries out of its hands."""

    def factory() -> Any:
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], lambda request: _bound(request, longest)],
            "response": [*hooks["response"], _raise_if_retried],
        }
        return client

    set_client_factory(factory)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)


def _bound(request: Any, longest: float) -> None:
    """Fills in time-outs; a default of the client is not enough, calls pass `timeout=None` themselves."""
    given = request.extensions.get("timeout") or {}
    bounds = {"connect": _CONNECT_SECONDS} | dict.fromkeys(("read", "write", "pool"), _SILENCE_SECONDS)
    request.extensions["timeout"] = {
        name: min(longest, given.get(name) or bound) for name, bound in bounds.items()
    }


def _raise_if_retried(response: Any) -> None:
    if response.status_code not in (*_RETRIED, 409):
        return
    # Hooks run before the body is read.
    response.read()
    if response.status_code == 409 and _CREATION_BUSY not in response.text:
        return
    try:
        answer = response.json()
        message = answer.get("error", "") if isinstance(answer, dict) else ""
    except ValueError:
        message = ""
    message = str(message or response.headers.get("X-Error-Message") or response.reason_phrase)
    code = response.status_code
    raise CallError(f"{code} {message}", True, code, requested_wait(response.headers, message))


def requested_wait(headers: Any, message: str) -> float | None:
    """Returns the seconds that an answer asks to wait, from `RateLimit`, `Retry-After` or its words."""
    limit = re.search(r"r\s*=\s*0\s*;\s*t\s*=\s*(\d+)", headers.get("RateLimit", ""))
    after = headers.get("Retry-After", "").strip()
    quota = _QUOTA.search(message)
    # A second more than the Hub says, as the client itself waits.
    if limit:
        seconds = float(limit[1]) + 1
    elif after.isdecimal():
        seconds = float(after) + 1
    elif after:
        try:
            seconds = (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds() + 1
        except (TypeError, ValueError):
            return None
    elif quota:
        seconds = float(quota[1]) * _UNITS[quota[2].lower()]
    else:
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)
