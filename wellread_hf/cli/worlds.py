"""Refuses settings that mix the embedded toy world, which a preset may have set, with real places."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError

_TOY = "toy:"
# What is read of a task's world; a local path may be of either.
_CORPUS = ("corpus.sources", "corpus.tokenizer")
_MODELS = ("teacher", "teachers", "distil.teacher", "weights", "start.weights", "deep", "mlm-plus")
_READ = (
    *_MODELS,
    *("transfer.sources", "transfer", "near", "far", "imported.source"),
    *_CORPUS,
)


def check_one_world(options: Mapping[str, Any]) -> None:
    """Refuses real models and text for a toy task, and those of the toy world for a real task.

    The toy world's words are invented, so a model that has read other text knows none of them.

    Args:
        options: A recipe's settings by the names of their options.

    Raises:
        SettingsError: Two settings are of two worlds.
    """
    home = "task.data" if "task.name" in options else "data"
    name, data = options.get("task.name"), options.get(home)
    toy_task = str(data).startswith(_TOY) or (name in ("toy", "toy-tags") and data is None)
    # Recipes without a task, such as pre-training, may read either world.
    if name is None and home not in options:
        return
    if str(data).partition("@")[0] == "toy:task" and name != "toy":
        raise SettingsError(
            f"`task.name` {name} has other rows than the toy task in `task.data` {data}, which a preset may "
            "have set; give `task.data`, or leave out the preset"
        )
    task = f"`task.name` {name}" if name is not None else f"`{home}` {data}"
    for setting, place in _places(options):
        if toy_task and _is_on_the_hub(place, setting in _MODELS):
            raise SettingsError(
                f"`{setting}` {place} is real and the task, {task}, is the toy world's; expected both of one "
                "world: give another task, or leave out one of the two"
            )
        # Rows in files here may be of the toy world, which a corpus of it would be read for.
        local = data is not None and not _is_on_the_hub(str(data)) and setting not in _CORPUS
        if not toy_task and place.startswith(_TOY) and not local:
            raise SettingsError(
                f"`{setting}` {place} is the toy world's and the task, {task}, is real; expected both of one "
                f"world: give `{setting}`, or leave out the preset"
            )


def _places(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns settings and places that a run reads: without pre-training it reads no corpus."""
    read = [name for name in _READ if name not in _CORPUS or options.get("weights") is None]
    found = []
    for name in read:
        value = options.get(name) or ()
        places = [value] if isinstance(value, str) else value
        found += [(name.replace("-", "_"), place) for place in places]
    return found


def _is_on_the_hub(place: str, is_model: bool = False) -> bool:
    # Without a source's options, a revision, and the task that a teacher is of.
    place = re.split("[,@]", place)[0].rpartition("=")[2]
    # Only old models have names without a namespace; `task`, a file's name and ./x are no ids.
    pattern = r"\w[\w.-]*(/[\w.{}-]+)?" if is_model else r"\w[\w.-]*/[\w.{}-]+"
    return re.fullmatch(pattern, place) is not None and not Path(place).exists()
