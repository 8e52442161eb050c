"""One collection for the family: found again, filled up and put in order, never doubled."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import HfApi

from wellread_hf.hub.calls import Calls
from wellread_hf.hub.parcels import order_of

_LONGEST_NOTE = 500


def gather_collection(
    api: HfApi, calls: Calls, namespace: str, title: str, models: Mapping[str, str], private: bool
) -> str:
    """Makes or completes the collection of a namespace with that title.

    The namespace's models are put in the family's order, those of earlier runs included. What else is in it
    stays, behind them.

    Args:
        api: The client.
        calls: Retries.
        namespace: Whose collection.
        title: Its title; looked up before it is created, the Hub takes a title twice.
        models: Note of each model by id; those that are not of the family in the order wanted.
        private: Only its owner sees it.

    Returns:
        Its address.
    """
    collection = _find(api, calls, namespace, title)
    if collection is None:
        collection = calls(
            "creating the collection",
            lambda: (
                _find(api, calls, namespace, title)
                or api.create_collection(title, namespace=namespace, private=private)
            ),
        )
    slug = collection.slug
    collection = calls("reading the collection", lambda: api.get_collection(slug))
    for model, note in models.items():
        item = _item(collection, model)
        note = note[:_LONGEST_NOTE]
        if item is None:
            collection = calls(
                f"adding {model} to the collection",
                lambda: api.add_collection_item(slug, model, "model", note=note or None, exists_ok=True),  # noqa: B023
            )
        elif (item.note or "") != note:
            calls(
                f"noting {model} in the collection",
                lambda: api.update_collection_item(slug, item.item_object_id, note=note),  # noqa: B023
            )
    _order(api, calls, slug, namespace)
    return str(collection.url)


def _find(api: HfApi, calls: Calls, namespace: str, title: str) -> Any:
    found = calls("looking for the collection", lambda: list(api.list_collections(owner=namespace)))
    return next((collection for collection in found if collection.title == title), None)


def _item(collection: Any, model: str) -> Any:
    return next((item for item in collection.items if _is_model(item) and item.item_id == model), None)


def _is_model(item: Any) -> bool:
    return bool(item.item_type == "model")


def _order(api: HfApi, calls: Calls, slug: str, namespace: str) -> None:
    """Puts the namespace's models first, in order; moves nothing that is in its place."""
    items = list(calls("reading the collection", lambda: api.get_collection(slug)).items)
    ours = [item for item in items if _is_model(item) and item.item_id.startswith(f"{namespace}/")]
    ours.sort(key=lambda item: order_of(item.item_id.rpartition("/")[2]))
    for position, item in enumerate(ours):
        if items[position] is not item:
            items.remove(item)
            items.insert(position, item)
            calls(
                f"ordering {item.item_id} in the collection",
                lambda: api.update_collection_item(slug, item.item_object_id, position=position),  # noqa: B023
            )
