"""A route table: a method and a pattern of a path lead to a function."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .exchange import Reply, Request

if TYPE_CHECKING:
    from .state import State

Handler = Callable[..., Reply]

# A place that is not listed takes one segment, in which a slash is written %2F.
_PLACES = {
    "kind": "models|datasets|spaces",
    "prefix": "datasets/|spaces/|",
    "repository": "[^/]+/[^/]+?",
    "slug": "[^/]+/[^/]+",
    "path": ".+",
}


class Routes:
    """The routes of one origin, tried in the order of their making."""

    def __init__(self) -> None:
        self._routes: list[tuple[frozenset[str], re.Pattern[str], Handler]] = []

    def __call__(self, methods: str, template: str) -> Callable[[Handler], Handler]:
        """Decorates the function that answers; the template's `{places}` become keyword arguments."""
        pattern = re.sub(
            r"\\{(\w+)\\}",
            lambda place: f"(?P<{place[1]}>{_PLACES.get(place[1], '[^/]+')})",
            re.escape(template),
        )

        def add(handler: Handler) -> Handler:
            self._routes.append((frozenset(methods.split()), re.compile(pattern), handler))
            return handler

        return add

    def answer(self, state: "State", request: Request) -> Reply | None:
        """Calls the first route that fits; returns None if there is none."""
        for methods, pattern, handler in self._routes:
            if request.method in methods and (found := pattern.fullmatch(request.path)):
                places = {name: unquote(text) for name, text in found.groupdict().items()}
                return handler(state, request, **places)
        return None
