"""Draws the README's picture from the stored scores of the SST-2 study: python -m benchmarks.sst2_chart."""

import json
from pathlib import Path
from statistics import mean, stdev

from wellread_hf.results.charts import Mark, draw_lines

DOCS = Path(__file__).parents[1] / "docs"
STUDY = DOCS / "studies" / "methods-sst2" / "results.json"
PICTURE = DOCS / "pictures" / "sst2-methods.png"


def marks(study: Path = STUDY) -> dict[str, list[Mark]]:
    """Returns each method's mean and spread over seeds, by student."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in json.loads(study.read_text())["scores"]:
        found.setdefault((run["arm"], run["student"]), []).append(run["score"])
    lines: dict[str, list[Mark]] = {}
    for (arm, student), scores in found.items():
        lines.setdefault(arm, []).append(Mark(place=student, mean=mean(scores), spread=stdev(scores)))
    return lines


def main() -> None:
    teacher = json.loads(STUDY.read_text())["teacher"]
    draw_lines(
        marks(),
        (teacher, f"teacher {teacher:.1f}"),
        "SST-2 with 8,000 labels or 40,000 soft labels",
        ("student", "accuracy on dev (%)"),
        PICTURE,
        joined=False,
    )
    print(PICTURE)


if __name__ == "__main__":
    main()
