"""Pictures of results as PNG files: methods compared, losses over the steps, scores against sizes."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from wellread_hf.errors import SettingsError, StoreError, library_errors_as
from wellread_hf.store.records import StageRecord, commit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DARK = 0.4  # where on the colour map the bars' colour lies


def draw_methods(
    scores: dict[str, Sequence[float]],
    labels: Sequence[str],
    teacher: tuple[float, str] | None,
    title: str,
    axis: str,
    path: Path,
) -> None:
    """Draws a bar a method with its spread and its seeds.

    Args:
        scores: The seeds' scores in percent, by method.
        labels: What is written above each bar.
        teacher: The teacher's score, drawn as a line, and what is written there.
        title: Title of the chart.
        axis: Name of the score.
        path: The PNG.
    """
    import matplotlib as mpl

    figure = _figure()
    axes = figure.subplots()
    means = [mean(found) for found in scores.values()]
    spreads = [stdev(found) if len(found) > 1 else 0.0 for found in scores.values()]
    axes.bar(list(scores), means, yerr=spreads, capsize=5, color=mpl.colormaps["viridis"](_DARK), width=0.6)
    for position, (found, label) in enumerate(zip(scores.values(), labels, strict=True)):
        axes.plot([position] * len(found), found, "o", color="black", markersize=3)
        top = max(*found, means[position] + spreads[position])
        axes.annotate(
            label,
            (position, top),
            ha="center",
            textcoords="offset points",
            xytext=(0, 4),
            # The teacher's line may run behind it.
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    highest = max(score for found in scores.values() for score in found)
    if teacher is not None:
        score, label = teacher
        highest = max(highest, score)
        axes.axhline(score, color="gray", linestyle="--", zorder=0)
        axes.annotate(label, (-0.45, score), textcoords="offset points", xytext=(0, 4), color="dimgray")
    # Bars are read by their length, so they start at zero.
    axes.set_ylim(0, 1.2 * highest)
    axes.set_ylabel(axis)
    axes.set_title(f"{title}\nbars: mean, lines: ± 1 standard deviation, dots: seeds", fontsize="medium")
    _save(figure, path)


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
    figure = _figure()
    axes = figure.subplots()
    for number, folder in enumerate(folders):
        record = StageRecord.read(folder)
        if not (folder / "log.json").is_file():
            raise StoreError(f"{folder} has no log.json: expected a stage that trains, got {record.kind}")
        colour = f"C{number}"
        for key, name, style in (("loss", "training", "-"), ("eval_loss", "held out", "o")):
            steps, losses = _logged(folder / "log.json", key)
            axes.plot(
                steps,
                losses,
                style,
                color=colour,
                markersize=4,
                alpha=0.6 if key == "loss" else 1,
                label=f"{record.name}, {name}",
            )
        if "unigram_loss" in record.outcome:
            axes.axhline(
                record.outcome["unigram_loss"], color=colour, linestyle=":", label="word frequencies"
            )
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("loss (nats)")
    axes.legend()
    _save(figure, path)


def _logged(path: Path, key: str) -> tuple[list[float], list[float]]:
    """Returns the steps of a log that have a value, and the values."""
    with library_errors_as(StoreError, f"{path} cannot be read as the log of a training", "run it again"):
        entries = [dict(entry) for entry in json.loads(path.read_text())]
        found = [(float(entry["step"]), float(entry[key])) for entry in entries if key in entry]
        if not entries:
            raise StoreError(f"{path}: expected losses, found none; run the training again")
    return [step for step, _ in found], [value for _, value in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model's score in percent, with its standard deviation over seeds if there are several."""

    parameters: int
    score: float
    spread: float | None
    label: str


def draw_family(
    this: tuple[int, str],
    ours: Sequence[Point],
    release: Sequence[Point],
    axis: str,
    release_name: str,
) -> bytes:
    """Draws scores against parameters, with one model's size marked.

    Args:
        this: Parameters and name of the model that the picture is for.
        ours: Scores of that model, each with what it stands for.
        release: Published scores, drawn in another mark.
        axis: Name of the score.
        release_name: What the legend calls the published scores.

    Returns:
        A PNG, the same bytes for the same arguments.
    """
    figure = _figure()
    axes = figure.subplots()
    if release:
        sizes, heights = [point.parameters for point in release], [point.score for point in release]
        axes.plot(sizes, heights, "o--", color="gray", markerfacecolor="white", label=release_name)
        for point in release:
            axes.annotate(
                point.label,
                (point.parameters, point.score),
                textcoords="offset points",
                xytext=(3, -15),
                color="dimgray",
            )
    for number, point in enumerate(ours):
        axes.errorbar(
            # Side by side, so that none hides another.
            [point.parameters * 1.04 ** (number - (len(ours) - 1) / 2)],
            [point.score],
            yerr=None if point.spread is None else [point.spread],
            fmt="*Ds^vP"[number % 6],
            markersize=11 if number == 0 else 7,
            capsize=4,
            color=f"C{number}",
            label=point.label,
            zorder=3,
        )
    axes.axvline(this[0], color="C0", linestyle=":", zorder=0, label=f"{this[1]}: {this[0]:,} parameters")
    axes.set_xscale("log")
    # From the smallest of the 24 to the largest; a smaller vocabulary makes a smaller model.
    axes.set_xlim(min(3.5e6, 0.7 * this[0]), 1.5e8)
    axes.xaxis.set_major_formatter(lambda size, _: f"{size / 1e6:g}M")
    ticks = (1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8)
    axes.set_xticks([tick for tick in ticks if tick >= axes.get_xlim()[0]])
    axes.minorticks_off()
    # Room below for the labels; dots are read by their height, so the axis need not start at zero.
    axes.margins(y=0.2)
    axes.set_xlabel("parameters (logarithmic)")
    axes.set_ylabel(axis)
    axes.legend(fontsize="small")
    buffer = io.BytesIO()
    # Without the version of matplotlib, which would be part of the bytes.
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A mean score in percent with its standard deviation, at a number or at a named place on the axis."""

    place: float | str
    mean: float
    spread: float


def draw_lines(
    lines: Mapping[str, Sequence[Mark]],
    teacher: tuple[float, str] | None,
    title: str,
    axes_names: tuple[str, str],
    path: Path,
    logarithmic: bool = False,
    joined: bool = True,
) -> None:
    """Draws a line with error bars for each of several series.

    Args:
        lines: The marks of each series; either all at numbers or all at names.
        teacher: The teacher's score, drawn as a line, and what is written there.
        title: Title of the chart.
        axes_names: Names of the horizontal and of the vertical axis.
        path: The PNG.
        logarithmic: The horizontal axis is.
        joined: A series' marks are, which says that places have an order.
    """
    figure = _figure()
    axes = figure.subplots()
    names = list(dict.fromkeys(str(mark.place) for marks in lines.values() for mark in marks))
    named = any(isinstance(mark.place, str) for marks in lines.values() for mark in marks)
    for number, (name, marks) in enumerate(lines.items()):
        # Side by side, so that none hides another.
        aside = 0.08 * (number - (len(lines) - 1) / 2) if named else 0.0
        at = [names.index(str(mark.place)) + aside if named else float(mark.place) for mark in marks]
        axes.errorbar(
            at,
            [mark.mean for mark in marks],
            yerr=[mark.spread for mark in marks],
            fmt=f"{'osDv^P*'[number % 7]}{'-' if joined and len(marks) > 1 else ''}",
            markersize=5,
            capsize=3,
            linewidth=1,
            color=f"C{number % 10}",
            label=name,
        )
    if teacher is not None:
        axes.axhline(teacher[0], color="gray", linestyle="--", zorder=0, label=teacher[1])
    if named:
        long = max(map(len, names)) > 12
        axes.set_xticks(
            range(len(names)), names, rotation=20 if long else 0, ha="right" if long else "center"
        )
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel(axes_names[0])
    axes.set_ylabel(axes_names[1])
    axes.set_title(f"{title}\nmarks: mean, lines: ± 1 standard deviation over seeds", fontsize="medium")
    axes.legend(fontsize="small")
    _save(figure, path)


def _figure() -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, 4.2), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    beside = path.with_name(path.name + ".part")
    figure.savefig(beside, format="png", dpi=150)
    commit(beside, path)
