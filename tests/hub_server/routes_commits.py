"""Commits."""

import json
from typing import Any

from . import cards
from .exchange import Refusal, Reply, Request, json_reply
from .repositories import Entry, Repository, check_path, decode, large_entry
from .routing import Routes
from .state import State

routes = Routes()


@routes("POST", "/api/{kind}/{repository}/commit/{revision}")
def _commit(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found = state.writable(request, kind, repository)
    if request.flag("create_pr"):
        raise Refusal(400, "There are no pull requests here")
    branch = revision.removeprefix("refs/heads/")
    if branch not in found.branches:
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    header, *operations = _lines(request)
    if header["key"] != "header" or not header["value"].get("summary"):
        raise Refusal(400, "The first line of a commit is its header, with a summary")
    told = header["value"]
    # Short hashes are allowed.
    if not found.branches[branch].startswith(told.get("parentCommit", "").lower()):
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    files = dict(found.commit(branch).files)
    for operation in operations:
        _apply(found, files, operation["key"], operation["value"])
    _check_card(found, files)
    author = state.signed_in(request).name
    commit = found.add_commit(branch, files, told["summary"], told.get("description", ""), author)
    url = f"{state.endpoint}/{found.address}/commit/{commit.id}"
    return json_reply({"success": True, "commitOid": commit.id, "commitUrl": url, "hookOutput": ""})


def _lines(request: Request) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in request.body.splitlines() if line]
    except ValueError as error:
        raise Refusal(400, f"The commit is not JSON by lines: {error}") from error
    if not lines or not all({"key", "value"} <= set(line) for line in lines):
        raise Refusal(400, "The commit has a line without key and value")
    return lines


def _apply(repository: Repository, files: dict[str, Entry], key: str, value: dict[str, Any]) -> None:
    path = check_path(str(value.get("path", "")).removesuffix("/" if key == "deletedFolder" else ""))
    if key == "file":
        files[path] = repository.regular_entry(decode(value["content"]))
    elif key == "lfsFile":
        oid = value["oid"]
        if not repository.objects.has(oid, value.get("size")):
            raise Refusal(400, f"The large file {path} points to an object that is not in the storage: {oid}")
        files[path] = large_entry(oid, repository.objects.path(oid).stat().st_size)
    elif key in ("deletedFile", "deletedFolder"):
        gone = [path] if key == "deletedFile" else [name for name in files if name.startswith(f"{path}/")]
        if not gone or any(name not in files for name in gone):
            raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        for name in gone:
            del files[name]
    else:
        raise Refusal(400, f"Unknown operation: {key}")


def _check_card(repository: Repository, files: dict[str, Entry]) -> None:
    if "README.md" not in files:
        return
    card = repository.objects.path(files["README.md"].sha256).read_text(errors="replace")
    errors, _ = cards.check(card)
    if errors:
        told = [{"message": message} for message in errors]
        raise Refusal(400, "Invalid metadata in README.md", errors=told)
