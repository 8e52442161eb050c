"""A study's picture: every arm's mean score with its spread over seeds, along what the study varies."""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from wellread_hf.experiments.study.arms import Study
from wellread_hf.experiments.study.writing import grouped
from wellread_hf.results.charts import Mark, draw_lines
from wellread_hf.students import Student

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
    lines: dict[str, list[Mark]] = {}
    for (name, student), runs in grouped(found).items():
        arm = study.arm(name)
        scores = [run["score"] for run in runs]
        place: float | str = {
            "student": student.removeprefix("bert-"),
            "arm": arm.at or arm.series,
            "transfer rows": arm.share * (found["budget"]["transfer_rows"] or 0),
            "rank correlation": found["rank_correlations"].get(arm.domain, 0.0),
        }[study.axis]
        along = study.axis == "student" or not study.every_student or len(students) == 1
        line = arm.series if along else f"{arm.series}, {Student.parse(student).name.removeprefix('bert-')}"
        if study.axis == "arm" and not arm.at:
            line = Student.parse(student).name.removeprefix("bert-")
        lines.setdefault(line, []).append(Mark(place=place, mean=mean(scores), spread=stdev(scores)))
    teacher = found["teacher"]
    draw_lines(
        lines,
        None if teacher is None else (teacher, f"teacher {teacher:.1f}"),
        f"{found['title']}: {found['task']}",
        (_LABELS[study.axis], f"{found['metric']}, {found['split']} (%)"),
        path,
        logarithmic=study.axis == "transfer rows",
        # Methods have no order.
        joined=study.axis != "arm" or any(arm.at for arm in study.arms),
    )
