"""Settings of a push; light to import, since every command line shows them."""

import re
from dataclasses import dataclass
from math import inf
from typing import Literal

from wellread_hf.errors import PublishError

Verify = Literal["tree", "download", "load"]

_TAG = re.compile(r"(?!main$)[A-Za-z0-9](?!.*\.\.)(?!.*\.lock$)([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")
_LONGEST_TITLE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """What a push does with all its repositories."""

    namespace: str = ""
    """User or organisation that gets the repositories."""
    public: bool = False
    """Everybody may see them; without it they are private."""
    jobs: int = 4
    """Repositories handled at once."""
    tag: str | None = None
    """Tag of this version; default: `v` and the package's version."""
    collection: str | None = "Well-read students"
    """Title of the collection that lists them; `None` for no collection."""
    verify: Verify = "tree"
    """How what arrived is checked: hashes in the repository's tree, or of a download as well, or by loading
    it in a process of its own as well."""
    max_wait: float = 5.0
    """Longest wait that the Hub may ask for, in minutes."""
    deadline: float = 60.0
    """Minutes that one repository may take."""

    def __post_init__(self) -> None:
        for name in ("jobs", "max_wait", "deadline"):
            if not 0 < getattr(self, name) < inf:
                raise PublishError(f"`{name}`: expected a finite number above 0, got {getattr(self, name)}")
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise PublishError(
                f"`tag` {self.tag!r} is no name for a version: expected letters, digits, . _ -, such as v1.0"
            )
        title = self.collection
        if title is not None and not (title.isprintable() and 0 < len(title.strip()) <= _LONGEST_TITLE):
            raise PublishError(
                f"`collection`: expected a title of 1 to {_LONGEST_TITLE} characters, got {title!r}; or None"
            )
