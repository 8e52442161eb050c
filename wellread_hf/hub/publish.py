"""The whole push: a plan of reads, then repositories in parallel, a collection, and a report.

There is no local state: running it again resumes it, and what is on the Hub already is not sent again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlparse

from huggingface_hub import HfApi
from huggingface_hub.utils.tqdm import disable_progress_bars

from wellread_hf import __version__
from wellread_hf.errors import (
    AuthenticationError,
    ConflictError,
    HubError,
    PublishError,
    StoreError,
    TryLaterError,
    WellreadError,
    cause,
    library_errors_as,
)
from wellread_hf.hub.calls import Calls, Limits, Pause, Stopped, bounded_client, client
from wellread_hf.hub.collection import complete_collection
from wellread_hf.hub.download import check_download, check_loads
from wellread_hf.hub.files import Upload
from wellread_hf.hub.names import is_repo_id
from wellread_hf.hub.push_report import DONE, FAILED, INTERRUPTED, RepoResult, Report
from wellread_hf.hub.push_settings import Publishing
from wellread_hf.hub.repository import Plan, Repository
from wellread_hf.hub.uploads import check_uploads, uploads_of_runs
from wellread_hf.store.progress import bar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A Hub on this machine, as in tests and `make demo-hub`, needs no encryption.
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ENDS = {"create": "created", "update": "updated", "unchanged": "unchanged"}


def publish_runs(
    runs: Sequence[Path],
    settings: Publishing,
    name: str | None = None,
    eval_results: bool = False,
    dry_run: bool = False,
    json: bool = False,
    report: Path = Path("push-report.json"),
) -> int:
    """Pushes finished stages, prints a table (or JSON) and writes the report; returns the exit status."""
    uploads = uploads_of_runs(
        runs, settings.namespace, name, eval_results, settings.revision_int8, settings.space
    )
    made = publish(uploads, settings, __version__, dry_run)
    unwritten = f"what was pushed is pushed, but the report cannot be written to {report}"
    try:
        if not dry_run:
            with library_errors_as(StoreError, unwritten, "give another place with `report`"):
                made.write(report)
    finally:
        if json:
            print(made.text)
        else:
            made.show(dry_run)
    if not dry_run and not json:
        print(f"report: {report}")
    return made.status


def check_runs(runs: Sequence[Path], name: str | None, eval_results: bool) -> None:
    """Renders and checks as for a push, prints what would be in it, and sends nothing."""
    for upload in uploads_of_runs(runs, "", name, eval_results):
        print(f"{upload.name}: {len(upload.files)} files, {upload.size / 1e6:,.1f} MB, ready to be pushed")


def publish(
    uploads: Sequence[Upload],
    settings: Publishing,
    version: str,
    dry_run: bool = False,
    api: HfApi | None = None,
) -> Report:
    """Pushes uploads, each to its repository; all are checked before the first request.

    The package's version is for the tag and the commit's message. A dry run stops after the plan, which sends
    nothing but reads. The client is the environment's, unless another Hub or user is given.

    Raises:
        PublishError: An upload breaks a rule; nothing was sent.
        AuthenticationError: Nobody is logged in, or may not write to the namespace.
        HubError: The Hub could not be asked who is logged in.
    """
    api = api or client()
    _check_names(settings.namespace, api)
    # A second time: only now is the token known that no file may contain.
    check_uploads(uploads, api.token if isinstance(api.token, str) else None)
    # The client shows a bar a file, from all threads at once.
    disable_progress_bars()
    with bounded_client(60 * settings.deadline):
        return _Push(api, uploads, settings, version).run(dry_run)


def check_rights(settings: Publishing) -> None:
    """Asks the Hub whether who is logged in may write to the namespace; sends a single read.

    Raises:
        PublishError: The namespace is no name of one.
        AuthenticationError: Nobody is logged in, or may not write there.
        HubError: The Hub could not be asked.
    """
    api = client()
    _check_names(settings.namespace, api)
    with bounded_client(60 * settings.deadline):
        _user_of(api, Calls(Limits(max_wait=60 * settings.max_wait), Pause()), settings.namespace)


def _check_names(namespace: str, api: HfApi) -> None:
    if not namespace:
        raise PublishError(
            "`namespace` is missing: expected the user or organisation that gets the repositories"
        )
    if "/" in namespace or not is_repo_id(namespace):
        raise PublishError(
            f"`namespace` {namespace!r} is no name of a user or organisation: expected letters, digits, . _ -"
        )
    endpoint = urlparse(api.endpoint)
    if endpoint.scheme != "https" and endpoint.hostname not in _LOOPBACK:
        raise PublishError(
            f"HF_ENDPOINT {api.endpoint}: expected https (http is for this machine alone), a token would "
            "travel unencrypted"
        )


class _Push:
    def __init__(self, api: HfApi, uploads: Sequence[Upload], settings: Publishing, version: str) -> None:
        self.api, self.settings, self.version = api, settings, version
        self.pause = Pause()
        self.limits = Limits(deadline=60 * settings.deadline, max_wait=60 * settings.max_wait)
        self.tag = settings.tag or f"v{version}"
        self.uploads = {f"{settings.namespace}/{upload.place}": upload for upload in uploads}
        self.results = {repo: RepoResult(repo, "not begun") for repo in self.uploads}
        self.problem: BaseException | None = None

    def run(self, dry_run: bool) -> Report:
        """Plans, and unless it is a dry run pushes; never raises for a single repository."""
        user, collection = "", None
        try:
            user = _user_of(self.api, Calls(self.limits, self.pause), self.settings.namespace)
            plans = self._plan()
            if not dry_run:
                self._push(plans)
                collection = self._collect(plans)
        except KeyboardInterrupt as error:
            # Outside the parallel work, or a second time, while waiting for what had begun.
            self._stop(error)
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

    def _plan(self) -> list[Plan]:
        def plan(repo: str) -> Plan:
            with self._recorded(repo) as repository:
                made = repository.plan(not self.settings.public, self.tag)
                result, files = self.results[repo], repository.upload.files
                result.state, result.old, result.error = made.state, made.head, made.why
                result.bytes, result.foreign = made.size, list(made.foreign)
                result.files = {path: files[path].sha256 for path in made.changed}
                return made
            return Plan(repo=repo, upload=self.uploads[repo])

        with bar("planning", "repositories", len(self.uploads)) as shown:
            return self._parallel(plan, list(self.uploads), lambda _: shown.update())

    def _push(self, plans: Sequence[Plan]) -> None:
        if self.problem is not None:
            return
        todo = [plan for plan in plans if plan.state in ("create", "update") or plan.tag]
        with bar(
            "pushing", "B", sum(plan.size for plan in todo), unit_scale=True, unit_divisor=1024
        ) as shown:

            def done(plan: Plan) -> None:
                shown.update(plan.size)
                ended = sum(self.results[plan.repo].state not in ("create", "update") for plan in todo)
                shown.set_postfix_str(f"{ended} of {len(todo)} repositories")

            # A branch starts from what was pushed to main.
            for branches in (False, True):
                here = [plan for plan in todo if (plan.upload.branch is not None) == branches]
                self._parallel(self._push_one, here, done)
        for plan in todo:
            result = self.results[plan.repo]
            if result.state == plan.state and result.new is None:
                result.state = "interrupted"

    def _push_one(self, plan: Plan) -> None:
        result, verify = self.results[plan.repo], self.settings.verify
        with self._recorded(plan.repo) as repository:
            start = self._pushed(repository) if plan.upload.branch is not None else None
            private = not self.settings.public
            now = repository.create(plan, private, start) if plan.state == "create" else plan
            result.old, head = now.head, str(now.head)
            if now.changed:
                head = repository.commit(now, f"wellread-hf {self.version}: {plan.upload.name}")
                repository.check(head)
            # Also where an earlier run got as far as the commit: a tag says that all this was checked.
            if verify != "tree":
                check_download(self.api, repository.calls, repository.repo, plan.upload, head)
            if verify == "load" and plan.upload.repo_type == "model":
                check_loads(self.api, repository.repo, plan.upload, head)
            if now.tag:
                repository.tag(now.tag, head)
            result.state, result.new = _ENDS[plan.state], head

    def _pushed(self, repository: Repository) -> str | None:
        """Returns the commit of main that a branch starts from.

        Raises:
            HubError: Main was not pushed.
        """
        main = self.results[repository.repo]
        if main.state not in _ENDS.values():
            raise HubError(
                f"{repository.place}: main was not pushed, from which the branch starts; look at what is "
                "wrong there, then run the same command again"
            )
        return main.new or main.old

    def _collect(self, plans: Sequence[Plan]) -> str | None:
        notes = {
            plan.repo: plan.upload.note
            for plan in plans
            if self.results[plan.repo].state in _ENDS.values()
            and plan.upload.repo_type == "model"
            and plan.upload.branch is None
        }
        title = self.settings.collection
        if not notes or title is None or self.problem is not None:
            return None
        calls, private = Calls(self.limits, self.pause), not self.settings.public
        try:
            return complete_collection(self.api, calls, self.settings.namespace, title, notes, private)
        # The repositories are pushed by now, so the report has to be written all the same.
        except (HubError, Stopped) as error:
            self.problem = error
            return None

    def _parallel(
        self, work: Callable[[Item], Result], items: Sequence[Item], done: Callable[[Item], object]
    ) -> list[Result]:
        """Works on several items at once, in order; Ctrl-C lets nothing new begin and waits for the rest."""
        futures: dict[Future[Result], Item] = {}
        with ThreadPoolExecutor(max_workers=self.settings.jobs) as pool:
            try:
                for item in items:
                    futures[pool.submit(work, item)] = item
                for future in as_completed(futures):
                    done(futures[future])
            except KeyboardInterrupt as error:
                self._stop(error)
                for future in futures:
                    future.cancel()
        return [future.result() for future in futures if not future.cancelled()]

    @contextmanager
    def _recorded(self, repo: str) -> Iterator[Repository]:
        """Confines a failure to the one repository that it concerns, unless it concerns them all."""
        result, calls = self.results[repo], Calls(self.limits, self.pause)
        started = time.monotonic()
        try:
            yield Repository(self.api, calls, repo, self.uploads[repo])
        except Stopped:
            result.state = "interrupted"
        except (WellreadError, OSError) as error:
            result.state = "conflict" if isinstance(error, ConflictError) else "failed"
            result.error = str(error)
            if isinstance(error, AuthenticationError | TryLaterError):
                self._stop(error)
        except Exception as error:
            # An answer that the client cannot make sense of, or a fault of ours: the others go on.
            result.state, result.error = "failed", f"unexpected {type(error).__name__}: {cause(error)}"
        finally:
            result.seconds += time.monotonic() - started
            result.tries += calls.tries

    def _stop(self, problem: BaseException) -> None:
        self.problem = problem
        self.pause.stopped.set()

    def _status(self) -> int:
        if isinstance(self.problem, KeyboardInterrupt | Stopped):
            return INTERRUPTED
        if isinstance(self.problem, AuthenticationError):
            return AuthenticationError.status
        # Of a dry run, the plan is all there is.
        bad = {result.state for result in self.results.values()} - {*_ENDS, *_ENDS.values()}
        if bad == {"conflict"} and self.problem is None:
            return ConflictError.status
        return FAILED if bad or self.problem is not None else DONE


def _user_of(api: HfApi, calls: Calls, namespace: str) -> str:
    """Returns who is logged in.

    Raises:
        AuthenticationError: Nobody, or somebody who may not write to the namespace.
    """
    if api.token in (None, False):
        raise AuthenticationError(
            "nobody is logged in to the Hub: run `hf auth login`, or set HF_TOKEN to a token that may write"
        )
    user = calls("asking who is logged in", api.whoami)
    # A fine-grained token does not say here whether it may write; only a reading one is sure to fail.
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise AuthenticationError(
            f"the token of {user['name']} may only read: expected one that may write; make one in the "
            "settings on the Hub, then `hf auth login`"
        )
    teams = (team["name"] for team in user.get("orgs", ()) if team.get("roleInOrg") != "read")
    writable = [user["name"], *teams]
    if namespace not in writable:
        raise AuthenticationError(
            f"`namespace` {namespace}: {user['name']} may write to {', '.join(writable)}; give one of these, "
            "or log in as somebody else"
        )
    return str(user["name"])
