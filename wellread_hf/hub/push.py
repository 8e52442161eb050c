"""One push: a plan of reads, then repositories in parallel, then a collection."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

from huggingface_hub import HfApi

from wellread_hf.errors import (
    AuthenticationError,
    ConflictError,
    HubError,
    TryLaterError,
    WellreadError,
    cause,
)
from wellread_hf.hub.calls import Calls, Limits, Pause, Stopped
from wellread_hf.hub.collection import complete_collection
from wellread_hf.hub.download import check_download, check_loads
from wellread_hf.hub.files import Upload
from wellread_hf.hub.push_report import DONE, FAILED, INTERRUPTED, RepoResult, Report
from wellread_hf.hub.push_settings import Publishing
from wellread_hf.hub.repository import Plan, Repository
from wellread_hf.hub.rights import user_of
from wellread_hf.store.progress import bar

Item = TypeVar("Item")
Result = TypeVar("Result")

_ENDS = {"create": "created", "update": "updated", "unchanged": "unchanged"}


class Push:
    """Uploads on their way, what came of each, and what stops them all."""

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
            user = user_of(self.api, Calls(self.limits, self.pause), self.settings.namespace)
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
