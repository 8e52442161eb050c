"""Whether a dataclass holds what its annotations say: records are files, and files can say anything."""

from dataclasses import fields, is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def check_kinds(value: Any) -> None:
    """Checks the fields of a dataclass and of those inside it.

    Raises:
        TypeError: A field is of another type, or a number that is not finite.
    """
    for field, kind in get_type_hints(type(value)).items():
        if field in {known.name for known in fields(value)}:
            part = getattr(value, field)
            if not _is(part, kind):
                raise TypeError(f"{type(value).__name__}.{field} cannot be {part!r}")


def _is(value: Any, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is(value, choice) for choice in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is ...:
            return all(_is(part, arguments[0]) for part in value)
        return len(value) == len(arguments) and all(map(_is, value, arguments))
    if kind is NoneType:
        return value is None
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return False
    if is_dataclass(value):
        check_kinds(value)
    return True
