"""The numbers that settings may have: bounds, checked where settings are made."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from wellread_hf.errors import SettingsError

# Values that a sequence of numbers may have.
_MOST_VALUES = 1_000


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a setting may have, from `least` to `most`, or `above` the one and `below` the other.

    Far ends are where a run can only be a mistake, or where memory or a number's type ends.
    """

    least: float
    most: float
    above: bool = False
    below: bool = False

    def check(self, option: str, value: float) -> None:
        """Refuses a number that is none of them.

        Raises:
            SettingsError: With the end that it misses.
        """
        if not abs(value) < math.inf:
            raise SettingsError(f"{option}: expected a finite number, got {value}; give one")
        if value < self.least or (self.above and value == self.least):
            word = "above" if self.above else "at least"
            raise SettingsError(f"{option} must be {word} {_shown(self.least)}, got {value}")
        if value > self.most or (self.below and value == self.most):
            word = "below" if self.below else "at most"
            raise SettingsError(f"{option} must be {word} {_shown(self.most)}, got {value}")


# What numpy's generators take.
SEED = Range(0, 2**32 - 1)
COUNT = Range(1, 1_000_000_000)
# Of a model that reads whole books; a model's own positions are looked at when it is loaded.
LENGTH = Range(8, 2**17)
RATE = Range(0, 1e30, above=True)
STEPS = Range(1, 100_000_000)
EPOCHS = Range(0, 10_000, above=True)
SEVERAL = Range(1, 1_000)
BATCH = Range(1, 2**16)
TEMPERATURE = Range(0, 1_000, above=True)
WEIGHT = Range(0, 1e6)
SHARE = Range(0, 1, below=True)
# Five special tokens and a word; an embedding of a million words takes 3 GB at the largest width.
VOCABULARY = Range(6, 1_000_000)


def check_numbers(settings: object, prefix: str = "", **ranges: Range) -> None:
    """Refuses settings whose numbers, by name, are out of range; None is no number, a tuple is several.

    Raises:
        SettingsError: With the option, `prefix` before its name.
    """
    for name, numbers in ranges.items():
        value, option = getattr(settings, name), f"`{prefix}{name}`"
        values = value if isinstance(value, tuple) else (value,)
        if len(values) > _MOST_VALUES:
            raise SettingsError(f"{option}: expected at most {_MOST_VALUES:,} values, got {len(values):,}")
        for each in values:
            if each is not None:
                numbers.check(option, each)


def check_once(option: str, values: Collection[Any], meaning: Callable[[Any], Any] = str) -> None:
    """Refuses no values at all, and two values of one meaning.

    Raises:
        SettingsError: With the option.
    """
    if not values or len(set(map(meaning, values))) < len(values):
        shown = " ".join(map(str, values)) or "nothing"
        raise SettingsError(f"{option}: expected one or more values, each once, got {shown}")


def _shown(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
