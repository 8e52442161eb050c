"""Sources of text as records name them."""

from collections.abc import Mapping
from typing import Any

from wellread_hf.hub.cards.facts import Origin, Source


def source_of(identity: Mapping[str, Any]) -> Source:
    """Reads what `inputs.source_identity` wrote."""
    return Source(
        origin=Origin(fingerprint=str(identity["name"])),
        config=identity.get("config"),
        split=str(identity["split"]),
        columns=tuple(map(str, identity["columns"])),
        rows=identity.get("rows"),
    )


def transfer_of(transfer: Mapping[str, Any]) -> tuple[Source | None, ...]:
    """Reads a transfer set's sources; None stands for the task's own training text."""
    sources: list[Source | None] = []
    for identity in transfer["sources"]:
        if isinstance(identity, str):
            sources.append(None)
        else:
            sources.extend(map(source_of, identity))
    return tuple(sources)
