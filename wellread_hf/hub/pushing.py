"""One repository: what would change, the one commit that changes it, and a look at what came of it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from wellread_hf.errors import ConflictError, HubError
from wellread_hf.hub.calls import Calls, Trouble
from wellread_hf.hub.parcels import LocalFile, Parcel

State = Literal["create", "update", "unchanged", "blocked"]

# The client may spin on the Hub's answer that another creation is under way, so there is one at a time.
_CREATION = threading.Lock()
_THREADS_PER_COMMIT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoPlan:
    """What is to be done with one repository.

    Attributes:
        repo: Its id, namespace included.
        parcel: What is to be in it.
        state: `create`, `update`, `unchanged` or `blocked`.
        head: Commit at the head of main; None where there is no repository.
        changed: Paths that are missing there or differ.
        tag: The version's tag, if it is still to be set.
        why: What blocks it.
        foreign: Files there that are not of this push; they stay as they are.
    """

    repo: str
    parcel: Parcel
    state: State
    head: str | None = None
    changed: tuple[str, ...] = ()
    tag: str | None = None
    why: str = ""
    foreign: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the changed files."""
        return sum(self.parcel.files[path].size for path in self.changed)


def plan_repository(api: HfApi, calls: Calls, repo: str, parcel: Parcel, private: bool, tag: str) -> RepoPlan:
    """Compares a parcel with the Hub; sends nothing but reads, three at most.

    Raises:
        HubError: The Hub could not be asked.
    """
    kind = parcel.repo_type
    everything = tuple(parcel.files)
    info = calls(f"looking at {repo}", lambda: _info(api, repo, kind))
    if info is None:
        return RepoPlan(repo=repo, parcel=parcel, state="create", changed=everything, tag=tag)
    head = str(info.sha)
    if bool(info.private) != private:
        found, wanted = ("private", "public") if info.private else ("public", "private")
        why = (
            f"it is {found} and this run would make it {wanted}; "
            + ("give `public` only for what may be seen by all" if info.private else "give `public`, or")
            + " change its visibility in its settings on the Hub first"
        )
        return RepoPlan(repo=repo, parcel=parcel, state="blocked", head=head, why=why)
    there = calls(f"listing {repo}", lambda: tree(api, repo, kind, head))
    tags = calls(f"tags of {repo}", lambda: _tags(api, repo, kind))
    changed = tuple(path for path, file in parcel.files.items() if not same(file, there.get(path)))
    # The Hub makes .gitattributes itself.
    foreign = tuple(path for path in there if path not in parcel.files and path != ".gitattributes")
    if changed and tag in tags:
        why = (
            f"tag {tag} is already at {tags[tag][:8]} and {', '.join(changed)} would change; give the new "
            "version a name with `tag`"
        )
        return RepoPlan(
            repo=repo, parcel=parcel, state="blocked", head=head, changed=changed, why=why, foreign=foreign
        )
    return RepoPlan(
        repo=repo,
        parcel=parcel,
        state="update" if changed else "unchanged",
        head=head,
        changed=changed,
        tag=None if tag in tags else tag,
        foreign=foreign,
    )


def create_repository(api: HfApi, calls: Calls, plan: RepoPlan, private: bool) -> RepoPlan:
    """Creates the repository; returns the plan with its first commit as head.

    Another process may make and fill it at the same time: what it has of the parcel is not sent again.

    Raises:
        ConflictError: What it has are other files by the same names.
        HubError: It may not be created, or is not as private as asked for.
    """
    repo, kind = plan.repo, plan.parcel.repo_type

    def create() -> None:
        # Between two tries it is another repository's turn.
        with _CREATION:
            # A lost answer makes the second try find what the first one made.
            api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)

    calls(f"creating {repo}", create)
    info = calls(f"looking at {repo}", lambda: api.repo_info(repo, repo_type=kind))
    if bool(info.private) != private:
        raise HubError(
            f"{repo}: asked for a {'private' if private else 'public'} repository, the Hub made it "
            f"{'private' if info.private else 'public'}; nothing was uploaded, mend it in its settings"
        )
    head = str(info.sha)
    there = calls(f"listing {repo}", lambda: tree(api, repo, kind, head))
    files = plan.parcel.files
    changed = tuple(path for path in plan.changed if not same(files[path], there.get(path)))
    foreign = [path for path in changed if path in there]
    if foreign:
        raise ConflictError(
            f"{repo}: somebody else made it while this push was under way, with {', '.join(foreign)} of "
            "their own; nothing was overwritten: look at it, then run the same command again"
        )
    return replace(plan, head=head, changed=changed)


def commit(api: HfApi, calls: Calls, plan: RepoPlan, message: str) -> str:
    """Makes the one commit that brings a repository up to the plan.

    After any error the head is looked at before another try: the commit may have been made and only its
    answer lost, and somebody else's commit is never overwritten.

    Returns:
        The new head.

    Raises:
        ConflictError: Somebody else's commit came in between.
        HubError: The Hub refuses, or the deadline passed.
    """
    repo, parcel, head = plan.repo, plan.parcel, str(plan.head)
    for failed in count(1):
        try:
            made = calls.once(
                lambda: api.create_commit(
                    repo,
                    [parcel.files[path].operation() for path in plan.changed],
                    commit_message=message,
                    repo_type=parcel.repo_type,
                    parent_commit=head,
                    num_threads=_THREADS_PER_COMMIT,
                )
            )
        except Trouble as trouble:
            what = f"committing to {repo}"
            now = str(
                calls(f"looking at {repo}", lambda: api.repo_info(repo, repo_type=parcel.repo_type)).sha
            )
            if now == head:
                calls.give_up_or_wait(what, trouble, failed)
                continue
            there = calls(f"listing {repo}", lambda: tree(api, repo, parcel.repo_type, now))  # noqa: B023
            if all(same(file, there.get(path)) for path, file in parcel.files.items()):
                return now
            raise ConflictError(
                f"{repo}: somebody else's commit {now[:8]} came after {head[:8]}, on which this push was "
                "planned; nothing was overwritten: look at it, then run the same command again"
            ) from trouble
        return str(made.oid)
    raise AssertionError("count() has no end")


def check_tree(api: HfApi, calls: Calls, plan: RepoPlan, revision: str) -> None:
    """Compares every file of the parcel with the tree at a commit, by hash.

    Raises:
        HubError: A file is missing there or has other bytes.
    """
    there = calls(f"reading back {plan.repo}", lambda: tree(api, plan.repo, plan.parcel.repo_type, revision))
    wrong = [path for path, file in plan.parcel.files.items() if not same(file, there.get(path))]
    if wrong:
        raise HubError(
            f"{plan.repo}: after the commit {revision[:8]}, {', '.join(wrong)} there and here differ; run "
            "the same command again"
        )


def set_tag(api: HfApi, calls: Calls, plan: RepoPlan, revision: str) -> None:
    """Tags a commit as a version.

    Raises:
        HubError: The tag is there and points elsewhere.
    """
    repo, kind, tag = plan.repo, plan.parcel.repo_type, str(plan.tag)
    calls(
        f"tagging {repo}",
        lambda: api.create_tag(repo, tag=tag, revision=revision, repo_type=kind, exist_ok=True),
    )
    # exist_ok says nothing of a tag that was there and points elsewhere.
    at = calls(f"tags of {repo}", lambda: _tags(api, repo, kind)).get(tag)
    if at != revision:
        raise HubError(
            f"{repo}: tag {tag} points to {str(at)[:8]}, expected {revision[:8]}; give this version another "
            "name with `tag`"
        )


def tree(api: HfApi, repo: str, kind: str, revision: str) -> dict[str, RepoFile]:
    """Returns the files of a repository by path."""
    entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def same(here: LocalFile, there: RepoFile | None) -> bool:
    """Tells whether a file on the Hub has the bytes of a file here, by size and hash."""
    if there is None or there.size != here.size:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == here.sha256)
    return bool(there.blob_id == here.blob_id)


def _info(api: HfApi, repo: str, kind: str) -> Any:
    """Returns what the Hub knows of a repository; None where there is none."""
    try:
        return api.repo_info(repo, repo_type=kind)
    except RepositoryNotFoundError:
        return None


def _tags(api: HfApi, repo: str, kind: str) -> Mapping[str, str]:
    return {tag.name: tag.target_commit for tag in api.list_repo_refs(repo, repo_type=kind).tags}
