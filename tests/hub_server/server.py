"""The hub as tests use it: two origins, and handles on everything behind them."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from . import api, collection_routes, storage
from .exchange import Request
from .faults import Fault, Faults
from .origin import Origin, Record
from .repositories import Repository
from .state import State, User

# What would send a client elsewhere, or as somebody else.
_FOREIGN = re.compile(r"HF_.*|HUGGING_?FACE.*|.*_PROXY|TRANSFORMERS_(CACHE|OFFLINE)", re.IGNORECASE)


class HubServer:
    """A Hub on this machine, running between `with` and the end of its block.

    Args:
        multipart_above: Larger files go up in parts.
        part_size: The size of a part.
        page_size: Longer lists come in pages.
    """

    def __init__(
        self, *, multipart_above: int = 64 << 20, part_size: int = 16 << 20, page_size: int = 1000
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hub-"))
        self.state = State(self.folder, multipart_above, part_size, page_size)
        self.failures: list[str] = []
        self._faults, self._log = Faults(), list[Record]()
        shared = (self._faults, self._log, self.failures)
        answer = api.answer(self.state, (collection_routes.routes, api.routes))
        self._api = Origin("api", answer, self.state.user_of, *shared, buffered=True)
        # Its clients are known by the signature of the URL.
        self._storage = Origin("storage", storage.answer(self.state), lambda _: None, *shared, buffered=False)
        self.endpoint = self.state.endpoint = f"http://127.0.0.1:{self._api.port}"
        # Another name of the same machine: some clients keep the token for the same name on another port.
        self.storage_endpoint = self.state.storage_endpoint = f"http://localhost:{self._storage.port}"

    def __enter__(self) -> Self:
        self._api.start()
        self._storage.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.stop()
        self._storage.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.failures and kind is None:
            raise AssertionError("the hub itself failed:\n" + "\n".join(self.failures))

    def add_user(
        self,
        name: str,
        token: str,
        orgs: Iterable[str] = (),
        role: str = "write",
        may_write: Callable[[str], bool] = lambda repository: True,
    ) -> User:
        """Makes a user; `role` is "write" or "read", `may_write` may refuse repositories by their names."""
        user = self.state.users[name] = User(name, token, tuple(orgs), role, may_write)
        return user

    def repository(self, name: str, repo_type: str = "model") -> Repository:
        """Returns the model or dataset repository "namespace/name"."""
        return self.state.repositories[f"{repo_type}s", name]

    def fault(
        self,
        pattern: str,
        kind: str = "status",
        *,
        nth: int = 1,
        times: int | None = 1,
        status: int = 500,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        seconds: float = 0.0,
        at: int | None = None,
        clean: bool = False,
    ) -> Fault:
        """Lets requests fail whose "METHOD /path?query", on either origin, matches a regular expression.

        Args:
            pattern: Is searched for.
            kind: One of `faults.KINDS`.
            nth: The first request to fail, counted from 1 and from now.
            times: How many fail in a row; None for all from then on.
            status: The status of an error answer.
            body: Its text: the Hub's JSON error, or a page if it begins with "<".
            headers: Its headers, such as Retry-After.
            seconds: How long a delay lasts.
            at: After how many bytes a transfer is cut; by default the half.
            clean: Whether a cut answer ends in an orderly way rather than with a reset.
        """
        rule = Fault(re.compile(pattern), kind, nth, times, status, body, headers or {}, seconds, at, clean)
        return self._faults.add(rule)

    def before(
        self, pattern: str, call: Callable[[Request], object], *, nth: int = 1, times: int | None = 1
    ) -> Fault:
        """Calls a function after a request has come in and before anything is done about it."""
        return self._faults.add(Fault(re.compile(pattern), "before", nth, times, call=call))

    def after(
        self, pattern: str, call: Callable[[Request], object], *, nth: int = 1, times: int | None = 1
    ) -> Fault:
        """Calls a function when a request was carried out and is not answered yet."""
        return self._faults.add(Fault(re.compile(pattern), "after", nth, times, call=call))

    def clear_faults(self) -> None:
        """Lifts all faults and hooks."""
        self._faults.clear()

    def requests(self, pattern: str = "") -> list[Record]:
        """Returns the requests whose "METHOD /path?query" matches, less the client's daily errand."""
        return [
            record
            for record in list(self._log)
            if record.path != api.HARNESSES and re.search(pattern, f"{record.method} {record.path}")
        ]

    def clear_requests(self) -> None:
        """Empties the log."""
        self._log.clear()

    def environment(self, home: Path, user: str | None = None) -> dict[str, str]:
        """Returns the environment of a process whose Hub this is, with a cache of its own."""
        env = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
        token = {"HF_TOKEN": self.state.users[user].token} if user else {}
        return (
            env
            | token
            | {
                "HF_ENDPOINT": self.endpoint,
                "HF_HOME": str(home),
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "NO_PROXY": "127.0.0.1,localhost",
            }
        )
