"""Settings as options: their names on the command line and in errors, their values in YAML files."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar, get_args, get_type_hints

from tyro.conf import Positional

from wellread_hf.errors import UsageError, WellreadError, cause, nearest

Settings = TypeVar("Settings")

(_POSITIONAL,) = get_args(Positional[str])[1:]
# One name for one thing in all recipes: what it stands for, where a recipe has no option of that name.
_SHORT = {
    "task": ("task.name",),
    "weights": ("start.weights", "start", "source", "sources"),
    "student": ("start.student", "pretrain.student"),
    "teacher": ("distil.teacher",),
    "from": ("imported.source",),
    "endpoint": ("endpoint.url",),
    "tokenizer": ("corpus.tokenizer", "start.tokenizer"),
    "corpus": ("corpus.sources",),
    "language": ("corpus.language",),
    "transfer": ("transfer.sources",),
    "pool": ("transfer.sources",),
    "transfer.select": ("transfer.rows",),
    "epochs": ("tuning.epochs",),
    "class-weights": ("tuning.class-weights",),
    "steps": ("pretrain.steps",),
    "minutes": ("pretrain.minutes",),
    "learning-rate": ("tuning.optim.learning-rate", "optim.learning-rate"),
    "batch-size": ("tuning.optim.batch-size", "optim.batch-size"),
    "max-length": ("tuning.max-length",),
    "seed": ("tuning.seed",),
    "runs": ("running.runs",),
    "publish": ("publishing.namespace",),
    "prompt": ("prompt.template",),
    "label-words": ("prompt.label-words",),
}
# Names of the release before this one; they go with the next.
_RENAMED = {
    "start": "weights",
    "source": "weights",
    "sources": "weights",
    "transfer.rows": "transfer.select",
}


def short_name(name: str) -> str:
    """Returns the short name of an option, or the name itself."""
    return next((short for short, long in _SHORT.items() if name in long), name)


@dataclass(frozen=True, slots=True)
class Option:
    """A field of a recipe's settings, nested as they are.

    Attributes:
        name: As on the command line, e.g. `task.train-rows`.
        path: Attributes from the recipe's settings to it.
        value: Its value.
        help: The string below the field.
        positional: Whether it is also read from words that belong to no option (`tyro.conf.Positional`).
    """

    name: str
    path: tuple[str, ...]
    value: Any
    help: str
    positional: bool = False


def options_of(settings: Any, prefix: str = "", path: tuple[str, ...] = ()) -> Iterator[Option]:
    """Yields the options of settings, in order."""
    kind: Any = type(settings)
    hints, texts = get_type_hints(kind, include_extras=True), _help_of(kind)
    for each in fields(settings):
        value, inside = getattr(settings, each.name), (*path, each.name)
        name, notes = prefix + each.name.replace("_", "-"), get_args(hints[each.name])[1:]
        if is_dataclass(value):
            # tyro's name="": its options stand among those of the settings around it.
            merged = any(getattr(note, "name", None) == "" for note in notes)
            yield from options_of(value, prefix if merged else f"{name}.", inside)
        else:
            yield Option(name, inside, value, texts.get(each.name, ""), _POSITIONAL in notes)


@cache
def _help_of(kind: Any) -> Mapping[str, str]:
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        # Settings made where there is no file, by `runpy` for one, have no help strings to read.
        return {}
    body = ast.parse(dedent(source)).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(str(below.value.value).split())
        for field, below in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }


class Names:
    """Long and short names of a recipe's options, and what of them a user typed.

    Args:
        long: The names of all options.
    """

    def __init__(self, long: Sequence[str] = ()) -> None:
        self._long = list(long)
        self.typed: dict[str, str] = {}
        self.notes: list[str] = []

    def find(self, name: str) -> str | None:
        """Returns the option that a name stands for: itself, a short one's, or None."""
        name = name.replace("_", "-")
        # Several of a kind are not one of them.
        if name in self._long or name not in _SHORT or f"{name}s" in self._long:
            return name if name in self._long else None
        alike = [option for option in self._long if option.rpartition(".")[2] == name]
        listed = [option for option in _SHORT[name] if option in self._long]
        return next(iter(listed or (alike if len(alike) == 1 else [])), None)

    def expand(self, words: Sequence[str]) -> list[str]:
        """Returns a command line with the long names of options, and remembers how they were typed."""
        return [self._expanded(word) if word.startswith("--") else word for word in words]

    def _expanded(self, word: str) -> str:
        option, equals, value = word.partition("=")
        name = option.removeprefix("--").replace("_", "-")
        found = self.find(name)
        if found == name and name in _RENAMED and self.find(_RENAMED[name]) == name:
            new = f"--{_RENAMED[name]}"
            self.notes.append(f"note: {option} is called {new} now; the old name goes with the next release")
        key = found or name.removeprefix("no-")
        if self.typed.setdefault(key, option).replace("_", "-") != option.replace("_", "-"):
            raise UsageError(
                f"{self.typed[key]} and {option} are two names of one setting; expected one of them, got both"
            )
        # An unknown name passes on as it is: `words` answers it with the nearest option.
        return f"--{found}{equals}{value}" if found else word

    def shown(self, dotted: str) -> str:
        """Returns an option as help and errors show it: by its short name where it has one."""
        short = next((name for name in _SHORT if name != dotted and self.find(name) == dotted), dotted)
        return f"--{short}"

    def as_typed(self, message: str) -> str:
        """Returns a message with its options as they were typed, else by their short names."""
        option = r"(?<![\w-])--([a-z][\w.-]*)"
        return re.sub(option, lambda match: self.typed.get(match[1]) or self.shown(match[1]), message)

    def as_options(self, message: str) -> str:
        """Returns a message with the settings in its backticks as options of the command line.

        Settings do not know what they are a part of: `learning_rate` may be that of `pd.optim`.
        """

        def named(match: re.Match[str]) -> str:
            name = match[1].replace("_", "-")
            for known in (list(self.typed), self._long):
                ends = [name] if name in known else [each for each in known if each.endswith(f".{name}")]
                if len(ends) == 1:
                    return self.typed.get(ends[0]) or self.shown(ends[0])
            if short_name(name) in self._long:
                return f"--{short_name(name)}"
            # A library's own words stand in backticks, too.
            return f"--{name}" if "." in name or not self._long else match[0]

        return re.sub(r"`([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)`", named, message)


def changed(settings: Settings, values: Mapping[tuple[str, ...], Any]) -> Settings:
    """Returns settings with other values, by the paths of their fields."""
    # All values of one part at once: its cross-field rules must see them together.
    parts: dict[str, dict[tuple[str, ...], Any]] = {}
    for (head, *rest), value in values.items():
        parts.setdefault(head, {})[tuple(rest)] = value
    # `replace` makes the object anew, so pydantic checks the values and the rules across fields.
    return replace(
        settings,  # type: ignore[type-var]  # a dataclass
        **{
            head: inner[()] if () in inner else changed(getattr(settings, head), inner)
            for head, inner in parts.items()
        },
    )


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Reads a YAML file of names and values.

    Raises:
        UsageError: There is none, or it holds something else.
    """
    import yaml

    if not path.is_file():
        raise UsageError(f"expected a YAML file of settings, and there is no file {path}; check it")
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read as YAML ({cause(error)}); correct it") from error
    if not isinstance(read, dict):
        raise UsageError(f"{path}: expected names of settings and their values, got {read!r:.40}")
    return read


def with_file(settings: Settings, path: Path, names: Names, values: Mapping[str, Any]) -> Settings:
    """Returns settings with the values of a YAML file: nested names, long or short.

    Raises:
        UsageError: A name is not known, or a setting cannot have a value.
    """
    places = {option.name: option.path for option in options_of(settings)}
    found = {}
    for name, value in _leaves(values):
        option = names.find(name)
        if option is None:
            if any(each.startswith(f"{name}.") for each in places):
                raise UsageError(f"{path}: expected names and values below {name}, got {value!r:.40}")
            raise UsageError(f"{path}: there is no setting {name}; the nearest is {nearest(name, places, 1)}")
        # Without dashes: an error names it as a setting of the file, since nobody typed an option.
        names.typed.setdefault(option, option)
        found[places[option]] = value
    try:
        return changed(settings, found)
    except WellreadError as error:
        raise UsageError(f"{path}: {names.as_options(str(error))}") from error


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = prefix + str(key).replace("_", "-")
        # An empty mapping counts as a value: it is refused by name, where a walk into it would pass it over.
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def as_yaml(options: Sequence[Option]) -> str:
    """Writes options and their values as YAML, nested as their names are."""
    import yaml

    tree: dict[str, Any] = {}
    for option in options:
        *groups, leaf = option.name.replace("-", "_").split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[leaf] = _plain(option.value)
    # By default PyYAML sorts names, escapes umlauts and gives each item of a list a line.
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [*map(_plain, value)]
    # The safe dumper refuses paths.
    return str(value) if isinstance(value, Path) else value
