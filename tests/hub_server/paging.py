"""Long lists, a page at a time."""

from typing import Any
from urllib.parse import urlencode

from .exchange import Reply, Request, json_reply
from .state import State


def page(state: State, request: Request, items: list[Any]) -> Reply:
    """Returns the page that the query asks for, and the address of the next one in the header Link."""
    start = int(request.query.get("cursor", ["0"])[0])
    size = min(state.page_size, int(request.query.get("limit", [state.page_size])[0]))
    headers = {}
    if start + size < len(items):
        query = urlencode({**request.query, "cursor": [str(start + size)]}, doseq=True)
        headers["Link"] = f'<{state.endpoint}{request.path}?{query}>; rel="next"'
    return json_reply(items[start : start + size], headers=headers)
