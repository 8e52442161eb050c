"""Scores against parameters, a panel a task, the paper's points beside ours."""

import io
from collections.abc import Sequence
from math import ceil
from statistics import mean, stdev
from typing import TYPE_CHECKING

from wellread_hf.paper import published_test
from wellread_hf.results.scores.rows import Row
from wellread_hf.students import METHOD_TITLES
from wellread_hf.tasks import GLUE_SETS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
# Colour and mark of a method; the paper's points have the mark, hollow and black.
_LOOK = {"basic": ("C2", "v"), "distillation": ("C3", "^"), "pf": ("C0", "o"), "pd": ("C1", "s")}
_TICKS = (5e6, 1e7, 2e7, 5e7, 1e8)


def draw_scores(rows: Sequence[Row]) -> bytes:
    """Draws what `figure_of` does; returns a PNG, the same bytes for the same rows."""
    buffer = io.BytesIO()
    # Without the version of matplotlib, which would be part of the bytes.
    figure_of(rows).savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def figure_of(rows: Sequence[Row]) -> "Figure":
    """Draws each set's first metric on dev against the students' parameters.

    Where one student has several results by a method, the line goes through the best one. The paper's
    points are test scores: those of the release (PF), and PF and PD of Table 3.

    Args:
        rows: At least one.
    """
    from matplotlib.figure import Figure

    firsts = [row for row in rows if row.metric == GLUE_SETS[row.set].metrics[0]]
    sets = [name for name in GLUE_SETS if any(row.set == name for row in firsts)]
    columns = min(_COLUMNS, len(sets))
    lines = ceil(len(sets) / columns)
    figure = Figure(figsize=(4.0 * columns + 1.0, 3.0 * lines + 1.2), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flat
    handles: dict[str, Artist] = {}
    for name, axes in zip(sets, panels, strict=False):
        _draw_set(axes, name, [row for row in firsts if row.set == name])
        found, labels = axes.get_legend_handles_labels()
        handles |= {label: handle for handle, label in zip(found, labels, strict=True)}
    for axes in list(panels):
        axes.remove()
    figure.supxlabel("parameters (logarithmic)", fontsize="medium")
    figure.supylabel("score (%): ours on dev, the paper's on test", fontsize="medium")
    ours_first = sorted(handles, key=lambda label: "test" in label)
    figure.legend(
        [handles[label] for label in ours_first],
        ours_first,
        loc="outside upper center",
        ncols=min(2, columns),
        fontsize="small",
    )
    return figure


def _draw_set(axes: "Axes", name: str, rows: Sequence[Row]) -> None:
    for method, (colour, mark) in _LOOK.items():
        theirs = published_test(method, name)
        if theirs:
            axes.plot(
                [student.parameters() for student in theirs],
                list(theirs.values()),
                mark,
                color="black",
                markerfacecolor="none",
                # Square around circle, and both around ours, so that none hides another.
                markersize=7 if method == "pf" else 9,
                zorder=3,
                label=f"{METHOD_TITLES[method]}, Turc et al. 2019, test",
            )
        ours = sorted((row for row in rows if row.method == method), key=lambda row: row.student.parameters())
        if not ours:
            continue
        axes.errorbar(
            [row.student.parameters() for row in ours],
            [mean(row.values) for row in ours],
            yerr=[stdev(row.values) if len(row.values) > 1 else 0.0 for row in ours],
            fmt=mark,
            color=colour,
            markersize=5,
            capsize=3,
            label=f"{METHOD_TITLES[method]}, ours, dev (± 1 std of seeds)",
        )
        best: dict[int, float] = {}
        for row in ours:
            size = row.student.parameters()
            best[size] = max(mean(row.values), best.get(size, mean(row.values)))
        axes.plot(list(best), list(best.values()), color=colour, linewidth=1, alpha=0.6)
    rows_of = GLUE_SETS[name]
    axes.set_title(f"{rows_of.title}: {rows_of.metrics[0].replace('_', ' ')} (%)", fontsize="medium")
    axes.set_xscale("log")
    axes.set_xlim(3.5e6, 1.4e8)  # from the smallest of the 24 to the largest
    axes.xaxis.set_major_formatter(lambda size, _: f"{size / 1e6:g}M")
    axes.set_xticks(_TICKS)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.margins(y=0.1)
