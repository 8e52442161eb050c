"""The first origin: the API and the files."""

from collections.abc import Callable

from . import (
    routes_accounts,
    routes_collections,
    routes_commits,
    routes_files,
    routes_references,
    routes_repositories,
    routes_uploads,
)
from .exchange import Refusal, Reply, Request
from .routing import Routes
from .state import State, no_repository

TABLES: tuple[Routes, ...] = (
    routes_accounts.routes,
    routes_collections.routes,
    routes_repositories.routes,
    routes_references.routes,
    routes_uploads.routes,
    routes_commits.routes,
    routes_files.routes,
)
rest = Routes()


def answer(state: State) -> Callable[[Request], Reply]:
    """Returns the function that answers the API's requests."""

    def answered(request: Request) -> Reply:
        if request.user is None and "Authorization" in request.headers:
            raise Refusal(401, "Invalid credentials in Authorization header")
        with state.lock:
            for table in (*TABLES, rest):
                if reply := table.answer(state, request):
                    return reply
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")

    return answered


# What is left are names without a namespace, which are of no repository here.
@rest("GET HEAD", "/api/{kind}/{name}")
@rest("GET HEAD", "/{prefix}{name}/resolve/{path}")
def _no_repository(state: State, request: Request, **places: str) -> Reply:
    raise no_repository(request)
