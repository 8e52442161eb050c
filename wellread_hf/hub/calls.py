"""Every call to the Hub with its own retries, its own end, and respect for what the Hub asks."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from random import Random
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from wellread_hf.errors import AuthenticationError, HubError, TryLaterError, WellreadError
from wellread_hf.hub.client import AGAIN, AnsweredAgain, one_line
from wellread_hf.store.places import is_transport_error
from wellread_hf.store.progress import say

Answer = TypeVar("Answer")

_FIRST_WAIT, _LONGEST_BACKOFF = 1.0, 30.0
# Longer waits are told, or they look as if nothing went on.
_SILENT_BELOW = 5.0
# So the client tells a server without Xet, as a broken connection.
_NO_XET = re.compile(r"\(404 .*xet-\w+-token")


class Trouble(Exception):
    """What went wrong with a call.

    Attributes:
        message: One line.
        again: Whether it may be tried again.
        code: HTTP status, if there was an answer.
        wait: Seconds that the Hub asks to wait.
    """

    def __init__(self, message: str, again: bool, code: int | None = None, wait: float | None = None) -> None:
        super().__init__(message)
        self.message, self.again, self.code, self.wait = message, again, code, wait


class Stopped(Exception):
    """The run was stopped; what was begun is left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on."""

    deadline: float = 3600.0
    """Seconds that one repository may take."""
    silence: float = 60.0
    """Seconds until a Hub that has never answered is taken for none."""
    max_wait: float = 300.0
    """Longest single wait that the Hub may ask for, in seconds; above it the run ends and says when to come
    back."""


@dataclass(slots=True)
class Rest:
    """A pause for all workers at once, the order to stop, and whether the Hub has ever answered."""

    stopped: threading.Event = field(default_factory=threading.Event)
    heard: bool = False
    _until: float = 0.0

    def everyone(self, seconds: float) -> None:
        """Makes every worker wait: a limit counts for all of them."""
        self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, seconds: float = 0.0) -> None:
        """Waits, and for as long as everyone rests.

        Raises:
            Stopped: The run was stopped, perhaps while waiting.
        """
        until = max(self._until, time.monotonic() + seconds)
        if self.stopped.wait(max(0.0, until - time.monotonic())):
            raise Stopped


class Calls:
    """Calls on behalf of one repository.

    Args:
        patience: How long to go on.
        rest: Shared by all workers.
    """

    def __init__(self, patience: Patience, rest: Rest) -> None:
        self.patience, self.rest = patience, rest
        self.tries = 0
        self._started = time.monotonic()
        # Workers that failed together should not come back together. No secret hangs on it.
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
            except Trouble as trouble:
                self.give_up_or_wait(what, trouble, failed)
        raise AssertionError("count() has no end")

    def once(self, call: Callable[[], Answer]) -> Answer:
        """Calls a single time.

        Raises:
            Trouble: It did not work.
        """
        self.rest.wait()
        self.tries += 1
        try:
            answer = call()
            self.rest.heard = True
            return answer
        except (Stopped, WellreadError):
            # From a call within this one, which has had its own tries.
            raise
        except Exception as error:
            trouble = diagnose(error)
            # A fault of this machine or of ours is not the Hub's.
            if trouble is None:
                raise
            self.rest.heard |= trouble.code is not None
            raise trouble from error

    def give_up_or_wait(self, what: str, trouble: Trouble, failed: int) -> None:
        """Waits for the next try, or ends it.

        Args:
            what: What was tried.
            trouble: What came of it.
            failed: How often it has failed; without a word from the Hub the wait doubles each time.

        Raises:
            HubError: There is no next try.
        """
        if not trouble.again:
            raise refusal(what, trouble) from trouble
        wait = trouble.wait
        if wait is not None and wait > self.patience.max_wait:
            back = datetime.fromtimestamp(time.time() + wait).astimezone()
            raise TryLaterError(
                f"{what}: the Hub asks to wait {wait / 60:.0f} minutes ({trouble.message}); run the same "
                f"command again after {back:%H:%M}, or allow the wait with `max_wait` {wait / 60 + 1:.0f}"
            ) from trouble
        if wait is None:
            doubled = min(_LONGEST_BACKOFF, _FIRST_WAIT * 2 ** min(failed - 1, 10))
            wait = doubled * self._jitter.uniform(0.75, 1.25)
        allowed = self.patience.deadline
        if not self.rest.heard:
            allowed = min(allowed, self.patience.silence)
        if time.monotonic() + wait > self._started + allowed:
            raise HubError(
                f"{what}: no success within {allowed:.0f} s and {self.tries} calls, the last "
                f"answer was: {trouble.message}; run the same command again, it goes on from here"
            ) from trouble
        if wait >= _SILENT_BELOW:
            say(f"{what}: {trouble.message}; trying again in {wait:.0f} s")
        if trouble.code == 429:
            self.rest.everyone(wait)
        self.rest.wait(wait)


def refusal(what: str, trouble: Trouble) -> HubError:
    """Words a refusal that no further try would change."""
    if trouble.code == 401:
        return AuthenticationError(
            f"{what}: the Hub does not accept the token ({trouble.message}); log in with `hf auth login`, or "
            "set HF_TOKEN to a token that may write"
        )
    return HubError(f"{what}: {trouble.message}")


def diagnose(error: BaseException) -> Trouble | None:
    """Says what is behind an error of the client; None where it is not the Hub's or the network's.

    The client wraps errors of uploads in a plain `RuntimeError`, so causes are looked at as well.
    """
    behind: BaseException | None = error
    while behind is not None:
        error, behind = behind, behind.__cause__ or behind.__context__
        if isinstance(error, AnsweredAgain):
            return Trouble(one_line(str(error)), again=True, code=error.code, wait=error.wait)
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            code = error.response.status_code
            return Trouble(one_line(str(error.server_message or error)), again=code in AGAIN, code=code)
        if isinstance(error, OfflineModeIsEnabled):
            return Trouble("HF_HUB_OFFLINE=1 keeps this from the network; take it out", again=False)
        if _NO_XET.search(str(error)):
            return Trouble(
                "this Hub has no Xet storage; set HF_HUB_DISABLE_XET=1 and run the same command again",
                again=False,
            )
        # An answer that is no JSON is a proxy's page, not the Hub's.
        if isinstance(error, json.JSONDecodeError):
            return Trouble("an answer that is not JSON", again=True)
        # After a failed connection the client throws away the session that all threads share.
        if isinstance(error, RuntimeError) and "client has been closed" in str(error):
            return Trouble("the connection was closed", again=True)
        ours = isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError)
        if is_transport_error(error) and not ours:
            return Trouble(one_line(f"{type(error).__name__}: {error}"), again=True)
        if isinstance(error, ValueError) and "Invalid metadata" in str(error):
            return Trouble(one_line(str(error)), again=False, code=400)
    return None
