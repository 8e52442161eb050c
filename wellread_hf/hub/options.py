"""Settings of a push; light to import, since every command line shows them."""

from dataclasses import dataclass
from typing import Literal

from wellread_hf.errors import PublishError

Verify = Literal["tree", "download", "load"]


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
            if getattr(self, name) <= 0:
                raise PublishError(f"--{name.replace('_', '-')} must be above 0, got {getattr(self, name)}")
