"""Refuses settings that mix the embedded toy world, which a preset may have set, with real places."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError

_TOY = "toy:"
# What is read of a task's world; a local path may be of either.
_READ = ("teacher", "teachers", "weights", "start.weights", "corpus.sources")


def check_one_world(options: Mapping[str, Any]) -> None:
    """Refuses a real teacher, weights or corpus for a toy task, and a toy corpus for a real task.

    The toy world's words are invented, so a model that has read other text knows none of them.

    Args:
        options: A recipe's settings by the names of their options.

    Raises:
        SettingsError: Two settings are of two worlds.
    """
    home = "task.data" if "task.name" in options else "data"
    name, data = options.get("task.name"), options.get(home)
    toy_task = str(data).startswith(_TOY) or (name == "toy" and data is None)
    if name is None and home not in options:
        return
    if data == "toy:task" and name != "toy":
        raise SettingsError(
            f"`task.name` {name} has other rows than the toy task in `task.data` {data}, which a preset may "
            "have set; give `task.data`, or leave out the preset"
        )
    task = f"`task.name` {name}" if name is not None else f"`{home}` {data}"
    for setting, place in _places(options):
        if toy_task and _is_on_the_hub(place):
            raise SettingsError(
                f"`{setting}` {place} is real and the task, {task}, is the toy world's; expected both of one "
                "world: give another task, or leave out one of the two"
            )
        if not toy_task and setting == "corpus.sources" and place.startswith(_TOY):
            raise SettingsError(
                f"`{setting}` {place} is the toy world's and the task, {task}, is real; expected both of one "
                f"world: give `{setting}`, or leave out the preset"
            )


def _places(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns settings and places that a run reads: without pre-training it reads no corpus."""
    read = [name for name in _READ if name != "corpus.sources" or options.get("weights") is None]
    found = []
    for name in read:
        value = options.get(name) or ()
        places = [value] if isinstance(value, str) else value
        found += [(name.replace("-", "_"), place) for place in places]
    return found


def _is_on_the_hub(place: str) -> bool:
    # Without a source's options, a revision, and the task that a teacher is of.
    place = re.split("[,@]", place)[0].rpartition("=")[2]
    return re.fullmatch(r"[\w.-]+/[\w.{}-]+", place) is not None and not Path(place).exists()
