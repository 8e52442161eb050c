"""One collection for the family: found again, filled up and put in order, never doubled."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import HfApi

from wellread_hf.errors import PublishError
from wellread_hf.hub.calls import Calls

_LONGEST_TITLE, _LONGEST_NOTE = 60, 500


def gather_collection(
    api: HfApi, calls: Calls, namespace: str, title: str, models: Mapping[str, str], private: bool
) -> str:
    """Makes or completes the collection of a namespace with that title.

    What others put into it stays, behind our models.

    Args:
        api: The client.
        calls: Retries.
        namespace: Whose collection.
        title: Its title; looked up before it is created, the Hub takes a title twice.
        models: Note of each model by id, in the order wanted.
        private: Only its owner sees it.

    Returns:
        Its address.
    """
    if not 0 < len(title) <= _LONGEST_TITLE:
        raise PublishError(f"--collection: a title has 1 to {_LONGEST_TITLE} characters, got {title!r}")
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
    _order(api, calls, slug, list(models))
    return str(collection.url)


def _find(api: HfApi, calls: Calls, namespace: str, title: str) -> Any:
    found = calls("looking for the collection", lambda: list(api.list_collections(owner=namespace)))
    return next((collection for collection in found if collection.title == title), None)


def _item(collection: Any, model: str) -> Any:
    return next((item for item in collection.items if item.item_id == model), None)


def _order(api: HfApi, calls: Calls, slug: str, models: list[str]) -> None:
    """Puts our models first, in their order; moves nothing that is in its place."""
    items = list(calls("reading the collection", lambda: api.get_collection(slug)).items)
    for position, model in enumerate(models):
        at = next(index for index, item in enumerate(items) if item.item_id == model)
        if at != position:
            item = items.pop(at)
            items.insert(position, item)
            calls(
                f"ordering {model} in the collection",
                lambda: api.update_collection_item(slug, item.item_object_id, position=position),  # noqa: B023
            )
