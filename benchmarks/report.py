"""The table, the file and the picture of the figures."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from wellread_hf.results.tables import Table
from wellread_hf.store.records import commit, write_atomically

RESULTS = "results.json"
PICTURE = "results.png"
_PACKAGES = ("wellread-hf", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")


def circumstances(rounds: int, command: str) -> dict[str, Any]:
    """Returns when, on what and with what a benchmark ran."""
    import torch

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "device": f"{_processor()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "rounds": rounds,
        "command": command,
    }


def merge(folder: Path, name: str, figures: Sequence[Figure], circumstances: dict[str, Any]) -> None:
    """Writes a benchmark's figures into `results.json`; those of the others stay."""
    kept = _read(folder)
    kept[name] = circumstances | {"figures": [figure.to_json() for figure in figures]}
    write_atomically(folder / RESULTS, json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


def kept_figures(folder: Path) -> list[Figure]:
    """Reads the figures of `results.json`."""
    return [
        Figure.from_json(fields) for benchmark in _read(folder).values() for fields in benchmark["figures"]
    ]


def print_table(figures: Sequence[Figure]) -> None:
    """Prints a line a figure."""
    rows = []
    for figure in figures:
        verdict = {None: "", True: " ✓", False: " ✗"}[figure.reached]
        cells = [
            figure.benchmark,
            figure.case,
            f"{figure.ours}: {_middle(figure.ours_values)}",
            f"{figure.theirs}: {_middle(figure.theirs_values)}",
            figure.unit,
            f"{_spread(figure)}{verdict}",
            None if figure.target is None else f"{figure.target:g}",
            figure.same,
        ]
        rows.append(cells)
    notes = [f"{figure.benchmark}, {figure.case}: {figure.note}" for figure in figures if figure.note]
    head = ["benchmark", "case", "ours", "theirs", "unit", "ratio", "target", "same"]
    Table(head, rows, notes).show("how many times better ours is: median (minimum to maximum)")


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Draws a bar a figure, with its range, on one logarithmic axis."""
    from matplotlib.figure import Figure as Picture
    from matplotlib.ticker import NullLocator

    picture = Picture(figsize=(7.5, 1.2 + 0.27 * len(figures)), layout="constrained")
    axes = picture.subplots()
    for place, figure in enumerate(figures):
        axes.plot([1, figure.median], [place, place], color="C0", linewidth=5, alpha=0.4, zorder=1)
        axes.plot([figure.minimum, figure.maximum], [place, place], color="black", linewidth=1)
        axes.plot(figure.median, place, "o", color="C0", markersize=5)
    axes.axvline(1, color="gray", linewidth=1, zorder=0)
    axes.set_yticks(
        range(len(figures)), [f"{figure.benchmark} {figure.case}" for figure in figures], fontsize=7
    )
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([digit * 10.0**power for power in (-1, 0, 1) for digit in (1, 2, 5)], minor=False)
    axes.set_xlim(0.15, 1.3 * max(2.0, *(figure.maximum for figure in figures)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}×")
    axes.set_xlabel("how many times better ours is\ndot: median, thin line: range")
    beside = path.with_name(path.name + ".part")
    picture.savefig(beside, format="png", dpi=150)
    commit(beside, path)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RESULTS
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _spread(figure: Figure) -> str:
    return f"{figure.median:.3g} ({figure.minimum:.3g} to {figure.maximum:.3g})"


def _middle(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle = sorted(values)[len(values) // 2]
    return f"{middle:,.0f}" if abs(middle) >= 100 else f"{middle:.3g}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
