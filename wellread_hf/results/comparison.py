"""The comparison of methods over seeds: a table, a bar chart, and the numbers behind both."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from wellread_hf.data.toy.world import probe_accuracy
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.metrics.baselines import commonest, counts_of, doubt
from wellread_hf.metrics.scores import metric_at
from wellread_hf.results.charts import draw_methods
from wellread_hf.store.graph import Stage, in_order
from wellread_hf.store.records import write_atomically

if TYPE_CHECKING:
    from rich.console import Console

RESULTS, TABLE, CHART = "results.json", "table.md", "chart.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One method over several seeds.

    Attributes:
        method: The paper's name, e.g. `PD`.
        scores: The metric of each seed, in percent.
        seconds: Training seconds of each seed's last step (pre-training, teacher and labelling apart).
        start: Held-out masked-LM loss in nats of the encoders it started from (mean), `random weights`, or
            `not known` for encoders from elsewhere.
        folders: Where each seed's model lies.
    """

    method: str
    scores: tuple[float, ...]
    seconds: tuple[float, ...]
    start: str
    folders: tuple[str, ...]

    @property
    def score(self) -> str:
        """See `mean_and_spread`."""
        return mean_and_spread(self.scores)


def report(title: str, methods: Mapping[str, Sequence[Stage]], teacher: Stage | None, root: Path) -> Stage:
    """Builds the stage that compares finished runs on the task's first metric.

    Scores are of the labelled test set where there is one, else of the validation set; the table says
    which, and names the differences that lie within the spread over seeds. A toy world's table also tells how
    well word classes can be read off the word embeddings.

    Args:
        title: What is compared, for the chart and the folder's name.
        methods: The runs of each method, one a seed.
        teacher: The teacher's run, shown as a line of its own.
        root: Folder of all stages.
    """
    runs = [run for stages in methods.values() for run in stages] + ([teacher] if teacher else [])

    def work(stage: Stage) -> Mapping[str, Any]:
        outcome = runs[0].record.outcome
        split = "test" if "test" in outcome else "validation"
        metric = outcome["metric"]
        results = [_result(method, stages, metric, split) for method, stages in methods.items()]
        top = None if teacher is None else _result("Teacher", [teacher], metric, split)
        text = _markdown(results, top, f"{metric_at(metric)}, {split} (%)")
        counts = counts_of(outcome, split)
        notes = [*_share(counts, split), *_undecided(results), *_notes(runs)]
        text += "".join(f"\n- {note}" for note in notes) + "\n"
        write_atomically(stage.folder / TABLE, text)
        draw_methods(
            {result.method: result.scores for result in results},
            [result.score for result in results],
            None if top is None else (top.scores[0], f"teacher {top.score}"),
            title,
            f"{metric_at(metric)}, {split} (%)",
            stage.folder / CHART,
        )
        numbers = [asdict(result) for result in [*results, *([top] if top else [])]]
        write_atomically(stage.folder / RESULTS, json.dumps(numbers, indent=1))
        warnings = _doubts(results, metric, counts, split)
        return {"metric": metric, "split": split, "results": numbers} | warnings

    return Stage(
        kind="report",
        name=title.replace(" ", "-"),
        root=root,
        identity={
            "methods": {method: [run.digest for run in stages] for method, stages in methods.items()},
            "teacher": None if teacher is None else teacher.digest,
        },
        after=runs,
        work=work,
        solo=True,
    )


def show_report(settings: Any, stages: Sequence[Stage]) -> None:
    """Prints a finished report's table and where everything lies."""
    folder = stages[0].folder
    console = print_table(stages[0].name, (folder / TABLE).read_text())
    console.print("\nready for from_pretrained:", highlight=False)
    for result in json.loads((folder / RESULTS).read_text()):
        for model in result["folders"]:
            console.print(f"  {result['method']:12} {model}", highlight=False, soft_wrap=True)
    console.print(f"\nchart: {folder / CHART}\ntable: {folder / TABLE}", highlight=False, soft_wrap=True)


def print_table(title: str, text: str) -> "Console":
    """Prints a report's Markdown, a table and then a list; returns the console for what follows."""
    from rich.console import Console
    from rich.table import Table

    lines = text.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name)
    for row in rows[1:]:
        table.add_row(*row)
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table)
    for line in lines:
        if line.startswith("- "):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    return console


def _share(counts: Mapping[str, int], split: str) -> list[str]:
    found = commonest(counts)
    return (
        []
        if found is None
        else [f"the commonest class on {split}, {found[0][:40]!r}: {100 * found[1]:.1f} %"]
    )


def _doubts(
    results: Sequence[MethodResult], metric: str, counts: Mapping[str, int], split: str
) -> dict[str, list[str]]:
    """Warns in one sentence of the methods that are no better than one answer throughout."""
    means = {result.method: mean(result.scores) / 100 for result in results}
    poor = {name: score for name, score in means.items() if doubt({metric: score}, counts, "")}
    if not poor:
        return {}
    who = (
        f"of {', '.join(poor)} at best, on {split}," if len(poor) > 1 else f"of {next(iter(poor))} on {split}"
    )
    return {"warnings": [str(doubt({metric: max(poor.values())}, counts, who))]}


def _undecided(results: Sequence[MethodResult]) -> list[str]:
    """Names the pairs of methods whose means lie no further apart than their two spreads reach."""
    several = [result for result in results if len(result.scores) > 1]
    return [
        f"within the spread over seeds, so not decided: {one.method} {one.score} and {two.method} {two.score}"
        for one, two in combinations(several, 2)
        if abs(mean(one.scores) - mean(two.scores)) <= stdev(one.scores) + stdev(two.scores)
    ]


def _notes(runs: Sequence[Stage]) -> list[str]:
    """Says what the runs share: pre-training, labelling, and the word classes found in a toy world."""
    needed = in_order(runs)
    notes = []
    worlds = [stage.folder for stage in needed if stage.kind == "toyworld"]
    for stage in needed:
        outcome = stage.record.outcome
        if stage.kind == "pretrain":
            note = (
                f"MLM of {stage.name}: held-out loss {outcome['held_out_loss']:.2f} nats (word frequencies "
                f"alone: {outcome['unigram_loss']:.2f}) after {outcome['tokens']:,} tokens in "
                f"{outcome['seconds_training']:.0f} s"
            )
            probed = _probe(stage.folder, worlds[0]) if worlds else None
            if probed is not None:
                note += f"; word classes read off its embeddings: {100 * probed:.0f} %"
            notes.append(note)
        elif stage.kind == "label":
            metric = outcome["metric"]
            score = outcome["teacher_validation"][metric]
            notes.append(
                f"teacher over {outcome['rows']:,} rows, once: {stage.record.seconds:.0f} s; its own "
                f"{metric_at(metric)} on validation: {100 * score:.1f} %"
            )
    return notes


def _probe(model: Path, world: Path) -> float | None:
    """Reads word classes off a model's word embeddings; None where it has not the world's words."""
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer

    weights = load_file(model / "model.safetensors")
    words = weights["bert.embeddings.word_embeddings.weight"]
    lexicon = json.loads((world / "lexicon.json").read_text())
    vocabulary = AutoTokenizer.from_pretrained(model).get_vocab()
    if not lexicon.keys() <= vocabulary.keys():
        return None
    return probe_accuracy(words, vocabulary, lexicon)


def _result(method: str, stages: Sequence[Stage], metric: str, split: str) -> MethodResult:
    outcomes = [stage.record.outcome for stage in stages]
    losses = [outcome["mlm_loss_at_start"] for outcome in outcomes]
    start = "not known" if None in losses else f"{mean(losses):.2f}"
    if all(stage.record.settings["start"]["weights"] is None for stage in stages):
        start = "random weights"
    return MethodResult(
        method=method,
        scores=tuple(100 * outcome[split][metric] for outcome in outcomes),
        seconds=tuple(outcome["seconds_training"] for outcome in outcomes),
        start=start,
        folders=tuple(str(stage.folder) for stage in stages),
    )


def _markdown(results: Sequence[MethodResult], teacher: MethodResult | None, score: str) -> str:
    head = ["method", score, "seeds", "each seed", "MLM loss at start", "training s"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for result in [*results, *([teacher] if teacher else [])]:
        cells = [
            result.method,
            result.score,
            str(len(result.scores)),
            ", ".join(f"{score:.1f}" for score in result.scores),
            result.start,
            f"{mean(result.seconds):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
