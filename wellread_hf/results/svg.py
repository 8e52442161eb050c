"""Charts inside a page: SVG in the page's own colours, light or dark, drawn without a script."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

# Pixels at the chart's own size; the page scales it to its column.
WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 16, 14, 46
# The marks of `students.LOOKS`, which are matplotlib's, as paths around the origin.
MARKS = {
    "o": "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",
    "s": "M-4,-4h8v8h-8z",
    "D": "M0,-5.5L5.5,0L0,5.5L-5.5,0z",
    "v": "M-5,-4h10L0,5z",
    "^": "M-5,4h10L0,-5z",
    "<": "M4,-5v10L-5,0z",
    "P": "M-2,-5h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
    "X": "M-5,-3l2,-2l3,3l3,-3l2,2l-3,3l3,3l-2,2l-3,-3l-3,3l-2,-2l3,-3z",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis: its name, its ends, and its ticks with what is written at them."""

    name: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    @classmethod
    def over(
        cls,
        name: str,
        values: Iterable[float],
        low: float | None = None,
        high: float | None = None,
        logarithmic: bool = False,
    ) -> "Axis":
        """Returns an axis that has room for the values, and ticks at round numbers.

        Args:
            name: What is written beside it.
            values: What it shows; above 0 where it is logarithmic.
            low: Its lower end, where the values do not decide.
            high: Its upper end.
            logarithmic: Equal ratios are equally long.
        """
        from matplotlib.ticker import MaxNLocator

        found = list(values) or [1.0]
        least, most = min(found), max(found)
        if logarithmic:
            least, most = least / 1.5, most * 1.8
            decades = [10.0**power for power in range(floor(log10(least)), ceil(log10(most)))]
            ticks = [part * decade for decade in decades for part in (1, 2, 5)]
            # More than two decades leave no room for the figures between them.
            ticks = ticks if most < 100 * least else [*decades, 10 * decades[-1]]
        else:
            margin = 0.08 * (most - least) or 1.0
            least = low if low is not None else least - margin
            most = high if high is not None else most + margin
            ticks = list(MaxNLocator(5).tick_values(least, most))
        shown = [(float(tick), f"{tick:g}") for tick in ticks if least <= tick <= most]
        return cls(name=name, low=least, high=most, ticks=shown, logarithmic=logarithmic)

    @classmethod
    def named(cls, name: str, names: Sequence[str]) -> "Axis":
        """Returns an axis with a place at 0, 1, ... for each name."""
        return cls(name=name, low=-0.5, high=len(names) - 0.5, ticks=list(enumerate(names)))

    def share(self, value: float) -> float:
        """Returns how far along the axis a value lies, 0 to 1."""
        if self.logarithmic:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a series."""

    x: float
    y: float
    low: float | None = None  # the ends of its error bar
    high: float | None = None
    name: str = ""  # shown by the pointer
    label: str = ""  # written beside it
    hollow: bool = False
    picked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one look."""

    name: str  # in the legend; empty: not there
    look: str  # one of `students.LOOKS`, or another class of the style sheet
    points: Sequence[Point]
    mark: str = ""  # one of `MARKS`; none draws the line alone
    line: Literal["", "solid", "dashed"] = ""

    @property
    def path(self) -> str:
        """The shape of its mark."""
        return MARKS[self.mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart, as `chart.svg.jinja` draws it."""

    title: str
    text: str  # what it shows, for those who cannot see it
    x: Axis
    y: Axis
    series: Sequence[Series]

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM

    def across(self, value: float) -> str:
        """Returns where a value of the horizontal axis lies, in pixels."""
        return f"{self.left + self.x.share(value) * (self.right - self.left):.1f}"

    def down(self, value: float) -> str:
        """Returns where a value of the vertical axis lies, in pixels from the top."""
        share = min(max(self.y.share(value), 0.0), 1.0)
        return f"{self.bottom - share * (self.bottom - self.top):.1f}"

    def line(self, series: Series) -> str:
        """Returns the points of a series' line."""
        return " ".join(f"{self.across(point.x)},{self.down(point.y)}" for point in series.points)
