"""Collections. The Hub takes a second one with the same title, and so does this."""

import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from .exchange import Refusal, Reply, Request, json_reply
from .paging import page
from .repositories import timestamp
from .routing import Routes
from .state import State

TITLE_LIMIT, DESCRIPTION_LIMIT = 60, 150
_LISTED_ITEMS = 4
routes = Routes()


@dataclass
class Collection:
    """A list of repositories with notes."""

    owner: str
    title: str
    description: str
    private: bool
    slug: str
    items: list[dict[str, Any]] = field(default_factory=list)
    changed: str = field(default_factory=timestamp)

    def describe(self) -> dict[str, Any]:
        """Returns the collection as the API shows it."""
        return {
            "slug": self.slug,
            "title": self.title,
            "description": self.description,
            "owner": {"type": "user", "name": self.owner, "fullname": self.owner},
            "items": [{**item, "position": place} for place, item in enumerate(self.items)],
            "lastUpdated": self.changed,
            "position": 0,
            "private": self.private,
            "theme": "indigo",
            "upvotes": 0,
            "isUpvotedByUser": False,
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
    found.changed = timestamp()
    return found


def _item(collection: Collection, id: str) -> dict[str, Any]:
    for item in collection.items:
        if item["_id"] == id:
            return item
    raise Refusal(404, "Collection item not found")


def _checked(text: object, name: str, limit: int) -> str:
    if not isinstance(text, str) or len(text) > limit:
        raise Refusal(400, f'"{name}" must be a text of at most {limit} characters')
    return text


@routes("POST", "/api/collections")
def _create(state: State, request: Request) -> Reply:
    asked, user = request.json(), state.signed_in(request)
    owner = asked.get("namespace") or user.name
    if user.role != "write" or not user.owns(owner):
        raise Refusal(403, f"Forbidden: you don't have the rights to make a collection for {owner}")
    title = _checked(asked.get("title"), "title", TITLE_LIMIT)
    about = _checked(asked.get("description", ""), "description", DESCRIPTION_LIMIT)
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    slug = f"{owner}/{words}-{secrets.token_hex(12)}"
    state.collections[slug] = Collection(owner, title, about, bool(asked.get("private")), slug)
    return json_reply(state.collections[slug].describe())


@routes("GET", "/api/collections")
def _list(state: State, request: Request) -> Reply:
    owners, user = request.query.get("owner"), request.user
    listed = []
    for collection in state.collections.values():
        if owners is not None and collection.owner not in owners:
            continue
        if collection.private and not (user and user.owns(collection.owner)):
            continue
        described = collection.describe()
        # The client numbers a list itself, and fails when it finds a number there.
        del described["position"]
        described["items"] = described["items"][:_LISTED_ITEMS]
        names = {f"{item['type']}s/{item['id']}" for item in collection.items}
        if names.issuperset(request.query.get("item", [])):
            listed.append(described)
    return page(state, request, listed)


@routes("GET", "/api/collections/{slug}")
def _get(state: State, request: Request, slug: str) -> Reply:
    return json_reply(_readable(state, request, slug).describe())


@routes("PATCH", "/api/collections/{slug}")
def _change(state: State, request: Request, slug: str) -> Reply:
    found, asked = _writable(state, request, slug), request.json()
    found.title = _checked(asked.get("title", found.title), "title", TITLE_LIMIT)
    found.description = _checked(
        asked.get("description", found.description), "description", DESCRIPTION_LIMIT
    )
    found.private = bool(asked.get("private", found.private))
    return json_reply({"success": True, "data": found.describe()})


@routes("DELETE", "/api/collections/{slug}")
def _delete(state: State, request: Request, slug: str) -> Reply:
    del state.collections[_writable(state, request, slug).slug]
    return json_reply({"success": True})


@routes("POST", "/api/collections/{slug}/items")
def _add(state: State, request: Request, slug: str) -> Reply:
    found, asked = _writable(state, request, slug), request.json()
    kind, name = asked["item"]["type"], asked["item"]["id"]
    if kind not in ("model", "dataset"):
        raise Refusal(400, f"A collection here holds models and datasets, not a {kind}")
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
    changed = _item(found, item)
    if "note" in asked:
        changed["note"] = _note(asked["note"])
    if "position" in asked:
        found.items.remove(changed)
        found.items.insert(asked["position"], changed)
    return json_reply({"success": True})


@routes("DELETE", "/api/collections/{slug}/items/{item}")
def _delete_item(state: State, request: Request, slug: str, item: str) -> Reply:
    found = _writable(state, request, slug)
    found.items.remove(_item(found, item))
    return json_reply({"success": True})
