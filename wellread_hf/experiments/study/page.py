"""A study's page: verdicts, a paragraph of what it shows, a picture, and every arm's scores with notes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from wellread_hf.experiments.study.arms import Study
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.metrics.scores import metric_at
from wellread_hf.results.charts import draw_lines, score_axis, task_in_words
from wellread_hf.results.figures import Mark
from wellread_hf.results.tables import Table

_CLAIMS = {"better": "above 0", "no worse": "not a point below 0", "alike": "within a point of 0"}
# Parts of the budget, and the names of what a run used of them.
_SPENT_AS = {"mlm_steps": "MLM steps", "labels_seen": "labels seen", "soft_labels_seen": "soft labels seen"}

_AXES = {
    "student": "student (layers-width)",
    "arm": "",
    "transfer rows": "rows of the transfer set (logarithmic)",
    "rank correlation": "rank correlation of word frequencies, transfer set and task",
}


def page(found: Mapping[str, Any]) -> str:
    """Writes the page as Markdown from what stands in `results.json`."""
    return (
        f"# {found['title']}: {found['task']}\n\n{verdict_table([found]).markdown}\n{paragraph(found)}\n\n"
        f"![scores](chart.png)\n\n{_score_table(found).markdown}"
    )


def verdict_table(studies: Sequence[Mapping[str, Any]]) -> Table:
    """Tables findings, the paper's beside ours; of several studies with their names and tasks."""
    several = len(studies) > 1
    head = [*(["study", "task"] if several else []), "finding", "verdict"]
    head += ["ours: mean difference, points [95 % interval]", "error over seeds / rows"]
    head += ["p (one-sided, Holm)", "the paper"]
    rows = []
    for found in studies:
        for each in found["findings"]:
            rows.append(
                [
                    *([found["study"], found["task"]] if several else []),
                    f"{each['finding']} (our own question)" if each["ours"] else each["finding"],
                    f"**{in_words(each['verdict'], each['note'])}**",
                    f"{_points(each['mean'])} [{_points(each['low'])}, {_points(each['high'])}]",
                    f"{each['seed_error']:.1f} / {each['row_error']:.1f}",
                    "none" if each["p_holm"] is None else _p(each["p_holm"]),
                    each["paper"],
                ]
            )
    return Table(head, rows)


def paragraph(found: Mapping[str, Any]) -> str:
    """Says in sentences what a study shows."""
    score = f"{metric_at(found['metric'])} on {found['split']} rows"
    head = f"Over {len(found['seeds'])} seeds, {score} in points:"
    return " ".join([head, *map(_sentence, found["findings"])])


def _sentence(each: Mapping[str, Any]) -> str:
    return (
        f"“{each['finding']}” is {each['verdict']}: {' and '.join(each['more'])} minus "
        f"{' and '.join(each['less'])} is {_points(each['mean'])} ({_points(each['low'])} to "
        f"{_points(each['high'])}), claimed to be {_CLAIMS[each['claim']]}."
    )


def in_words(verdict: str, note: str) -> str:
    """Writes a verdict with its reason or limit."""
    return f"{verdict}: {note}" if note else verdict


def _grouped(found: Mapping[str, Any]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Returns the runs of each arm and student, in order."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for score in found["scores"]:
        groups.setdefault((score["arm"], score["student"]), []).append(score)
    return groups


def _score_table(found: Mapping[str, Any]) -> Table:
    # Only what some arm used: a study without pre-training has no column of MLM steps.
    used = list(dict.fromkeys(part for score in found["scores"] for part in score["budget"]))
    score = f"{metric_at(found['metric'])}, {found['split']} (%)"
    head = ["arm", "student", score, "each seed", *used, "training s"]
    rows = []
    for (arm, student), runs in _grouped(found).items():
        scores = [run["score"] for run in runs]
        spent = [mean(run["budget"].get(part, 0) for run in runs) for part in used]
        rows.append(
            [
                arm,
                student,
                mean_and_spread(scores),
                ", ".join(f"{score:.1f}" for score in scores),
                *(f"{amount:,.0f}" for amount in spent),
                f"{mean(run['seconds'] for run in runs):.0f}",
            ]
        )
    return Table(head, rows, _notes(found))


def _notes(found: Mapping[str, Any]) -> list[str]:
    used = {part for score in found["scores"] for part in score["budget"]}
    budget = ", ".join(
        f"{_SPENT_AS.get(name, name.replace('_', ' '))} {amount:,}"
        for name, amount in found["budget"].items()
        if amount is not None and (name not in _SPENT_AS or _SPENT_AS[name] in used)
    )
    notes = [
        f"budget of every arm: {budget}; seeds {', '.join(map(str, found['seeds']))}; pre-training: "
        f"{found['pre-training']}",
        "± is the standard deviation over seeds (n - 1); differences are means over the students; tests "
        f"and intervals count the spread over seeds and over the {found['rows']:,} rows; tests are corrected "
        f"over the {len(found['findings'])} findings of this study (Holm), two-sided intervals are not",
        *found["remarks"],
    ]
    if found["split"] == "validation":
        notes.append("these rows also decide which evaluation's weights are kept, for all arms alike")
    score = "not scored on these rows" if found["teacher"] is None else f"{found['teacher']:.1f}"
    labels = "given, with labels of its own" if found["teacher_given"] else "taught by the same labelled rows"
    notes.append(f"teacher: {score}; {labels}")
    for domain, correlation in found["rank_correlations"].items():
        notes.append(
            f"domain {domain}: rank correlation S = {correlation:.2f} with the task's word frequencies"
        )
    versions = found["code_versions"]
    # A change of the code between runs may be what differs between arms.
    if len(versions) > 1:
        made = "; ".join(f"{count} stages by {version}" for version, count in versions)
        notes.append(f"**the runs were made with different code versions**: {made}")
    else:
        notes.append(f"made with {versions[0][0]}")
    return notes


def _points(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def draw(found: Mapping[str, Any], study: Study, path: Path) -> None:
    """Draws every arm's mean score with its spread over seeds, along what the study varies.

    Args:
        found: What stands in `results.json`.
        study: Its arms.
        path: The PNG.
    """
    students = dict.fromkeys(score["student"] for score in found["scores"])
    # Methods have no order, so they are lines over students.
    axis = "student" if study.axis == "arm" and not any(arm.at for arm in study.arms) else study.axis
    series: dict[str, list[Mark]] = {}
    for (name, student), runs in _grouped(found).items():
        arm, size = study.arm(name), student.removeprefix("bert-")
        place: float | str = {
            "student": size,
            "arm": arm.at,
            "transfer rows": arm.share * (found["budget"]["transfer_rows"] or 0),
            "rank correlation": found["rank_correlations"].get(arm.domain, 0.0),
        }[axis]
        alone = axis == "student" or not study.every_student or len(students) == 1
        label = arm.series if alone else f"{arm.series}, {size}"
        series.setdefault(label, []).append(Mark.of(place, [run["score"] for run in runs]))
    draw_lines(
        series,
        found["teacher"],
        f"{found['title']}: {task_in_words(found['task'])}",
        (_AXES[axis], score_axis(found["metric"], found["split"])),
        path,
        logarithmic=axis == "transfer rows",
    )
