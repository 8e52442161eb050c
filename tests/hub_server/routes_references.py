"""Branches and tags."""

from .exchange import Refusal, Reply, Request, json_reply
from .routing import Routes
from .state import State

routes = Routes()


@routes("GET", "/api/{kind}/{repository}/refs")
def _list(state: State, request: Request, kind: str, repository: str) -> Reply:
    found = state.readable(request, kind, repository)

    def listed(references: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit}
            for name, commit in references.items()
        ]

    # The key for pull requests is there only when asked for.
    asked: dict[str, list[str]] = {"pullRequests": []} if request.flag("include_prs") else {}
    branches, tags = listed(found.branches, "heads"), listed(found.tags, "tags")
    return json_reply({"branches": branches, "tags": tags, "converts": [], **asked})


@routes("POST", "/api/{kind}/{repository}/tag/{revision}")
def _tag(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found, name = state.writable(request, kind, repository), str(request.json().get("tag", ""))
    commit = found.commit(revision)
    _add(found.tags, name, commit.id, "Tag")
    return json_reply({"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit.id})


@routes("DELETE", "/api/{kind}/{repository}/tag/{tag}")
def _untag(state: State, request: Request, kind: str, repository: str, tag: str) -> Reply:
    if state.writable(request, kind, repository).tags.pop(tag, None) is None:
        raise Refusal(404, f"No such tag: {tag}", "RevisionNotFound")
    return json_reply({})


@routes("POST", "/api/{kind}/{repository}/branch/{branch}")
def _branch(state: State, request: Request, kind: str, repository: str, branch: str) -> Reply:
    found = state.writable(request, kind, repository)
    start = found.commit(str(request.json().get("startingPoint", "main")))
    _add(found.branches, branch, start.id, "Branch")
    return json_reply({"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": start.id})


@routes("DELETE", "/api/{kind}/{repository}/branch/{branch}")
def _delete_branch(state: State, request: Request, kind: str, repository: str, branch: str) -> Reply:
    found = state.writable(request, kind, repository)
    if branch == "main":
        raise Refusal(403, "Cannot delete the branch main")
    if found.branches.pop(branch, None) is None:
        raise Refusal(404, f"No such branch: {branch}", "RevisionNotFound")
    return json_reply({})


def _add(references: dict[str, str], name: str, commit: str, noun: str) -> None:
    if not name or any(bad in name for bad in (" ", "..", "~", "^", ":", "?", "*", "[", "\\")):
        raise Refusal(400, f"Invalid name: {name!r}")
    if name in references:
        raise Refusal(409, f"{noun} reference exists already")
    references[name] = commit
