"""Which names a repository or a namespace can have, and the family's order of them."""

import re

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in its __all__

# Ours are lower-case, so that no two differ in their case alone.
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,94}[a-z0-9])?")


def is_repo_id(text: object) -> bool:
    """Returns whether a text is NAME or NAMESPACE/NAME, as client and Hub take it."""
    # The client's own pattern ends in `$`, which accepts a line break, and takes the letters of all scripts.
    if not isinstance(text, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", text, re.ASCII):
        return False
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def is_repo_name(name: str) -> bool:
    """Returns whether a repository of ours can have the name, which has no namespace."""
    return _NAME.fullmatch(name) is not None and is_repo_id(name)


def family_order(name: str) -> tuple[int, ...]:
    """Sorts the family by its sizes; task students come after it, everything else last."""
    sizes = re.fullmatch(r"bert-(\d+)-(\d+)(-.*)?", name)
    return (2,) if sizes is None else (1 if sizes[3] else 0, int(sizes[1]), int(sizes[2]))
