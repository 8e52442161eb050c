"""The whole push: a plan of reads, then repositories side by side, a collection, and a report.

There is no local state: running it again is resuming, and what is there already is only read.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlparse

from huggingface_hub import HfApi, get_token
from huggingface_hub.utils.tqdm import disable_progress_bars

from wellread_hf.errors import (
    AuthenticationError,
    ConflictError,
    HubError,
    PublishError,
    TryLaterError,
    WellreadError,
)
from wellread_hf.hub.calls import Calls, Patience, Rest, Stopped
from wellread_hf.hub.checking import check_download, check_loads
from wellread_hf.hub.client import patient_client
from wellread_hf.hub.collections import gather_collection
from wellread_hf.hub.options import Publishing
from wellread_hf.hub.parcels import Parcel, check_namespace, check_parcels
from wellread_hf.hub.pushing import (
    RepoPlan,
    check_tree,
    commit,
    create_repository,
    plan_repository,
    set_tag,
)
from wellread_hf.hub.reports import CONFLICT, DONE, FAILED, INTERRUPTED, UNAUTHORISED, RepoResult, Report
from wellread_hf.store.progress import bar

Result = TypeVar("Result")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def publish(
    parcels: Sequence[Parcel],
    settings: Publishing,
    version: str,
    dry_run: bool = False,
    api: HfApi | None = None,
) -> Report:
    """Pushes parcels, each to its repository.

    Args:
        parcels: Checked here before the first request.
        settings: How.
        version: The package's version, for the tag and the commit's message.
        dry_run: Stop after the plan, which sends nothing but reads.
        api: Another Hub or user than the environment's.

    Raises:
        PublishError: A parcel breaks a rule; nothing was sent.
        AuthenticationError: Nobody is logged in, or may not write to the namespace.
        HubError: The Hub could not be asked who is logged in.
    """
    check_namespace(settings.namespace)
    api = api or HfApi(token=get_token())
    check_parcels(parcels, api.token if isinstance(api.token, str) else None)
    _check_endpoint(api.endpoint)
    disable_progress_bars()
    with patient_client(60 * settings.deadline):
        return _Push(api, parcels, settings, version).run(dry_run)


class _Push:
    def __init__(self, api: HfApi, parcels: Sequence[Parcel], settings: Publishing, version: str) -> None:
        self.api, self.parcels, self.settings, self.version = api, parcels, settings, version
        self.rest = Rest()
        self.patience = Patience(deadline=60 * settings.deadline, max_wait=60 * settings.max_wait)
        self.tag = settings.tag or f"v{version}"
        self.results = {self._repo(parcel): RepoResult(self._repo(parcel), "not begun") for parcel in parcels}
        self.problem: BaseException | None = None

    def run(self, dry_run: bool) -> Report:
        """Plans, and unless it is a dry run pushes; never raises for one repository's sake."""
        user, collection = "", None
        try:
            user = who(self.api, Calls(self.patience, self.rest), self.settings.namespace)
            plans = list(self._plan())
            if not dry_run:
                self._push(plans)
                collection = self._collect(plans)
        except KeyboardInterrupt as error:
            # Outside the work side by side, or a second time, while waiting for what had begun.
            self.problem = error
            self.rest.stopped.set()
        return Report(
            endpoint=self.api.endpoint,
            user=user,
            visibility="public" if self.settings.public else "private",
            tag=self.tag,
            repositories=list(self.results.values()),
            collection=collection,
            problem="" if self.problem is None else str(self.problem) or "interrupted",
            status=self._status(),
        )

    def _plan(self) -> Iterator[RepoPlan]:
        def plan(parcel: Parcel) -> RepoPlan:
            result = self.results[self._repo(parcel)]
            with self._told(result) as calls:
                made = plan_repository(
                    self.api, calls, result.repo, parcel, not self.settings.public, self.tag
                )
                result.state, result.old, result.error = made.state, made.head, made.why
                result.bytes = made.size
                result.foreign = list(made.foreign)
                result.files = {path: parcel.files[path].sha256 for path in made.changed}
                return made
            return RepoPlan(repo=result.repo, parcel=parcel, state="blocked")

        with bar("planning", "repositories", len(self.parcels)) as shown:
            yield from self._side_by_side(plan, self.parcels, lambda _: shown.update())

    def _push(self, plans: Sequence[RepoPlan]) -> None:
        if self.problem is not None:
            return
        todo = [
            plan
            for plan in plans
            if plan.state in ("create", "update") or (plan.state == "unchanged" and plan.tag)
        ]
        total = sum(plan.size for plan in todo)
        with bar("pushing", "B", total, unit_scale=True, unit_divisor=1024) as shown:

            def done(plan: RepoPlan) -> None:
                shown.update(plan.size)
                ended = sum(self.results[plan.repo].state not in ("create", "update") for plan in todo)
                shown.set_postfix_str(f"{ended} of {len(todo)} repositories")

            for _ in self._side_by_side(self._push_one, todo, done):
                pass
        for plan in todo:
            result = self.results[plan.repo]
            if result.state == plan.state and result.new is None:
                result.state = "interrupted"

    def _push_one(self, plan: RepoPlan) -> RepoPlan:
        result = self.results[plan.repo]
        with self._told(result) as calls:
            after = {"create": "created", "update": "updated", "unchanged": "unchanged"}[plan.state]
            private = not self.settings.public
            now = create_repository(self.api, calls, plan, private) if plan.state == "create" else plan
            result.old = now.head
            head = str(now.head)
            if now.changed:
                head = commit(self.api, calls, now, f"wellread-hf {self.version}: {now.parcel.name}")
                check_tree(self.api, calls, now, head)
            # Also where an earlier run got as far as the commit: a tag says that all this was checked.
            if self.settings.verify != "tree":
                check_download(self.api, calls, now.repo, now.parcel, head)
            if self.settings.verify == "load" and now.parcel.repo_type == "model":
                check_loads(self.api, now.repo, now.parcel, head)
            if now.tag:
                set_tag(self.api, calls, now, head)
            result.state, result.new = after, head
        return plan

    def _collect(self, plans: Sequence[RepoPlan]) -> str | None:
        done = [
            plan for plan in plans if self.results[plan.repo].state in ("created", "updated", "unchanged")
        ]
        models = {plan.repo: plan.parcel.note for plan in done if plan.parcel.repo_type == "model"}
        if not models or self.settings.collection is None or self.problem is not None:
            return None
        calls = Calls(self.patience, self.rest)
        try:
            return gather_collection(
                self.api,
                calls,
                self.settings.namespace,
                self.settings.collection,
                models,
                not self.settings.public,
            )
        except (HubError, Stopped) as error:
            self.problem = error
            return None

    def _side_by_side(
        self, work: Callable[[Any], Result], items: Sequence[Any], done: Callable[[Any], object]
    ) -> Iterator[Result]:
        """Works on several items at once, in order; Ctrl-C lets nothing new begin and waits for what has."""
        with ThreadPoolExecutor(max_workers=self.settings.jobs) as pool:
            futures: dict[Future[Result], Any] = {}
            try:
                for item in items:
                    futures[pool.submit(work, item)] = item
                self._wait(futures, done)
            except KeyboardInterrupt as error:
                self.problem = error
                self.rest.stopped.set()
                for future in futures:
                    future.cancel()
        for future in futures:
            if not future.cancelled():
                yield future.result()

    def _wait(self, futures: Mapping[Future[Result], Any], done: Callable[[Any], object]) -> None:
        pending = set(futures)
        while pending:
            ended, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ended:
                done(futures[future])

    @contextmanager
    def _told(self, result: RepoResult) -> Iterator[Calls]:
        """Keeps a failure to the one repository that it concerns, unless it concerns them all."""
        calls = Calls(self.patience, self.rest)
        started = time.monotonic()
        try:
            yield calls
        except Stopped:
            result.state = "interrupted"
        except (WellreadError, OSError) as error:
            result.state = "conflict" if isinstance(error, ConflictError) else "failed"
            result.error = str(error)
            if isinstance(error, AuthenticationError | TryLaterError):
                self.problem = error
                self.rest.stopped.set()
        except Exception as error:
            # An answer that the client cannot make sense of, or a fault of ours: the others go on.
            result.state = "failed"
            result.error = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        finally:
            result.seconds += time.monotonic() - started
            result.tries += calls.tries

    def _status(self) -> int:
        if isinstance(self.problem, KeyboardInterrupt | Stopped):
            return INTERRUPTED
        if isinstance(self.problem, AuthenticationError):
            return UNAUTHORISED
        states = {result.state for result in self.results.values()}
        bad = states - {"created", "updated", "unchanged", "create", "update"}
        if bad == {"conflict"} and self.problem is None:
            return CONFLICT
        return FAILED if bad or self.problem is not None else DONE

    def _repo(self, parcel: Parcel) -> str:
        return f"{self.settings.namespace}/{parcel.name}"


def who(api: HfApi, calls: Calls, namespace: str) -> str:
    """Returns who is logged in.

    Raises:
        AuthenticationError: Nobody, or somebody who may not write to the namespace.
    """
    if api.token in (None, False):
        raise AuthenticationError(
            "nobody is logged in to the Hub: run `hf auth login`, or set HF_TOKEN to a token that may write"
        )
    user = calls("asking who is logged in", api.whoami)
    token = user.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise AuthenticationError(
            f"the token of {user['name']} may only read: expected one that may write; make one in the "
            "settings on the Hub, then `hf auth login`"
        )
    teams = (team["name"] for team in user.get("orgs", ()) if team.get("roleInOrg") != "read")
    spaces = [user["name"], *teams]
    if namespace not in spaces:
        raise AuthenticationError(
            f"`namespace` {namespace}: {user['name']} may write to {', '.join(spaces)}; give one of these, "
            "or log in as somebody else"
        )
    return str(user["name"])


def _check_endpoint(endpoint: str) -> None:
    parts = urlparse(endpoint)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise PublishError(
            f"HF_ENDPOINT {endpoint}: expected https (http is for this machine alone), a token would travel "
            "in the open"
        )
