"""Reading: trees, histories and the files themselves."""

from urllib.parse import parse_qs, quote

from .descriptions import describe_commit, describe_paths
from .exchange import Refusal, Reply, Request, file_reply
from .exchange import json_reply as as_json
from .paging import page
from .routing import Routes
from .state import State

routes = Routes()


@routes("GET", "/api/{kind}/{repository}/tree/{revision}")
@routes("GET", "/api/{kind}/{repository}/tree/{revision}/{path}")
def _tree(state: State, request: Request, kind: str, repository: str, revision: str, path: str = "") -> Reply:
    found = state.readable(request, kind, repository)
    commit, folder = found.commit(revision), path.strip("/")
    prefix = f"{folder}/" if folder else ""
    inside = [name for name in commit.files if name.startswith(prefix)]
    if folder and not inside:
        raise Refusal(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
    listed = set()
    for name in inside:
        parts = name.removeprefix(prefix).split("/")
        depth = len(parts) if request.flag("recursive") else 1
        listed |= {prefix + "/".join(parts[: count + 1]) for count in range(depth)}
    return page(state, request, describe_paths(found, commit, sorted(listed), request.flag("expand")))


@routes("POST", "/api/{kind}/{repository}/paths-info/{revision}")
def _paths_info(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found = state.readable(request, kind, repository)
    form = parse_qs(request.body.decode())
    paths = [path.strip("/") for path in form.get("paths", [])]
    expand = form.get("expand", ["false"])[0].lower() == "true"
    return as_json(describe_paths(found, found.commit(revision), paths, expand))


@routes("GET", "/api/{kind}/{repository}/commits/{revision}")
def _history(state: State, request: Request, kind: str, repository: str, revision: str) -> Reply:
    found = state.readable(request, kind, repository)
    return page(state, request, [describe_commit(one) for one in found.history(found.commit(revision))])


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
    return file_reply(request, found.objects.path(entry.sha256), headers)
