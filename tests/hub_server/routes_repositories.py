"""Making, changing, deleting and describing repositories."""

from .descriptions import describe_repository
from .exchange import Refusal, Reply, Request, json_reply
from .paging import page
from .routing import Routes
from .state import State, no_repository

routes = Routes()


def _asked(state: State, request: Request) -> tuple[str, str]:
    asked, user = request.json(), state.signed_in(request)
    kind = asked.get("type") or "model"
    if kind not in ("model", "dataset"):
        raise Refusal(400, f"Invalid repository type: {kind}")
    return f"{kind}s", f"{asked.get('organization') or user.name}/{asked.get('name')}"


@routes("POST", "/api/repos/create")
def _create(state: State, request: Request) -> Reply:
    kind, name = _asked(state, request)
    private = _visibility(request) == "private"
    repository = state.create(state.signed_in(request), kind, name, private)
    return json_reply(
        {"url": f"{state.endpoint}/{repository.address}", "name": repository.name, "id": repository.key[:24]}
    )


def _visibility(request: Request) -> str:
    asked = request.json()
    # Clients of the first line sent a truth value.
    visibility = asked.get("visibility", "private" if asked.get("private") else "public")
    if visibility not in ("private", "public"):
        raise Refusal(400, f"Invalid visibility: {visibility}")
    return str(visibility)


@routes("DELETE", "/api/repos/delete")
def _delete(state: State, request: Request) -> Reply:
    kind, name = _asked(state, request)
    state.writable(request, kind, name).objects.remove()
    del state.repositories[kind, name]
    return json_reply({"success": True})


@routes("PUT", "/api/{kind}/{repository}/settings")
def _settings(state: State, request: Request, kind: str, repository: str) -> Reply:
    found, asked = state.writable(request, kind, repository), request.json()
    if "visibility" in asked or "private" in asked:
        found.private = _visibility(request) == "private"
    found.gated = asked.get("gated", found.gated)
    return json_reply({"private": found.private, "gated": found.gated})


@routes("GET", "/api/{kind}/{repository}")
@routes("GET", "/api/{kind}/{repository}/revision/{revision}")
def _describe(state: State, request: Request, kind: str, repository: str, revision: str = "main") -> Reply:
    found = state.readable(request, kind, repository)
    described = describe_repository(found, found.commit(revision), request.flag("blobs"))
    if wanted := request.query.get("expand"):
        kept = {"_id", "id", "modelId", *wanted}
        described = {key: value for key, value in described.items() if key in kept}
    return json_reply(described)


@routes("GET", "/api/{kind}/{repository}/auth-check")
def _check_read(state: State, request: Request, kind: str, repository: str) -> Reply:
    state.readable(request, kind, repository)
    return json_reply({})


@routes("GET", "/api/{kind}/{repository}/auth-check/write")
def _check_write(state: State, request: Request, kind: str, repository: str) -> Reply:
    state.writable(request, kind, repository)
    return json_reply({})


@routes("GET", "/api/{kind}")
def _list(state: State, request: Request, kind: str) -> Reply:
    author = request.query.get("author", [None])[0]
    search = request.query.get("search", [""])[0].lower()
    filters = request.query.get("filter", [])
    described = []
    for repository in state.repositories.values():
        if repository.kind != kind or not state.visible(request.user, repository):
            continue
        if author not in (None, repository.namespace) or search not in repository.name.lower():
            continue
        one = describe_repository(repository, repository.commit("main"), blobs=False)
        if set(filters) <= set(one["tags"]):
            described.append(one)
    return page(state, request, described)


@routes("GET HEAD", "/api/spaces/{path}")
def _no_spaces(state: State, request: Request, path: str) -> Reply:
    raise no_repository(request)
