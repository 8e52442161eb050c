"""One collection for the family: found again, completed and put in order, never duplicated."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import HfApi

from wellread_hf.hub.calls import Calls
from wellread_hf.hub.names import family_order

_LONGEST_NOTE = 500  # the Hub's limit, in characters


def complete_collection(
    api: HfApi, calls: Calls, namespace: str, title: str, notes: Mapping[str, str], private: bool
) -> str:
    """Makes or completes the collection of a namespace with that title.

    The namespace's models are put in the family's order, those of earlier runs included. What else is in it
    stays, after them.

    It is looked up before it is created, since the Hub takes a title twice. Notes are by the models' ids,
    those that are not of the family in the order wanted. Returns the collection's address.
    """

    # By title, not by `exists_ok`: the Hub's staging server accepts duplicates.
    def find() -> Any:
        found = api.list_collections(owner=namespace)
        return next((collection for collection in found if collection.title == title), None)

    found = calls("looking for the collection", find)
    if found is None:
        # A lost answer makes the second try find what the first one made.
        found = calls(
            "creating the collection",
            lambda: find() or api.create_collection(title, namespace=namespace, private=private),
        )
    slug = found.slug
    items = {item.item_id: item for item in _items(api, calls, slug) if item.item_type == "model"}
    for model, note in notes.items():
        note = note[:_LONGEST_NOTE]
        if model not in items:
            calls(
                f"adding {model} to the collection",
                lambda: api.add_collection_item(slug, model, "model", note=note or None, exists_ok=True),  # noqa: B023
            )
        elif (items[model].note or "") != note:
            calls(
                f"noting {model} in the collection",
                lambda: api.update_collection_item(slug, items[model].item_object_id, note=note),  # noqa: B023
            )
    _order(api, calls, slug, namespace)
    return str(found.url)


def _items(api: HfApi, calls: Calls, slug: str) -> list[Any]:
    # One by one, since a listing of collections shows only the first items of each.
    return list(calls("reading the collection", lambda: api.get_collection(slug)).items)


def _order(api: HfApi, calls: Calls, slug: str, namespace: str) -> None:
    """Puts the namespace's models first, in order; moves nothing that is in its place."""
    # Read again: what was just added has its place and id by now.
    items = _items(api, calls, slug)
    ours = [item for item in items if item.item_type == "model" and item.item_id.startswith(f"{namespace}/")]
    ours.sort(key=lambda item: family_order(item.item_id.rpartition("/")[2]))
    for position, item in enumerate(ours):
        if items[position] is not item:
            items.remove(item)
            items.insert(position, item)
            calls(
                f"ordering {item.item_id} in the collection",
                lambda: api.update_collection_item(slug, item.item_object_id, position=position),  # noqa: B023
            )
