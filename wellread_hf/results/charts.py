"""Charts of results as PNG files: methods compared, losses over steps, scores against sizes.

All of them look as `figures` says; the paper's scores are hollow black marks.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from wellread_hf.errors import SettingsError
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.metrics.scores import metric_at
from wellread_hf.results.figures import (
    OTHERS,
    Mark,
    Series,
    draw_marks,
    draw_teacher,
    new_chart,
    png,
    save,
    styles_of,
)
from wellread_hf.results.losses import logged, trained
from wellread_hf.store.records import StageRecord
from wellread_hf.tasks import GLUE_SETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_METRICS = {
    "f1": "F1",
    "matthews_correlation": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "f1_micro": "micro-averaged F1",
    "f1_macro": "macro-averaged F1",
    "entity_f1": "F1 of entities",
}
_PANELS_A_ROW = 3
# Names longer than this would run into each other on the axis.
_LONGEST_NAME = 12


def metric_in_words(name: str) -> str:
    """Returns a metric's name as people write it, e.g. `F1`."""
    return _METRICS.get(name) or metric_at(name)


def score_axis(metric: str, split: str) -> str:
    """Names an axis of scores, e.g. `F1 on validation rows (%)`."""
    return f"{metric_in_words(metric)} on {split} rows (%)"


def task_in_words(name: str) -> str:
    """Returns a task's title."""
    return GLUE_SETS[name].title if name in GLUE_SETS else f"the {name} task"


def draw_methods(
    scores: Mapping[str, Sequence[float]], teacher: float | None, title: str, axis: str, path: Path
) -> None:
    """Draws a bar a method, the mean of its seeds in percent with their spread, and a dot a seed."""
    figure, axes = new_chart(f"{title}\nbars: mean, lines: ± 1 standard deviation, dots: seeds")
    for place, (method, style) in enumerate(styles_of(scores).items()):
        found, mark = scores[method], Mark.of(place, scores[method])
        spread = mark.spread or 0.0
        axes.bar(place, mark.mean, yerr=spread, capsize=5, color=style["color"], width=0.6)
        axes.plot([place] * len(found), found, "o", color="black", markersize=3)
        axes.annotate(
            mean_and_spread(found),
            (place, max(*found, mark.mean + spread)),
            ha="center",
            textcoords="offset points",
            xytext=(0, 4),
            # The teacher's line may run behind it.
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.set_xticks(range(len(scores)), list(scores))
    # Bars are read by their length, so they start at zero.
    # The share above the highest bar is room for its figure.
    axes.set_ylim(0, 1.15 * max([teacher or 0.0, *(score for found in scores.values() for score in found)]))
    draw_teacher(axes, teacher)
    axes.set_ylabel(axis)
    save(figure, path)


def draw_lines(
    series: Series,
    teacher: float | None,
    title: str,
    axes_names: tuple[str, str],
    path: Path,
    logarithmic: bool = False,
) -> None:
    """Draws a line with error bars for each of several series.

    Args:
        series: Their marks; either all at numbers or all at names.
        teacher: The teacher's score in percent, drawn as a line.
        title: Title of the chart.
        axes_names: Names of the horizontal and of the vertical axis.
        path: The PNG.
        logarithmic: The horizontal axis is.
    """
    figure, axes = new_chart(f"{title}\nmarks: means over seeds, bars: ± 1 standard deviation")
    names = list(dict.fromkeys(str(mark.place) for marks in series.values() for mark in marks))
    named = any(isinstance(mark.place, str) for marks in series.values() for mark in marks)
    for number, (label, style) in enumerate(styles_of(series).items()):
        # Side by side, so that none hides another.
        aside = 0.08 * (number - (len(series) - 1) / 2)
        at = [names.index(str(mark.place)) + aside if named else float(mark.place) for mark in series[label]]
        draw_marks(axes, at, series[label], label, style)
    draw_teacher(axes, teacher)
    if named:
        axes.set_xticks(range(len(names)), names)
        if max(map(len, names)) > _LONGEST_NAME:
            for text in axes.get_xticklabels():
                text.set(rotation=20, ha="right")
        # At least half a place to either side, so that a single place is no axis of its own.
        axes.set_xlim(-0.5, len(names) - 0.5)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(axes_names[0])
    axes.set_ylabel(axes_names[1])
    save(figure, path)


def draw_losses(folders: Sequence[Path], path: Path) -> None:
    """Draws the losses of finished training stages over their steps, from each one's `log.json`.

    Args:
        folders: The stages' folders.
        path: The PNG.

    Raises:
        SettingsError: No folder is given.
        StoreError: A folder is no finished stage, or one that trains nothing.
    """
    if not folders:
        raise SettingsError("expected folders of finished training stages, got none; give runs/pretrain-...")
    figure, axes = new_chart("Losses of training: lines on training rows, marks on held-out rows")
    records = {
        f"{_learnt_by(record)}{folder.name}": (folder, record)
        for folder, record in ((folder, trained(folder)) for folder in folders)
    }
    for label, style in styles_of(records).items():
        folder, record = records[label]
        steps, losses = logged(folder, "loss")
        axes.plot(steps, losses, style["linestyle"], color=style["color"], alpha=0.6, label=label)
        style |= {"linestyle": "none", "markersize": 4}
        axes.plot(*logged(folder, "eval_loss"), **style)
        if "unigram_loss" in record.outcome:
            frequencies = f"{label}: word frequencies alone"
            axes.axhline(
                record.outcome["unigram_loss"], color=style["color"], linestyle=":", label=frequencies
            )
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("loss (nats)")
    save(figure, path)


def _learnt_by(record: StageRecord) -> str:
    """Names the method that a training is the last step of; nothing for pre-training."""
    if record.kind not in ("distill", "finetune"):
        return ""
    random = record.settings["start"]["weights"] is None
    if record.kind == "distill":
        return "Distillation, " if random else "PD, "
    if any(name.startswith("distill-") for name in record.inputs):
        return "PD-F, "
    return "Basic, " if random else "PF, "


def draw_family(this: tuple[int, str], ours: Series, release: Series, axis: str) -> bytes:
    """Draws scores against parameters, with one model's size marked; returns a PNG.

    Args:
        this: Parameters and name of the model that the picture is for.
        ours: Scores of that model.
        release: Published scores.
        axis: Name of the score.
    """
    figure, axes = new_chart("")
    _draw_sizes(axes, ours, release, this[0])
    axes.axvline(this[0], color="gray", linestyle=":", zorder=0, label=f"{this[1]}: {this[0]:,} parameters")
    # Room for the names; dots are read by their height, so the axis need not start at zero.
    axes.margins(y=0.2)
    axes.set_xlabel("parameters (logarithmic)")
    axes.set_ylabel(axis)
    return png(figure)


def draw_panels(panels: Mapping[str, tuple[Series, Series]]) -> bytes:
    """Draws scores against parameters, a panel a task; returns a PNG.

    Args:
        panels: Our scores and the paper's by title; at least one panel.
    """
    from matplotlib.figure import Figure

    columns = min(_PANELS_A_ROW, len(panels))
    lines = ceil(len(panels) / columns)
    figure = Figure(figsize=(4.0 * columns + 1.0, 3.0 * lines + 1.6), layout="constrained")
    every = list(figure.subplots(lines, columns, squeeze=False).flat)
    for (title, (ours, paper)), axes in zip(panels.items(), every, strict=False):
        _draw_sizes(axes, ours, paper)
        axes.set_title(title, fontsize="medium")
        axes.margins(y=0.1)
    # The grid of panels may have more places than there are tasks.
    for axes in every[len(panels) :]:
        axes.remove()
    figure.supxlabel("parameters (logarithmic)", fontsize="medium")
    figure.supylabel("score (%)", fontsize="medium")
    # Below, it would lie on the name of the axis.
    return png(figure, legend_above=True)


def draw_reliability(
    temperature: float,
    errors: tuple[float, float],
    bins: Sequence[Sequence[tuple[float, float, int]]],
) -> bytes:
    """Draws how often decisions of a confidence are right, before and after a temperature; returns a PNG.

    Args:
        temperature: What logits are divided by.
        errors: Expected calibration error before and after, 0 to 1.
        bins: Confidence, share of right decisions and their number, of each bin, before and after.
    """
    figure, axes = new_chart("Reliability on validation rows: the larger a mark, the more decisions")
    drawn = zip(("before", "after"), errors, bins, OTHERS[:2], strict=True)
    for when, error, found, (colour, mark) in drawn:
        confidence, accuracy, decisions = zip(*found, strict=True)
        axes.scatter(
            confidence,
            accuracy,
            # A bin of few decisions is mostly chance.
            s=[20 + 400 * count / sum(decisions) for count in decisions],
            color=colour,
            marker=mark,
            alpha=0.7,
            label=f"{when}: ECE {100 * error:.1f} %",
        )
        axes.plot(confidence, accuracy, color=colour, linewidth=1)
    axes.axline((1, 1), slope=1, color="gray", linestyle="--", zorder=0)
    axes.set_xlabel(f"confidence (after: temperature {temperature:.2f} of other rows)")
    axes.set_ylabel("share of right decisions")
    return png(figure)


def _draw_sizes(axes: "Axes", ours: Series, paper: Series, smallest: float = 4e6) -> None:
    """Draws scores at their models' parameters; the line of a series goes through its best ones."""
    for number, (label, style) in enumerate(styles_of(ours).items()):
        # Side by side, so that none hides another.
        beside = 1.04 ** (number - (len(ours) - 1) / 2)
        at = [beside * float(mark.place) for mark in ours[label]]
        draw_marks(axes, at, ours[label], label, style | {"linestyle": "none"})
        best: dict[float, float] = {}
        for place, mark in zip(at, ours[label], strict=True):
            best[place] = max(mark.mean, best.get(place, mark.mean))
        axes.plot(list(best), list(best.values()), color=style["color"], linewidth=1, alpha=0.6)
    for label, style in styles_of(paper).items():
        marks = paper[label]
        axes.plot(
            [float(mark.place) for mark in marks],
            [mark.mean for mark in marks],
            marker=style["marker"],
            linestyle="none",
            color="black",
            markerfacecolor="none",
            # Around ours, so that none hides another.
            markersize=8,
            zorder=3,
            label=label,
        )
        for mark in marks:
            axes.annotate(
                mark.name, (float(mark.place), mark.mean), textcoords="offset points", xytext=(5, -14),
                color="dimgray",
            )  # fmt: skip
    axes.set_xscale("log")
    # From the smallest of the 24 to the largest; a smaller vocabulary makes a smaller model.
    axes.set_xlim(min(3.5e6, 0.7 * smallest), 1.5e8)
    axes.xaxis.set_major_formatter(lambda size, _: f"{size / 1e6:g}M")
    axes.set_xticks([tick for tick in (1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8) if tick >= axes.get_xlim()[0]])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
