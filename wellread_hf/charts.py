"""Pictures of results as PNG files: methods compared, losses over the steps."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from wellread_hf.errors import StoreError
from wellread_hf.records import StageRecord, commit

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
        axes.annotate(label, (position, top), ha="center", textcoords="offset points", xytext=(0, 4))
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
        StoreError: A folder is no finished stage, or one that trains nothing.
    """
    figure = _figure()
    axes = figure.subplots()
    for number, folder in enumerate(folders):
        record = StageRecord.read(folder)
        if not (folder / "log.json").is_file():
            raise StoreError(f"{folder} has no log.json: expected a stage that trains, got {record.kind}")
        log = json.loads((folder / "log.json").read_text())
        colour = f"C{number}"
        for key, name, style in (("loss", "training", "-"), ("eval_loss", "held out", "o")):
            entries = [entry for entry in log if key in entry]
            steps, losses = [entry["step"] for entry in entries], [entry[key] for entry in entries]
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


def _figure() -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, 4.2), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    beside = path.with_name(path.name + ".part")
    figure.savefig(beside, format="png", dpi=150)
    commit(beside, path)
