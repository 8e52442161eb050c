"""Collections. The Hub takes a second one with the same title, and so does this."""

import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from .api import page
from .exchange import Refusal, Reply, Request, json_reply
from .routing import Routes
from .state import State

_LONGEST_TITLE = 60
# A listing shows only the first few items.
_LISTED_ITEMS = 4
routes = Routes()


@dataclass
class Collection:
    """A list of repositories with notes."""

    owner: str
    title: str
    private: bool
    slug: str
    items: list[dict[str, Any]] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Returns the collection as the API shows it."""
        return {
            "slug": self.slug,
            "title": self.title,
            "description": "",
            "owner": {"type": "user", "name": self.owner, "fullname": self.owner},
            "items": [{**item, "position": place} for place, item in enumerate(self.items)],
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "position": 0,
            "private": self.private,
            "theme": "indigo",
            "upvotes": 0,
        }


def _readable(state: State, request: Request, slug: str) -> Collection:
    found = state.collections.get(slug)
    known = request.user is not None and found is not None and request.user.owns(found.owner)
    if found is None or (found.private and not known):
        raise Refusal(404, "Collection not found")
    return found


def _writable(state: State, request: Request, slug: str) -> Collection:
    found, user = _readable(state, request, slug), state.signed_in(request)
    if user.role != "write" or not user.owns(found.owner):
        raise Refusal(403, "Forbidden: you don't have the rights to change this collection")
    return found


@routes("POST", "/api/collections")
def _create(state: State, request: Request) -> Reply:
    asked, user = request.json(), state.signed_in(request)
    owner, title = asked.get("namespace") or user.name, asked.get("title")
    if user.role != "write" or not user.owns(owner):
        raise Refusal(403, f"Forbidden: you don't have the rights to make a collection for {owner}")
    if not isinstance(title, str) or len(title) > _LONGEST_TITLE:
        raise Refusal(400, f'"title" must be a text of at most {_LONGEST_TITLE} characters')
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    slug = f"{owner}/{words}-{secrets.token_hex(12)}"
    state.collections[slug] = Collection(owner, title, bool(asked.get("private")), slug)
    return json_reply(state.collections[slug].describe())


@routes("GET", "/api/collections")
def _list(state: State, request: Request) -> Reply:
    owners, user, listed = request.query.get("owner", []), request.user, []
    for collection in state.collections.values():
        if collection.owner not in owners or (
            collection.private and not (user and user.owns(collection.owner))
        ):
            continue
        described = collection.describe()
        # The client numbers a list itself, and fails when it finds a number there.
        del described["position"]
        listed.append({**described, "items": described["items"][:_LISTED_ITEMS]})
    return page(state, request, listed)


@routes("GET", "/api/collections/{slug}")
def _get(state: State, request: Request, slug: str) -> Reply:
    return json_reply(_readable(state, request, slug).describe())


@routes("POST", "/api/collections/{slug}/items")
def _add(state: State, request: Request, slug: str) -> Reply:
    found, asked = _writable(state, request, slug), request.json()
    kind, name = asked["item"]["type"], asked["item"]["id"]
    repository = state.repositories.get((f"{kind}s", name))
    if repository is None or not state.visible(request.user, repository):
        raise Refusal(404, f"{name} not found")
    if any((item["type"], item["id"]) == (kind, name) for item in found.items):
        raise Refusal(409, f"{name} is in the collection already")
    note = {"note": _note(asked["note"])} if "note" in asked else {}
    found.items.append({"_id": secrets.token_hex(12), "id": name, "type": kind, "repoType": kind, **note})
    return json_reply(found.describe())


def _note(text: str) -> dict[str, str]:
    return {"text": text, "html": text}


@routes("PATCH", "/api/collections/{slug}/items/{item}")
def _change_item(state: State, request: Request, slug: str, item: str) -> Reply:
    found, asked = _writable(state, request, slug), request.json()
    changed = next((one for one in found.items if one["_id"] == item), None)
    if changed is None:
        raise Refusal(404, "Collection item not found")
    if "note" in asked:
        changed["note"] = _note(asked["note"])
    if "position" in asked:
        found.items.remove(changed)
        found.items.insert(asked["position"], changed)
    return json_reply({"success": True})
