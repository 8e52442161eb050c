"""GLUE task by task: dev scores of every seed, their mean and spread, and the average of what is there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from wellread_hf.metrics.average import average, mean_and_spread
from wellread_hf.metrics.baselines import commonest, counts_of, doubt
from wellread_hf.results.tables import RESULTS, TABLE, Table
from wellread_hf.results.typed import typed_command
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage
from wellread_hf.tasks import GLUE_SETS


def scoreboard(
    title: str, runs: Mapping[str, Sequence[Stage]], about: Mapping[str, Any], checks: Stage, root: Path
) -> Stage:
    """Builds the stage that gathers finished predictions of GLUE's tasks.

    Writes `table.md` and `results.json`: `about` as given; `split`, always dev; `scores` in percent by set
    and metric, one a seed; `average` with its name and one value a seed; `runs`, the folders' names by task.

    Args:
        title: What is scored, for the folder's name.
        runs: `predict` stages by task, one a seed, the same seeds in each.
        about: What is recorded beside the scores: student, method, seeds, where a task started.
        checks: The stage that must be finished before any training starts.
        root: Folder of all stages.
    """
    stages = [run for of in runs.values() for run in of]

    def work(stage: Stage) -> Mapping[str, Any]:
        seeds = [_seed(of) for of in zip(*runs.values(), strict=True)]
        scores = {
            name: {metric: [100 * seed[name][metric] for seed in seeds] for metric in GLUE_SETS[name].metrics}
            for name in GLUE_SETS
            if name in seeds[0]
        }
        counts = _counts(runs)
        averages = [average(seed) for seed in seeds]
        results = {
            **about,
            # GLUE's test labels are not published.
            "split": "dev",
            "scores": scores,
            "commonest": {name: 100 * found[1] for name, of in counts.items() if (found := commonest(of))},
            "average": {
                "name": averages[0].name("dev"),
                "complete": averages[0].complete,
                "values": [100 * found.value for found in averages],
            },
            # Names alone, so that the folder of all runs can be moved.
            "runs": {task: [run.folder.name for run in of] for task, of in runs.items()},
        }
        write_atomically(stage.folder / TABLE, _table(results).markdown)
        write_atomically(stage.folder / RESULTS, json.dumps(results, indent=1))
        means = {name: {key: mean(of) / 100 for key, of in found.items()} for name, found in scores.items()}
        warnings = [
            doubt(found, counts.get(name, {}), f"on dev of {GLUE_SETS[name].title}")
            for name, found in means.items()
        ]
        return {**results, "warnings": [sentence for sentence in warnings if sentence is not None]}

    return Stage(
        kind="glue",
        name=title,
        root=root,
        identity={
            "runs": {task: [run.digest for run in of] for task, of in runs.items()},
            "about": dict(about),
        },
        inputs=[checks, *stages],
        work=work,
        solo=True,
    )


def show_scoreboard(settings: Any, stages: Sequence[Stage]) -> None:
    """Prints a finished scoreboard's table and where the predictions lie."""
    folder = stages[0].folder
    # Not from the record, whose keys are sorted.
    results = json.loads((folder / RESULTS).read_text())
    _table(results).show(stages[0].name)
    print("\npredictions of dev and test:")
    for names in results["runs"].values():
        for name in names:
            print(f"  {folder.parent / name}")
    print(f"\ntable: {folder / TABLE}\nnext: {_next(folder, results)}")


def _next(folder: Path, results: Mapping[str, Any]) -> str:
    """The submission of all tasks, else the scores of those that there are."""
    if results["average"]["complete"]:
        return typed_command("submission", str(folder), "-o", "glue.zip")
    return typed_command("scores", str(folder))


def _counts(runs: Mapping[str, Sequence[Stage]]) -> dict[str, Mapping[str, int]]:
    """Returns the dev rows of each class by set, as far as the trainings behind predictions have them."""
    found = {}
    for task, (first, *_) in runs.items():
        for needed in first.after:
            if needed.kind in ("finetune", "distill"):
                # Of MNLI's sets that which chose the checkpoints.
                found[task] = counts_of(needed.record.outcome, "validation")
    return found


def _seed(runs: Sequence[Stage]) -> dict[str, Mapping[str, float]]:
    return {name: scores for run in runs for name, scores in run.record.outcome["dev"].items()}


def _table(results: Mapping[str, Any]) -> Table:
    """Tables what stands in a scoreboard's record."""
    rows = []
    for name, metrics in results["scores"].items():
        for metric, values in metrics.items():
            share = results["commonest"].get(name)
            cells = [
                GLUE_SETS[name].title,
                metric,
                mean_and_spread(values),
                None if share is None else f"{share:.1f}",
                len(values),
                ", ".join(f"{value:.1f}" for value in values),
            ]
            rows.append(cells)
    found = results["average"]
    notes = [f"{found['name']}: {mean_and_spread(found['values'])}"]
    if results["from_mnli"]:
        notes.append(f"{', '.join(results['from_mnli'])} started from the model of MNLI of the same seed")
    return Table(["rows", "metric", "dev (%)", "commonest class (%)", "seeds", "each seed"], rows, notes)
