"""Settings of a push; light to import, since every command line shows them."""

import re
from typing import Literal

from pydantic import model_validator

from wellread_hf.errors import SettingsError
from wellread_hf.settings.fields import Minutes, Several, checked

Verify = Literal["tree", "download", "load"]

# What git takes for a tag, and never the name of the branch itself.
_TAG = re.compile(r"(?!main$)[A-Za-z0-9](?!.*\.\.)(?!.*\.lock$)([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")
# The Hub's limit, as far as it is known.
_LONGEST_TITLE = 60


@checked()
class Publishing:
    """What a push does with all its repositories."""

    namespace: str = ""
    """User or organisation that gets the repositories."""
    # What was public once may have been copied.
    public: bool = False
    """Everybody may see them; without it they are private."""
    # More are slowed down by the Hub.
    jobs: Several = 4
    """Repositories handled at once."""
    tag: str | None = None
    """Tag of this version; default: `v` and the package's version."""
    collection: str | None = "Well-read students"
    """Title of the collection that lists them; `None` for no collection."""
    # Some servers take `onnx/model.onnx` and cannot be given another name.
    revision_int8: bool = False
    """Push a branch `int8` as well, whose `onnx/model.onnx` is the export's int8 file."""
    space: bool = False
    """Push a static Space as well: the report's page, where visitors try the exported students."""
    # The tree's hashes cost one request, a download every byte again.
    verify: Verify = "tree"
    """How what arrived is checked: hashes in the repository's tree, or of a download as well, or by loading
    it in a process of its own as well."""
    # The Hub counts calls by windows of five minutes.
    max_wait: Minutes = 5.0
    """Longest wait that the Hub may ask for, in minutes."""
    deadline: Minutes = 60.0
    """Minutes that one repository may take."""

    @model_validator(mode="after")
    def _names_are_allowed(self) -> "Publishing":
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise SettingsError(
                f"`tag` {self.tag!r} is no name for a version: expected letters, digits, . _ -, such as v1.0"
            )
        title = self.collection
        if title is not None and not (title.isprintable() and 0 < len(title.strip()) <= _LONGEST_TITLE):
            raise SettingsError(
                f"`collection`: expected a title of 1 to {_LONGEST_TITLE} characters, got {title!r}; or None"
            )
        return self
