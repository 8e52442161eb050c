"""One repository of a push: what would change, the one commit that changes it, and a look at the result."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from wellread_hf.errors import ConflictError, HubError
from wellread_hf.hub.calls import CallError, Calls
from wellread_hf.hub.files import LocalFile, Upload

State = Literal["create", "update", "unchanged", "blocked"]

# The client may spin on the Hub's answer that another creation is under way, so there is one at a time.
_CREATION = threading.Lock()
# Four repositories at once, two files each, fill a fast line; more meet the Hub's limits.
_THREADS_PER_COMMIT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done with one repository."""

    repo: str  # its id, namespace included, and `@BRANCH` where it is not main
    upload: Upload
    state: State = "blocked"
    head: str | None = None  # commit at the head of the branch; None where there is none
    changed: tuple[str, ...] = ()  # paths that are missing there or differ
    tag: str | None = None  # the version's, if it is still to be set
    why: str = ""  # what blocks it
    foreign: tuple[str, ...] = ()  # files there that are not of this push; they stay as they are

    @property
    def size(self) -> int:
        """Bytes of the changed files."""
        return sum(self.upload.files[path].size for path in self.changed)


class Repository:
    """A repository on the Hub, by its id, or one branch of it, and the files that are to be there."""

    def __init__(self, api: HfApi, calls: Calls, repo: str, upload: Upload) -> None:
        self.api, self.calls, self.upload = api, calls, upload
        self.place, self.repo = repo, repo.partition("@")[0]
        self.kind, self.branch = upload.repo_type, upload.branch

    def plan(self, private: bool, tag: str) -> Plan:
        """Compares the files with the Hub; sends nothing but reads, three at most.

        Raises:
            HubError: The Hub could not be asked.
        """

        def look() -> Any:
            try:
                return self.api.repo_info(self.repo, repo_type=self.kind, revision=self.branch)
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return None

        plan = Plan(repo=self.place, upload=self.upload, changed=tuple(self.upload.files))
        info = self.calls(f"looking at {self.place}", look)
        # The version's tag is on main.
        wanted_tag = tag if self.branch is None else None
        if info is None:
            return replace(plan, state="create", tag=wanted_tag)
        head = str(info.sha)
        # `create_repo(exist_ok=True)` would neither change the visibility nor complain.
        if bool(info.private) != private:
            found, wanted = ("private", "public") if info.private else ("public", "private")
            advice = "give `public` only for what may be seen by all" if info.private else "give `public`, or"
            why = (
                f"it is {found} and this run would make it {wanted}; {advice} change its visibility in its "
                "settings on the Hub first"
            )
            return replace(plan, head=head, changed=(), why=why)
        there, tags = self._tree(head), {} if wanted_tag is None else self._tags()
        changed = tuple(path for path, file in self.upload.files.items() if not same(file, there.get(path)))
        # The Hub makes .gitattributes itself.
        foreign = tuple(path for path in there if path not in self.upload.files and path != ".gitattributes")
        plan = replace(plan, head=head, changed=changed, foreign=foreign)
        # A version's tag is never moved, so new content needs a new one.
        if changed and tag in tags:
            why = (
                f"tag {tag} is already at {tags[tag][:8]} and {', '.join(changed)} would change; give the "
                "new version a name with `tag`"
            )
            return replace(plan, why=why)
        state: State = "update" if changed else "unchanged"
        return replace(plan, state=state, tag=None if tag in tags else wanted_tag)

    def create(self, plan: Plan, private: bool, start: str | None = None) -> Plan:
        """Creates the repository, or the branch from a commit; returns the plan with its head.

        Another process may make and fill it at the same time: files that it has are not sent again.

        Raises:
            ConflictError: It has other files by the same names.
            HubError: It may not be created, or is not as private as asked for.
        """

        def create() -> None:
            # Between two tries it is another repository's turn.
            with _CREATION:
                # A lost answer makes the second try find what the first one made.
                if self.branch is not None:
                    self.api.create_branch(
                        self.repo, branch=self.branch, revision=start, repo_type=self.kind, exist_ok=True
                    )
                    return
                sdk = "static" if self.kind == "space" else None
                self.api.create_repo(
                    self.repo, repo_type=self.kind, private=private, exist_ok=True, space_sdk=sdk
                )

        self.calls(f"creating {self.place}", create)
        # The Hub may have a default of its own, and whatever existed already keeps its visibility.
        info = self._info()
        if bool(info.private) != private:
            raise HubError(
                f"{self.repo}: asked for a {'private' if private else 'public'} repository, the Hub made it "
                f"{'private' if info.private else 'public'}; nothing was uploaded, change it in its settings"
            )
        # A new repository has a first commit of the Hub's own, on which ours is planned.
        head = str(info.sha)
        there, files = self._tree(head), self.upload.files
        changed = tuple(path for path in plan.changed if not same(files[path], there.get(path)))
        foreign = [path for path in changed if path in there]
        # A branch begins with the files of main, and a new Space with a page of the Hub's own.
        if foreign and self.branch is None and not (self.kind == "space" and self._is_new()):
            raise ConflictError(
                f"{self.repo}: somebody else made it while this push was under way, with "
                f"{', '.join(foreign)} of their own; nothing was overwritten: look at it, then run the same "
                "command again"
            )
        return replace(plan, head=head, changed=changed)

    def commit(self, plan: Plan, message: str) -> str:
        """Makes the one commit that brings the repository up to the plan.

        After any error the head is looked at before another try: the commit may have been made and only its
        answer lost, and somebody else's commit is never overwritten.

        Returns:
            The new head.

        Raises:
            ConflictError: Somebody else's commit came in between.
            HubError: The Hub refuses, or the deadline passed.
        """
        head, files = str(plan.head), self.upload.files
        for failed in count(1):
            try:
                # Not `upload_folder`: with Xet it makes several commits, and sends them again without a look
                # at the head.
                made = self.calls.once(
                    lambda: self.api.create_commit(
                        self.repo,
                        [files[path].operation() for path in plan.changed],
                        commit_message=message,
                        repo_type=self.kind,
                        revision=self.branch,
                        parent_commit=head,
                        num_threads=_THREADS_PER_COMMIT,
                    )
                )
            except CallError as error:
                now = str(self._info().sha)
                if now == head:
                    self.calls.wait_or_raise(f"committing to {self.place}", error, failed)
                    continue
                there = self._tree(now)
                if all(same(file, there.get(path)) for path, file in files.items()):
                    return now
                raise ConflictError(
                    f"{self.repo}: somebody else's commit {now[:8]} came after {head[:8]}, on which this "
                    "push was planned; nothing was overwritten: look at it, then run the same command again"
                ) from error
            return str(made.oid)
        raise AssertionError("count() has no end")

    def check(self, revision: str) -> None:
        """Compares every file with the tree at a commit, by hash.

        Raises:
            HubError: A file is missing there or has other bytes.
        """
        there = self._tree(revision)
        wrong = [path for path, file in self.upload.files.items() if not same(file, there.get(path))]
        if wrong:
            raise HubError(
                f"{self.repo}: after the commit {revision[:8]}, {', '.join(wrong)} there and here differ; "
                "run the same command again"
            )

    def tag(self, tag: str, revision: str) -> None:
        """Tags a commit as a version.

        Raises:
            HubError: The tag exists and points elsewhere.
        """

        def create() -> None:
            self.api.create_tag(self.repo, tag=tag, revision=revision, repo_type=self.kind, exist_ok=True)

        self.calls(f"tagging {self.repo}", create)
        # exist_ok says nothing about a tag that points elsewhere.
        at = self._tags().get(tag)
        if at != revision:
            raise HubError(
                f"{self.repo}: tag {tag} points to {str(at)[:8]}, expected {revision[:8]}; give this version "
                "another name with `tag`"
            )

    def _info(self) -> Any:
        return self.calls(
            f"looking at {self.place}",
            lambda: self.api.repo_info(self.repo, repo_type=self.kind, revision=self.branch),
        )

    def _is_new(self) -> bool:
        commits = self.calls(
            f"history of {self.repo}",
            lambda: list(self.api.list_repo_commits(self.repo, repo_type=self.kind)),
        )
        return len(commits) == 1

    def _tree(self, revision: str) -> dict[str, RepoFile]:
        return self.calls(f"listing {self.repo}", lambda: files_at(self.api, self.repo, self.kind, revision))

    def _tags(self) -> Mapping[str, str]:
        refs = self.calls(
            f"tags of {self.repo}", lambda: self.api.list_repo_refs(self.repo, repo_type=self.kind)
        )
        return {tag.name: tag.target_commit for tag in refs.tags}


def files_at(api: HfApi, repo: str, kind: str, revision: str) -> dict[str, RepoFile]:
    """Returns the files of a repository at a commit, by path."""
    entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def same(here: LocalFile, there: RepoFile | None) -> bool:
    """Returns whether a file on the Hub has the bytes of a file here, by size and hash."""
    if there is None or there.size != here.size:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == here.sha256)
    return bool(there.blob_id == here.blob_id)
