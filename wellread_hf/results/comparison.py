"""The comparison of methods over seeds: a table, a bar chart, and the numbers behind both."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from wellread_hf.data.toy.world import probe_accuracy
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.metrics.baselines import commonest, counts_of, doubt
from wellread_hf.metrics.scores import metric_at
from wellread_hf.results.charts import draw_methods, score_axis, task_in_words
from wellread_hf.results.tables import CHART, RESULTS, TABLE, Table
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage, in_order

# What `results.json` has of each method; see `report`.
MethodResult = dict[str, Any]


def report(
    task: str, student: str, methods: Mapping[str, Sequence[Stage]], teacher: Stage | None, root: Path
) -> Stage:
    """Builds the stage that compares finished runs on the task's first metric.

    Scores are of the labelled test set where there is one, else of the validation set; the table says
    which, and names the differences that lie within the spread over seeds. A toy world's table also says how
    well word classes can be read off the word embeddings.

    Writes `table.md`, `chart.png` and `results.json`, of each method: `method`, the paper's name; `scores`,
    in percent, one a seed; `seconds` of training of each seed's last step; `start`, the held-out masked-LM
    loss in nats of the encoders it started from (mean), `random weights`, or `not known` for encoders from
    elsewhere; `folders`, where each seed's model lies.

    Args:
        task: The task's name.
        student: The student's name.
        methods: The runs of each method, one a seed.
        teacher: The teacher's run, shown as a line of its own.
        root: Folder of all stages.
    """
    runs = [run for stages in methods.values() for run in stages] + ([teacher] if teacher else [])

    def work(stage: Stage) -> Mapping[str, Any]:
        outcome = runs[0].record.outcome
        # Validation rows have chosen the checkpoints, so their scores are too high.
        split = "test" if "test" in outcome else "validation"
        metric, counts = outcome["metric"], counts_of(outcome, split)
        results = [_result(method, stages, metric, split) for method, stages in methods.items()]
        top = [_result("Teacher", [teacher], metric, split)] if teacher else []
        draw_methods(
            {result["method"]: result["scores"] for result in results},
            top[0]["scores"][0] if top else None,
            f"Methods on {task_in_words(task)}, student {student}",
            score_axis(metric, split),
            stage.folder / CHART,
        )
        write_atomically(stage.folder / RESULTS, json.dumps(results + top, indent=1))
        notes = [*_share(counts, split), *_undecided(results), *_notes(runs)]
        found = {"metric": metric, "split": split, "results": results + top, "notes": notes}
        write_atomically(stage.folder / TABLE, _table(found).markdown)
        return found | _doubts(results, metric, counts, split)

    return Stage(
        kind="report",
        name=f"{task} {student}".replace(" ", "-"),
        root=root,
        identity={
            "methods": {method: [run.digest for run in stages] for method, stages in methods.items()},
            "teacher": None if teacher is None else teacher.digest,
        },
        inputs=runs,
        work=work,
        solo=True,
    )


def show_report(settings: Any, stages: Sequence[Stage]) -> None:
    """Prints a finished report's table and where everything lies."""
    folder = stages[0].folder
    found = stages[0].record.outcome
    _table(found).show(stages[0].name)
    print("\nready for from_pretrained:")
    for result in found["results"]:
        for model in result["folders"]:
            print(f"  {result['method']:12} {model}")
    print(f"\nchart: {folder / CHART}\ntable: {folder / TABLE}")


def _share(counts: Mapping[str, int], split: str) -> list[str]:
    found = commonest(counts)
    return [f"the commonest class on {split}, {found[0]!r}: {100 * found[1]:.1f} %"] if found else []


def _doubts(
    results: Sequence[MethodResult], metric: str, counts: Mapping[str, int], split: str
) -> dict[str, list[str]]:
    """Warns in one sentence of the methods that are no better than one answer throughout."""
    means = {result["method"]: mean(result["scores"]) / 100 for result in results}
    poor = {name: score for name, score in means.items() if doubt({metric: score}, counts, "")}
    if not poor:
        return {}
    # One sentence for all of them, with the highest of their scores.
    best = " at best," if len(poor) > 1 else ""
    who = f"of {', '.join(poor)}{best} on {split}" + ("," if best else "")
    return {"warnings": [str(doubt({metric: max(poor.values())}, counts, who))]}


def _undecided(results: Sequence[MethodResult]) -> list[str]:
    """Names the pairs of methods whose means lie no further apart than their two spreads reach."""
    # A glance, not a test, for which a handful of seeds is too few; studies test.
    several = [(result["method"], result["scores"]) for result in results if len(result["scores"]) > 1]
    return [
        f"within the spread over seeds, so not decided: {one} {mean_and_spread(ones)} and {two} "
        f"{mean_and_spread(twos)}"
        for (one, ones), (two, twos) in combinations(several, 2)
        if abs(mean(ones) - mean(twos)) <= stdev(ones) + stdev(twos)
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
            note = f"teacher over {outcome['rows']:,} rows, once: {stage.record.seconds:.0f} s"
            if "imported" in stage.record.settings:
                note = f"imported soft labels of {outcome['rows']:,} rows"
            if (metric := outcome.get("metric")) is not None:
                score = 100 * outcome["teacher_validation"][metric]
                note += f"; its own {metric_at(metric)} on validation: {score:.1f} %"
            notes.append(note)
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
    # Encoders that were not pre-trained here have no held-out text.
    losses = [outcome["mlm_loss_at_start"] for outcome in outcomes]
    start = "not known" if None in losses else f"{mean(losses):.2f}"
    if all(stage.record.settings["start"]["weights"] is None for stage in stages):
        start = "random weights"
    return {
        "method": method,
        "scores": [100 * outcome[split][metric] for outcome in outcomes],
        "seconds": [outcome["seconds_training"] for outcome in outcomes],
        "start": start,
        "folders": [str(stage.folder) for stage in stages],
    }


def _table(found: Mapping[str, Any]) -> Table:
    """Tables what stands in a report's record."""
    score = f"{metric_at(found['metric'])}, {found['split']} (%)"
    rows = [
        [
            result["method"],
            mean_and_spread(result["scores"]),
            len(result["scores"]),
            ", ".join(f"{score:.1f}" for score in result["scores"]),
            result["start"],
            f"{mean(result['seconds']):.0f}",
        ]
        for result in found["results"]
    ]
    head = ["method", score, "seeds", "each seed", "MLM loss at start", "training s"]
    # Records of before there were notes have none.
    return Table(head, rows, found.get("notes", ()))
