"""Draws a study's verdicts anew from accuracies alone, where predictions were not stored.

  python -m benchmarks.old_verdicts docs/studies/*

Rewrites results.json and table.md of the studies that were written before predictions were kept. On a row
the difference of two models is -1, 0 or 1. It is not 0 on at most (1 - a) + (1 - b) of the rows, a and b
being their accuracies, nor on more than a + b. So the variance of a mean difference D over n rows is at most
(that share - D^2) / (n - 1): the largest error over rows that the scores allow.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import inf, sqrt
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from wellread_hf.experiments.study.arms import Finding
from wellread_hf.experiments.study.catalogue import STUDIES
from wellread_hf.experiments.study.findings import decided
from wellread_hf.experiments.study.page import page
from wellread_hf.experiments.study.statistics import Difference, difference
from wellread_hf.experiments.study.study_settings import ON_TOY
from wellread_hf.store.records import write_atomically

_ROWS = {"toy": 2_000, "sst2": 872}
_REMARK = (
    "predictions were not stored when these runs were made: the error over rows is the largest that the "
    "accuracies allow (`benchmarks/old_verdicts.py`), and intervals may be wider than with predictions"
)


def main() -> None:
    """Rewrites the studies named on the command line."""
    for folder in map(Path, sys.argv[1:]):
        path = folder / "results.json"
        found = json.loads(path.read_text())
        if (folder / "predictions.npz").exists():
            continue
        found |= _redone(found)
        found.pop("pairs", None)
        write_atomically(path, json.dumps(found, indent=1))
        write_atomically(folder / "table.md", page(found))


def _redone(found: Mapping[str, Any]) -> dict[str, Any]:
    study, rows = STUDIES[found["study"]], _ROWS[found["task"]]
    # SST-2's students were given, one for all seeds; the toy world's are pre-trained with each.
    given = "given" if found["pre-training"] != "one a seed" else None
    settings = replace(ON_TOY, seeds=tuple(found["seeds"]), weights=given, deep=given, mlm_plus=given)
    apart = [_difference(finding, found["scores"], rows) for finding in study.findings]
    remarks = [*study.remarks, _REMARK]
    return {"rows": rows, "remarks": remarks, "findings": decided(study, settings, apart)}


def _difference(finding: Finding, scores: list[Mapping[str, Any]], rows: int) -> Difference:
    (more,), (less,) = finding.more, finding.less
    by_seed, differing = [], []
    for seed in dict.fromkeys(score["seed"] for score in scores):
        sides = [
            {
                score["student"]: score["score"]
                for score in scores
                if (score["arm"], score["seed"]) == (arm, seed)
            }
            for arm in (more, less)
        ]
        by_seed.append(mean(sides[0].values()) - mean(sides[1].values()))
        # Students of the same name where arms have them all; else each side has one.
        paired = [
            (ours / 100, theirs / 100)
            for (one, ours), (other, theirs) in product(*(side.items() for side in sides))
            if one == other or len(sides[0]) == 1
        ]
        differing.append(mean(min(2 - a - b, a + b) for a, b in paired))
    apart = mean(by_seed) / 100
    error = 100 * sqrt((mean(differing) - apart**2) / (rows - 1))
    return difference(np.array(by_seed), (error, inf), finding.claim)


if __name__ == "__main__":
    main()
