"""The first origin: the API and the files, as far as this package, `transformers` and `datasets` ask."""

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from . import cards
from .exchange import Refusal, Reply, Request, file_reply, json_reply
from .repositories import Commit, Entry, Repository, check_path, decode, large_entry
from .routing import Routes
from .state import State, no_repository

HARNESSES = "/api/agent-harnesses"
routes = Routes()


def answer(state: State, tables: tuple[Routes, ...]) -> Callable[[Request], Reply]:
    """Returns the function that answers the API's requests from several tables."""

    def answered(request: Request) -> Reply:
        if request.user is None and "Authorization" in request.headers:
            raise Refusal(401, "Invalid credentials in Authorization header")
        with state.lock:
            for table in tables:
                if reply := table.answer(state, request):
                    return reply
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")

    return answered


def page(state: State, request: Request, items: list[Any]) -> Reply:
    """Returns the page that the query asks for, and the address of the next one in the header Link."""
    start = int(request.query.get("cursor", ["0"])[0])
    size = min(state.page_size, int(request.query.get("limit", [state.page_size])[0]))
    headers = {}
    if start + size < len(items):
        query = urlencode({**request.query, "cursor": [str(start + size)]}, doseq=True)
        headers["Link"] = f'<{state.endpoint}{request.path}?{query}>; rel="next"'
    return json_reply(items[start : start + size], headers=headers)


# Accounts and cards


@routes("GET", "/api/whoami-v2")
def _whoami(state: State, request: Request) -> Reply:
    return json_reply(state.signed_in(request).describe())


@routes("GET", HARNESSES)
def _harnesses(state: State, request: Request) -> Reply:
    return json_reply({"standardEnvVars": [], "harnesses": {}})


@routes("POST", "/api/validate-yaml")
def _validate_card(state: State, request: Request) -> Reply:
    errors, warnings = cards.check(str(request.json().get("content", "")))
    body: dict[str, Any] = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    return json_reply({"error": "Invalid metadata in README.md", **body}, 400) if errors else json_reply(body)


# Repositories


@routes("POST", "/api/repos/create")
def _create(state: State, request: Request) -> Reply:
    asked, user = request.json(), state.signed_in(request)
    kind, visibility = asked.get("type") or "model", asked.get("visibility")
    if kind not in ("model", "dataset", "space"):
        raise Refusal(400, f"Invalid repository type: {kind}")
    if kind == "space" and asked.get("sdk") not in ("static", "gradio", "docker"):
        raise Refusal(400, "A Space needs an sdk")
    # Clients of the first line sent a truth value.
    private = visibility == "private" if visibility else bool(asked.get("private"))
    name = f"{asked.get('organization') or user.name}/{asked.get('name')}"
    repository = state.create(user, f"{kind}s", name, private)
    return json_reply({"url": f"{state.endpoint}/{repository.address}", "name": name, "id": repository.key})


@routes("GET", "/api/{kind}/{repository}")
@routes("GET", "/api/{kind}/{repository}/revision/{revision}")
def _describe(state: State, request: Request, kind: str, repository: str, revision: str = "main") -> Reply:
    found = state.readable(request, kind, repository)
    commit = found.commit(revision)
    return json_reply(
        {
            "_id": found.key,
            "id": found.name,
            "author": found.namespace,
            "sha": commit.id,
            "lastModified": commit.date,
            "private": found.private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }
    )


@routes("GET", "/api/{kind}/{repository}/refs")
def _references(state: State, request: Request, kind: str, repository: str) -> Reply:
    found = state.readable(request, kind, repository)

    def listed(references: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit}
            for name, commit in references.items()
        ]

    branches, tags = listed(found.branches, "heads"), listed(found.tags, "tags")
    return json_reply({"branches": branches, "tags": tags, "converts": []})


@routes("GET", "/api/{kind}/{repository}/commits/{revision}")
def _commits(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found = state.readable(request, kind, repository)
    items = [
        {"id": one.id, "title": one.title, "message": "", "authors": [{"user": one.author}], "date": one.date}
        for one in found.history(found.commit(revision))
    ]
    return page(state, request, items)


@routes("POST", "/api/{kind}/{repository}/tag/{revision}")
def _tag(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found, name = state.writable(request, kind, repository), str(request.json().get("tag", ""))
    if name in found.tags:
        raise Refusal(409, "Tag reference exists already")
    found.tags[name] = found.commit(revision).id
    return json_reply({"name": name, "ref": f"refs/tags/{name}", "targetCommit": found.tags[name]})


@routes("POST", "/api/{kind}/{repository}/branch/{branch}")
def _branch(state: State, request: Request, kind: str, repository: str, branch: str) -> Reply:
    found = state.writable(request, kind, repository)
    if branch in found.branches:
        raise Refusal(409, f"Reference already exists: {branch}")
    found.branches[branch] = found.commit(str(request.json().get("startingPoint", "main"))).id
    return json_reply({})


# Before a commit: how each file goes up, and where the large ones go


@routes("POST", "/api/{kind}/{repository}/preupload/{revision}")
def _preupload(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found = state.writable(request, kind, repository)
    files, answers = found.commit(revision).files, []
    for file in request.json()["files"]:
        path = file["path"]
        large = found.is_large(path, file["size"], decode(file["sample"]), files)
        body = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        answers.append(body | ({"oid": files[path].content_id} if path in files else {}))
    return json_reply({"files": answers})


@routes("POST", "/{prefix}{repository}.git/info/lfs/objects/batch")
def _batch(state: State, request: Request, prefix: str, repository: str) -> Reply:
    found, asked = state.writable(request, prefix.strip("/") or "models", repository), request.json()
    if asked.get("operation") != "upload" or asked.get("hash_algo", "sha256") != "sha256":
        raise Refusal(400, "Only uploads by SHA-256 are known here")
    objects, transfer = [], "basic"
    for one in asked["objects"]:
        body: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
        if not found.has(one["oid"], one["size"]):
            in_parts = "multipart" in asked.get("transfers", []) and one["size"] > state.multipart_above
            transfer = "multipart" if in_parts else transfer
            verify = f"{state.endpoint}/{prefix}{repository}.git/info/lfs/objects/verify"
            upload = _upload(state, found, one["oid"], one["size"], in_parts)
            body["actions"] = {"upload": upload, "verify": {"href": verify}}
        objects.append(body)
    return json_reply({"transfer": transfer, "objects": objects})


def _upload(state: State, repository: Repository, oid: str, size: int, in_parts: bool) -> dict[str, Any]:
    if not in_parts:
        return {"href": state.signed("PUT", f"/bucket/{repository.key}/{oid}"), "header": {}}
    place = f"/bucket/{repository.key}/{uuid.uuid4().hex}"
    count = -(-size // state.part_size)
    parts = {f"{number:05}": state.signed("PUT", f"{place}/{number}") for number in range(1, count + 1)}
    header = {"chunk_size": str(state.part_size), **parts}
    return {"href": state.signed("POST", f"{place}/complete"), "header": header}


@routes("POST", "/{prefix}{repository}.git/info/lfs/objects/verify")
def _verify(state: State, request: Request, prefix: str, repository: str) -> Reply:
    found, asked = state.writable(request, prefix.strip("/") or "models", repository), request.json()
    if not found.has(asked["oid"], asked["size"]):
        raise Refusal(404, "The object is not in the storage, or has another size")
    return json_reply({"message": "Upload verified"})


# Commits


@routes("POST", "/api/{kind}/{repository}/commit/{revision}")
def _commit(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found = state.writable(request, kind, repository)
    if revision not in found.branches:
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    header, *operations = _lines(request)
    # Short hashes are allowed.
    if not found.branches[revision].startswith(header["value"].get("parentCommit", "").lower()):
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    files = dict(found.commit(revision).files)
    for operation in operations:
        path, entry = _file(found, operation["key"], operation["value"])
        files[path] = entry
    if "README.md" in files:
        errors, _ = cards.check(found.path(files["README.md"].sha256).read_text(errors="replace"))
        if errors:
            body = [{"message": message} for message in errors]
            raise Refusal(400, "Invalid metadata in README.md", errors=body)
    commit = found.add_commit(revision, files, header["value"]["summary"], state.signed_in(request).name)
    url = f"{state.endpoint}/{found.address}/commit/{commit.id}"
    return json_reply({"success": True, "commitOid": commit.id, "commitUrl": url, "hookOutput": ""})


def _lines(request: Request) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in request.body.splitlines() if line]
    except ValueError as error:
        raise Refusal(400, f"The commit is not JSON by lines: {error}") from error
    if not lines or lines[0]["key"] != "header" or not lines[0]["value"].get("summary"):
        raise Refusal(400, "The first line of a commit is its header, with a summary")
    return lines


def _file(repository: Repository, key: str, value: dict[str, Any]) -> tuple[str, Entry]:
    path = check_path(str(value.get("path", "")))
    if key == "file":
        return path, repository.regular_entry(decode(value["content"]))
    if key != "lfsFile":
        raise Refusal(400, f"Nobody deletes anything here: {key}")
    if not repository.has(value["oid"], value.get("size")):
        raise Refusal(400, f"The large file {path} points to an object that is not in the storage")
    return path, large_entry(value["oid"], repository.path(value["oid"]).stat().st_size)


# Reading


@routes("GET", "/api/{kind}/{repository}/tree/{revision}")
@routes("GET", "/api/{kind}/{repository}/tree/{revision}/{path}")
def _tree(state: State, request: Request, kind: str, repository: str, revision: str, path: str = "") -> Reply:
    commit, folder = state.readable(request, kind, repository).commit(revision), path.strip("/")
    prefix = f"{folder}/" if folder else ""
    inside = [name for name in commit.files if name.startswith(prefix)]
    if folder and not inside:
        raise Refusal(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
    listed = set()
    for name in inside:
        parts = name.removeprefix(prefix).split("/")
        depth = len(parts) if request.flag("recursive") else 1
        listed |= {prefix + "/".join(parts[: count + 1]) for count in range(depth)}
    return page(state, request, [_entry(commit, name) for name in sorted(listed)])


@routes("POST", "/api/{kind}/{repository}/paths-info/{revision}")
def _paths_info(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    commit = state.readable(request, kind, repository).commit(revision)
    paths = [path.strip("/") for path in parse_qs(request.body.decode()).get("paths", [])]
    there = [path for path in paths if any(f"{name}/".startswith(f"{path}/") for name in commit.files)]
    return json_reply([_entry(commit, path) for path in there])


def _entry(commit: Commit, path: str) -> dict[str, Any]:
    entry = commit.files.get(path)
    if entry is None:
        return {"type": "directory", "path": path, "oid": commit.id, "size": 0}
    body: dict[str, Any] = {"type": "file", "path": path, "size": entry.size, "oid": entry.oid}
    if entry.lfs:
        body["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    return body


@routes("GET HEAD", "/{prefix}{repository}/resolve/{revision}/{path}")
def _resolve(state: State, request: Request, prefix: str, repository: str, revision: str, path: str) -> Reply:
    found = state.readable(request, prefix.strip("/") or "models", repository)
    commit = found.commit(revision)
    headers = {"X-Repo-Commit": commit.id}
    entry = commit.files.get(path)
    if entry is None:
        raise Refusal(404, "Entry not found", "EntryNotFound", headers)
    if entry.lfs:
        headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
        headers["Location"] = state.signed("GET", f"/bucket/{found.key}/{entry.sha256}")
        return Reply(302, headers)
    name = quote(path.rsplit("/", 1)[-1])
    headers |= {"ETag": f'"{entry.oid}"', "Content-Disposition": f"inline; filename*=UTF-8''{name}"}
    return file_reply(request, found.path(entry.sha256), headers)


# Names without a namespace are of no repository here.
@routes("GET HEAD", "/api/{kind}/{name}")
@routes("GET HEAD", "/{prefix}{name}/resolve/{path}")
def _no_repository(state: State, request: Request, **places: str) -> Reply:
    raise no_repository(request)
