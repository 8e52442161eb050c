"""How settings are declared: a dataclass that checks itself, and named types for its fields.

A bound at the far end is where a run can only be a mistake, or where memory or a number's type ends.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, fields, is_dataclass
from functools import wraps
from operator import attrgetter
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
)
from pydantic.dataclasses import dataclass

from wellread_hf.errors import SettingsError, nearest
from wellread_hf.students import Student, parse_students

Class = TypeVar("Class")


def _no_truth(value: Any) -> Any:
    # Python counts `True` as 1, but `steps: true` in a YAML file is a mistake.
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {value}")
    return value


def _as_given(value: Any, read: Callable[[Any], Any]) -> Any:
    number = read(_no_truth(value))
    # A whole number stays one: digests of stored stages distinguish 1 from 1.0.
    return value if type(value) is int else number


Number = Annotated[float, AllowInfNan(False), WrapValidator(_as_given)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
# Upper bounds, here and below, lie where a run can only be a mistake.
Rate = Annotated[Number, Field(gt=0, le=1e30)]
Temperature = Annotated[Number, Field(gt=0, le=1_000)]
Weight = Annotated[Number, Field(ge=0, le=1e6)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Epochs = Annotated[Number, Field(gt=0, le=10_000)]

# At most a year.
Minutes = Annotated[Number, Field(gt=0, le=525_600)]

# What numpy's generators take.
Seed = Annotated[Whole, Field(ge=0, le=2**32 - 1)]
Count = Annotated[Whole, Field(ge=1, le=1_000_000_000)]
Several = Annotated[Whole, Field(ge=1, le=1_000)]
Steps = Annotated[Whole, Field(ge=1, le=100_000_000)]
Batch = Annotated[Whole, Field(ge=1, le=2**16)]
# 0 stands for all.
Threads = Annotated[Whole, Field(ge=0, le=1_024)]
# Milliseconds or megabytes that a student may take.
Limit = Annotated[Number, Field(gt=0, le=1e9)]
# Up to a model that reads whole books; a model's own positions are checked when it is loaded.
Length = Annotated[Whole, Field(ge=8, le=2**17)]
# Five special tokens and a word; an embedding of a million words takes 3 GB at the largest width.
Vocabulary = Annotated[Whole, Field(ge=6, le=1_000_000)]
# Far more than anyone lists; a longer one is a mistake of a script.
FEW = Field(max_length=1_000)


def _one_of_the_24(name: str) -> str:
    Student.parse(name)
    return name


StudentName = Annotated[str, AfterValidator(_one_of_the_24)]


def each_once(meaning: Callable[[Any], Any] = str, least: int = 1) -> AfterValidator:
    """Refuses two values of one meaning, and fewer than `least`."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not least <= len(set(map(meaning, values))) == len(values):
            given = " ".join(map(str, values)) or "nothing"
            raise ValueError(f"expected {'one or more ' * least}values, each once, got {given}")
        return values

    return AfterValidator(check)


# One of the 24 has several names, and `all`, `h=128` and `l=2` select several.
Selected = Annotated[tuple[str, ...], FEW, AfterValidator(parse_students)]
Students = Annotated[Selected, each_once(Student.parse)]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def checked(path: str = "") -> Callable[[type[Class]], type[Class]]:
    """Makes a class a frozen dataclass with slots that checks its fields' types and its validators.

    A wrong value raises `SettingsError`, which names the field.

    Args:
        path: Dotted path of the settings in those of a recipe, where it is the same in all of them.
    """
    # Otherwise a misspelt setting would be dropped silently.
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    def decorate(kind: type[Class]) -> type[Class]:
        made: Any = dataclass(frozen=True, slots=True, kw_only=True, config=config)(kind)
        # pydantic's own error lists types and addresses; ours is one sentence with the setting's name.
        check = made.__init__

        @wraps(check)
        def init(self: Any, *args: Any, **values: Any) -> None:
            try:
                check(self, *args, **values)
            except ValidationError as error:
                raise settings_error(error, made, path) from None

        made.__init__ = init
        return made  # type: ignore[no-any-return]  # pydantic's decorator returns the class it is given

    return decorate


_ENDS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text in UTF-8",
    "bool": "true or false",
    "tuple": "a list of values",
    "path": "a path",
}


def refuse_set(settings: Any, instead: Mapping[str, str], unset: Mapping[str, Any]) -> None:
    """Refuses fields that a recipe sets itself: what is given there would be dropped.

    Args:
        settings: A recipe's settings.
        instead: Paths of such fields, and what of the recipe's own they follow from.
        unset: What these fields have if nothing is given, by the last part of their path.

    Raises:
        SettingsError: One of them was given.
    """
    for path, setting in instead.items():
        value = attrgetter(path)(settings)
        if value != unset[path.rpartition(".")[2]]:
            raise SettingsError(f"`{path}` {value}: the recipe sets it, from its {setting}; leave it out")


def one_origin(settings: Any, reads: Mapping[str, Sequence[str]]) -> str:
    """Returns which of several settings that stand for one another is given; the first where none is.

    Args:
        settings: A recipe's settings.
        reads: By such a setting, the settings that have an effect with it: paths of fields, or of groups.

    Raises:
        SettingsError: Two are given, or a setting that has an effect with another one only.
    """
    given = [origin for origin in reads if attrgetter(origin)(settings)]
    if len(given) > 1:
        raise SettingsError(
            f"expected one of {', '.join(f'`{origin}`' for origin in reads)}, got "
            f"{' and '.join(f'`{origin}`' for origin in given)}; give one of them"
        )
    origin = given[0] if given else next(iter(reads))
    usual = dict(_leaves(type(settings)()))
    for path, value in _leaves(settings):
        known = {
            other for other, paths in reads.items() if any(f"{path}.".startswith(f"{p}.") for p in paths)
        }
        if known and origin not in known and path not in reads and value != usual[path]:
            if not given:
                needed = " or ".join(f"`{each}`" for each in sorted(known))
                raise SettingsError(
                    f"`{path}`: expected {needed} beside it, without which it has no effect, got none; "
                    "give both"
                )
            raise SettingsError(
                f"`{path}`: expected none with `{origin}`, where it has no effect, got {_words(value)}; "
                "leave it out"
            )
    return origin


def _leaves(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, value


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def settings_error(error: ValidationError, kind: Any, path: str = "") -> SettingsError:
    """Says in one sentence what pydantic found first: the field, what was expected, what came."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if isinstance(part, str)]
    name = ".".join([path, *place] if path else place)
    kind_of_error, value, context = first["type"], first["input"], first.get("ctx", {})
    if kind_of_error in _ENDS:
        (bound,) = context.values()
        return SettingsError(f"`{name}` must be {_ENDS[kind_of_error]} {_shown(bound)}, got {value}")
    match kind_of_error.split("_"):
        case ["value", "error"]:
            return SettingsError(f"`{name}`: {context['error']}")
        case ["unexpected", *_]:
            known = [each.name for each in fields(kind)]
            return SettingsError(
                f"`{name}`: there is no such setting; the nearest is {nearest(place[-1], known, 1)}"
            )
        case ["too", "long"]:
            most, value = f"at most {context['max_length']:,} values", f"{context['actual_length']:,}"
            return SettingsError(f"`{name}`: expected {most}, got {value}")
        case ["literal", "error"]:
            wanted = f"one of {context['expected']}"
        case ["finite", *_]:
            wanted = "a finite number"
        case [word, *_]:
            wanted = _EXPECTED.get(word, first["msg"])
    return SettingsError(f"`{name}`: expected {wanted}, got {value!r}")


def _shown(bound: float) -> str:
    return f"{bound:,.0f}" if bound == int(bound) and bound < 1e15 else f"{bound:g}"
