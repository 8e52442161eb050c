"""What all charts share: marks, the look of each series, one legend, PNG files of the same bytes.

A method has its one look (`students.LOOKS`), a teacher is a dashed grey line, and legends lie outside the
axes, where they hide nothing.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from wellread_hf.store.records import write_atomically
from wellread_hf.students import LOOKS, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# For what is no method, e.g. ways to initialise one: Tol's muted colours, which no method has.
OTHERS = (
    ("#332288", "o"), ("#882255", "s"), ("#44aa99", "D"),
    ("#999933", "v"), ("#aa4499", "^"), ("#88ccee", "P"),
)  # fmt: skip
# Lines of one method differ in stroke and in filled or hollow marks.
_STROKES = ("-", "--", "-.", ":")
# Inches of a legend's entry at the small font: a line with its gaps, and a character.
_HANDLE, _CHARACTER = 0.6, 0.068


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A mean score in percent."""

    place: float | str  # along the axis
    mean: float
    spread: float | None = None  # standard deviation over seeds; None where there is one seed
    name: str = ""  # what is written beside it

    @classmethod
    def of(cls, place: float | str, values: Sequence[float]) -> "Mark":
        """The mark of several seeds' scores."""
        return cls(place=place, mean=mean(values), spread=stdev(values) if len(values) > 1 else None)


# Marks of each series by its label, which begins with the method's title where it is one, e.g. `PD, 2-128`.
Series = Mapping[str, Sequence[Mark]]


def styles_of(labels: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns colour, mark and stroke of each label: its method's look, or one that no method has."""
    methods = {look.title: look for look in LOOKS.values()}
    others, before = cycle(Look("", *other) for other in OTHERS), Counter[str]()
    styles = {}
    for label in labels:
        method = label.partition(",")[0]
        look = methods[method] if method in methods else next(others)
        variant = before[look.colour]
        before[look.colour] += 1
        styles[label] = {
            "color": look.colour,
            "marker": look.mark,
            "linestyle": _STROKES[variant % len(_STROKES)],
            "markerfacecolor": "white" if variant % 2 else look.colour,
        }
    return styles


def draw_marks(
    axes: "Axes", at: Sequence[float], marks: Sequence[Mark], label: str, style: Mapping[str, Any]
) -> None:
    """Draws the marks of a series at their places, with the spread over seeds as error bars."""
    axes.errorbar(
        at,
        [mark.mean for mark in marks],
        yerr=[mark.spread or 0.0 for mark in marks],
        markersize=5,
        capsize=3,
        linewidth=1,
        label=label,
        **style,
    )


def draw_teacher(axes: "Axes", score: float | None) -> None:
    """Draws a teacher's score in percent as a line; None: there is no teacher."""
    if score is not None:
        axes.axhline(score, color="gray", linestyle="--", zorder=0, label=f"teacher: {score:.1f}")


def new_chart(title: str) -> tuple["Figure", "Axes"]:
    """Returns a figure with one pair of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize="medium")
    return figure, axes


def save(figure: "Figure", path: Path) -> None:
    """Writes the PNG of a figure, whole or not at all."""
    write_atomically(path, png(figure))


def png(figure: "Figure", legend_above: bool = False) -> bytes:
    """Adds a legend for all axes, each label once; returns a PNG, the same bytes for the same figure."""
    found = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    # Marks with error bars are ours; lines, and the paper's marks, come after them.
    labels = sorted(found, key=lambda label: hasattr(found[label], "get_linestyle"))
    if labels:
        entry = _HANDLE + _CHARACTER * max(map(len, labels))
        figure.legend(
            [found[label] for label in labels],
            labels,
            loc="outside upper center" if legend_above else "outside lower center",
            ncols=max(1, min(3, int(figure.get_figwidth() / entry))),
            fontsize="small",
        )
    buffer = io.BytesIO()
    # Without the version of matplotlib, which would be part of the bytes.
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
