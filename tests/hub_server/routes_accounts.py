"""Who one is, and what is asked without a repository."""

from . import cards
from .exchange import Reply, Request, json_reply
from .routing import Routes
from .state import State

HARNESSES = "/api/agent-harnesses"
routes = Routes()


@routes("GET", "/api/whoami-v2")
def _whoami(state: State, request: Request) -> Reply:
    return json_reply(state.signed_in(request).describe())


@routes("GET", HARNESSES)
def _harnesses(state: State, request: Request) -> Reply:
    return json_reply({"standardEnvVars": [], "harnesses": {}})


@routes("POST", "/api/validate-yaml")
def _validate_card(state: State, request: Request) -> Reply:
    errors, warnings = cards.check(str(request.json().get("content", "")))
    answer: dict[str, object] = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    if errors:
        return json_reply({"error": "Invalid metadata in README.md", **answer}, 400)
    return json_reply(answer)
