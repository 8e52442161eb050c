"""The comparison of methods over seeds: a table, a bar chart, and the numbers behind both."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from wellread_hf.graph import Stage
from wellread_hf.records import commit, write_atomically

RESULTS, TABLE, CHART = "results.json", "table.md", "chart.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One method over several seeds.

    Attributes:
        method: The paper's name, e.g. `PD`.
        scores: The metric of each seed, in percent.
        seconds: Training seconds of each seed's last step (pre-training, teacher and labelling apart).
        mlm_losses: Held-out masked-LM loss in nats of each encoder it started from; empty for random ones.
        folders: Where each seed's model lies.
    """

    method: str
    scores: tuple[float, ...]
    seconds: tuple[float, ...]
    mlm_losses: tuple[float, ...]
    folders: tuple[str, ...]

    @property
    def score(self) -> str:
        """`mean ± standard deviation` (n - 1); the plain number for one seed."""
        if len(self.scores) == 1:
            return f"{self.scores[0]:.1f}"
        return f"{mean(self.scores):.1f} ± {stdev(self.scores):.1f}"


def report(
    title: str,
    methods: Mapping[str, Sequence[Stage]],
    teacher: Stage | None,
    metric: str,
    split: str,
    root: Path,
    notes: Mapping[str, str],
) -> Stage:
    """Builds the stage that compares finished runs.

    Args:
        title: What is compared, for the chart and the folder's name.
        methods: The runs of each method, one a seed.
        teacher: The teacher's run, shown as a line of its own.
        metric: Which metric.
        split: `test` or `validation`; shown with the scores.
        root: Folder of all stages.
        notes: Lines printed below the table: name to text.
    """
    runs = [run for stages in methods.values() for run in stages] + ([teacher] if teacher else [])

    def work(stage: Stage) -> Mapping[str, Any]:
        results = [_result(method, stages, metric, split) for method, stages in methods.items()]
        top = None if teacher is None else _result("Teacher", [teacher], metric, split)
        text = markdown(results, top, metric, split, notes)
        write_atomically(stage.folder / TABLE, text)
        _draw(results, top, title, metric, split, stage.folder / CHART)
        numbers = [asdict(result) for result in [*results, *([top] if top else [])]]
        write_atomically(stage.folder / RESULTS, json.dumps(numbers, indent=1))
        return {"metric": metric, "split": split, "results": numbers}

    return Stage(
        kind="report",
        name=title,
        root=root,
        identity={
            "methods": {method: [run.digest for run in stages] for method, stages in methods.items()},
            "teacher": None if teacher is None else teacher.digest,
            "metric": metric,
            "split": split,
            "notes": dict(notes),
        },
        after=runs,
        work=work,
        solo=True,
    )


def _result(method: str, stages: Sequence[Stage], metric: str, split: str) -> MethodResult:
    outcomes = [stage.record.outcome for stage in stages]
    encoders = [needed for stage in stages for needed in stage.after if needed.kind == "pretrain"]
    return MethodResult(
        method=method,
        scores=tuple(100 * outcome[split][metric] for outcome in outcomes),
        seconds=tuple(outcome["seconds_training"] for outcome in outcomes),
        mlm_losses=tuple(encoder.record.outcome["held_out_loss"] for encoder in encoders),
        folders=tuple(str(stage.folder) for stage in stages),
    )


def markdown(
    results: Sequence[MethodResult],
    teacher: MethodResult | None,
    metric: str,
    split: str,
    notes: Mapping[str, str],
) -> str:
    """Writes the table as Markdown; `split` and `metric` are in its head, notes below."""
    head = ["method", f"{metric} ({split}, %)", "seeds", "each seed", "MLM loss at start", "training s"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for result in [*results, *([teacher] if teacher else [])]:
        cells = [
            result.method,
            result.score,
            str(len(result.scores)),
            ", ".join(f"{score:.1f}" for score in result.scores),
            f"{mean(result.mlm_losses):.2f}" if result.mlm_losses else "random weights",
            f"{mean(result.seconds):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {name}: {text}" for name, text in notes.items())]
    return "\n".join(lines) + "\n"


def _draw(
    results: Sequence[MethodResult],
    teacher: MethodResult | None,
    title: str,
    metric: str,
    split: str,
    path: Path,
) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    means = [mean(result.scores) for result in results]
    spreads = [stdev(result.scores) if len(result.scores) > 1 else 0.0 for result in results]
    names = [result.method for result in results]
    axes.bar(names, means, yerr=spreads, capsize=5, color=mpl.colormaps["viridis"](0.4), width=0.6)
    for position, result in enumerate(results):
        axes.plot([position] * len(result.scores), result.scores, "o", color="black", markersize=3)
        axes.annotate(
            result.score,
            (position, max(result.scores) + max(spreads)),
            ha="center",
            va="bottom",
            textcoords="offset points",
            xytext=(0, 4),
        )
    if teacher is not None:
        axes.axhline(teacher.scores[0], color="gray", linestyle="--")
        axes.annotate(
            f"teacher {teacher.score}", (len(results) - 0.5, teacher.scores[0]), ha="right", va="bottom"
        )
    shown = [score for result in results for score in result.scores]
    lowest, highest = min(shown), max([*shown, *(teacher.scores if teacher else ())])
    room = max(2.0, 0.25 * (highest - lowest))
    axes.set_ylim(max(0.0, lowest - room), highest + room)
    axes.set_ylabel(f"{metric}, {split} (%); bars: mean, lines: ± 1 standard deviation, dots: seeds")
    axes.yaxis.label.set_size("small")
    axes.set_title(title)
    beside = path.with_name(path.name + ".part")
    figure.savefig(beside, format="png", dpi=150)
    commit(beside, path)
