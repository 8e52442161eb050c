"""Settings of soft labels that somebody else made."""

from typing import Literal

from pydantic import model_validator

from wellread_hf.errors import SettingsError
from wellread_hf.settings.fields import Share, Temperature, checked


@checked("imported")
class Imported:
    """Soft labels that are there already, in a table beside their texts."""

    source: str | None = None
    """Texts and their soft labels, as a source of `transfer` with `column=TEXT` or `column=A+B`: file, folder
    in Hub layout or Hub id. Its texts are the transfer set, unless another is named."""
    kind: Literal["probabilities", "logits", "top-k", "votes"] = "probabilities"
    """What the table holds: `probabilities`, `logits`, `top-k` (log-probabilities of some classes; the
    others share the rest) or `votes` (hard labels of several annotators, added up where a text comes again).
    Of a regression: its numbers."""
    columns: tuple[str, ...] = ()
    """A column a class in any order, or one column of dictionaries or lists (in CSV as JSON text); of votes
    also a column an annotator. Empty: those named after the classes (`p_pos`), or the only other one."""
    temperature: Temperature = 1.0
    """Logits are divided by it; above 1 it softens."""
    smoothing: Share = 0.0
    """This share of each row is spread evenly over the classes."""

    @model_validator(mode="after")
    def _has_a_source(self) -> "Imported":
        given = {
            "`imported.kind`": self.kind != "probabilities",
            "`imported.columns`": bool(self.columns),
            "`imported.temperature`": self.temperature != 1,
            "`imported.smoothing`": self.smoothing > 0,
        }
        alone = [name for name, is_given in given.items() if is_given and self.source is None]
        if alone:
            raise SettingsError(
                f"{', '.join(alone)}: expected the table of soft labels as well, got none; give "
                "`imported.source`"
            )
        if len(set(self.columns)) < len(self.columns):
            raise SettingsError(
                f"`imported.columns`: expected each column once, got {' '.join(self.columns)}"
            )
        return self
