"""A study's picture: every arm's mean score with its spread over seeds, along what the study varies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wellread_hf.experiments.study.arms import Study
from wellread_hf.experiments.study.writing import grouped
from wellread_hf.results.charts import Mark, draw_lines, score_axis, task_in_words

_LABELS = {
    "student": "student",
    "arm": "",
    "transfer rows": "rows of the transfer set (logarithmic)",
    "rank correlation": "rank correlation of word frequencies, transfer set and task",
}


def draw(found: Mapping[str, Any], study: Study, path: Path) -> None:
    """Draws a study's scores from what stands in `results.json`.

    Args:
        found: The numbers.
        study: Its arms.
        path: The PNG.
    """
    students = dict.fromkeys(score["student"] for score in found["scores"])
    # Methods have no order, so they are lines over students.
    axis = "student" if study.axis == "arm" and not any(arm.at for arm in study.arms) else study.axis
    series: dict[str, list[Mark]] = {}
    for (name, student), runs in grouped(found).items():
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
        (_LABELS[axis], score_axis(found["metric"], found["split"])),
        path,
        logarithmic=axis == "transfer rows",
    )
