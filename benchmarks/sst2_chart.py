"""Draws the README's picture from the stored scores of the SST-2 study: python -m benchmarks.sst2_chart."""

import json
from pathlib import Path

from wellread_hf.results.charts import draw_lines
from wellread_hf.results.figures import Mark

DOCS = Path(__file__).parents[1] / "docs"
STUDY = DOCS / "studies" / "methods-sst2" / "results.json"
PICTURE = DOCS / "pictures" / "sst2-methods.png"


def marks() -> dict[str, list[Mark]]:
    """Returns each method's mean and spread over seeds, by student."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in json.loads(STUDY.read_text())["scores"]:
        place = run["student"].removeprefix("bert-")
        found.setdefault((run["arm"], place), []).append(run["score"])
    return {
        arm: [Mark.of(place, scores) for (other, place), scores in found.items() if other == arm]
        for arm, _ in found
    }


def main(picture: Path = PICTURE) -> None:
    """Draws the picture, and prints where it is."""
    teacher = json.loads(STUDY.read_text())["teacher"]
    title = "SST-2 with 8,000 labels or 40,000 soft labels"
    draw_lines(marks(), teacher, title, ("student (layers-width)", "accuracy on dev rows (%)"), picture)
    print(picture)


if __name__ == "__main__":
    main()
