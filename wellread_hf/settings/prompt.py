"""How a language model is asked for a row's class: a template, a word for each class, examples."""

from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wellread_hf.errors import SettingsError
from wellread_hf.settings.fields import FEW, Seed, Whole, checked

Chat = Literal["auto", "yes", "no"]


@checked("prompt")
class Prompt:
    """What a language model is asked, and the words that it may answer with."""

    template: Path | None = None
    """File of a Jinja template: it sees a row's columns by name, `labels` (the words) and `examples`."""
    label_words: Annotated[tuple[str, ...], FEW] = ()
    """The word, or words, that stand for each class, in the task's order of classes."""
    shots: Annotated[Whole, Field(ge=0, le=1_000)] = 0
    """Labelled training rows shown as `examples`, the classes in turn."""
    seed: Seed = 0
    """Seed of the examples' draw and order."""
    calibrate: bool = False
    """Divide by what the model says of a text without content (contextual calibration, Zhao et al. 2021)."""
    chat: Chat = "auto"
    """Ask through the tokenizer's chat template: `yes`, `no`, or `auto`: where it has one."""
    # fp32 is what weights are loaded in everywhere else, and what a CPU is made for.
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the teacher's weights are loaded in."""

    @model_validator(mode="after")
    def _has_template_and_words(self) -> "Prompt":
        alone = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        if self.template is None and alone:
            raise SettingsError(
                f"`prompt.{alone[0]}`: expected a template as well, without which it has no effect, got "
                "none; name it with `prompt.template`"
            )
        if self.template is not None and not self.label_words:
            raise SettingsError(
                "`prompt.template`: expected a word for each class beside it, got none; give "
                "`prompt.label_words`, in the task's order of classes"
            )
        return self

    @model_validator(mode="after")
    def _words_are_words(self) -> "Prompt":
        if not all(word.strip() for word in self.label_words):
            raise SettingsError("`prompt.label_words`: expected a word for each class, got an empty one")
        if bad := [word for word in self.label_words if word != word.strip()]:
            raise SettingsError(
                f"`prompt.label_words`: expected words without spaces around them, got {bad[0]!r}; how a "
                "word is joined to its prompt is settled for all of them"
            )
        word, times = Counter(self.label_words).most_common(1)[0] if self.label_words else ("", 1)
        if times > 1:
            raise SettingsError(
                f"`prompt.label_words`: expected each class to have a word of its own, got {word!r} "
                f"{times} times"
            )
        return self
