"""How often a study confirms what is not there, and how often what is, by simulation of every row.

  nice python -m benchmarks.verdicts --studies 1000

Each simulated study is that of methods: four arms, five findings, 1,000 rows on which all runs are scored.
A row is as hard for every model, but for a fifth of the rows that is drawn for each arm anew, which gives a
difference of two arms a standard error of 0.8 points from row to row, and for 5 % drawn for each run. A seed
moves an arm by a normal number of points, and so does a pre-training, PF and PD of a student alike. Verdicts
come from `wellread_hf.experiments.study.findings.tested`, which studies use.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import ttest_1samp

from wellread_hf.experiments.study.arms import Finding
from wellread_hf.experiments.study.catalogue import STUDIES
from wellread_hf.experiments.study.findings import tested
from wellread_hf.experiments.study.planning import PlannedRun, PlannedStudy
from wellread_hf.experiments.study.statistics import LEVEL, Array
from wellread_hf.experiments.study.study_settings import ON_TOY
from wellread_hf.metrics.jackknife import scored
from wellread_hf.results.tables import Table
from wellread_hf.store.stage import Stage
from wellread_hf.students import Student

_STUDY = STUDIES["methods"]
# PF > Basic: pre-training is what it claims.
_CLAIMED = next(each for each in _STUDY.findings if (each.more, each.less) == (("PF",), ("Basic",)))
_PRETRAINED = ("PF", "PD")
_STUDENTS = (Student(2, 128), Student(4, 128))
# Seeds and students.
_DESIGNS = ((2, 2), (3, 1), (3, 2), (5, 1), (5, 2), (10, 1))
_SEED_NOISES = (0.3, 1.0, 2.0)
_EFFECTS = (1.0, 2.0, 4.0)
_ROWS, _SHARE_RIGHT, _OF_RUN = 1_000, 0.8, 0.05
# Of a row drawn anew each arm gets `_SHARE_RIGHT` right: 2 * share * 0.8 * 0.2 / rows = 0.008^2.
_OF_ARM = 0.008**2 * _ROWS / (2 * _SHARE_RIGHT * (1 - _SHARE_RIGHT))
_GROUPS, _ORDER = 50, np.random.default_rng(0).permutation(_ROWS)
_COLUMNS = (
    "pairs, one pre-training",
    "pairs, one a seed",
    "seeds and rows, one pre-training (were it not refused)",
    "**seeds and rows, one a seed**",
    "any of five findings",
    *(f"{effect:g} {'point' if effect == 1 else 'points'}" for effect in _EFFECTS),
)


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=1_000, help="simulated studies a row of the table")
    parser.add_argument("--pretraining", type=float, default=1.0, help="its standard deviation in points")
    given = parser.parse_args(arguments)
    some = np.random.default_rng(1).random(_ROWS) < _SHARE_RIGHT
    expected = scored(some.astype(np.int64), np.ones(_ROWS, dtype=np.int64), "accuracy")
    assert np.allclose(_scored(some), expected)
    rows = []
    for seeds, students in _DESIGNS:
        for noise in _SEED_NOISES:
            rng = np.random.default_rng(0)
            study = _Simulated(seeds, students, noise, given.pretraining, rng)
            found = [study.confirmed() for _ in range(given.studies)]
            shares = [f"{share:.1%}" for share in np.mean(found, axis=0)]
            rows.append([f"{seeds} x {students}", f"{noise:g}", *shares])
            print(*rows[-1], flush=True)
    print(Table(["seeds x students", "seed noise", *_COLUMNS], rows).markdown, end="")


class _Simulated:
    """Studies of one design, each from new rows, seeds and pre-trainings."""

    def __init__(
        self, seeds: int, students: int, noise: float, pretraining: float, rng: np.random.Generator
    ) -> None:
        self.noise, self.pretraining, self.rng = noise, pretraining, rng
        self.settings = replace(ON_TOY, seeds=tuple(range(seeds)))
        runs = [
            PlannedRun(arm=arm, student=student, seed=seed, steps=(_stage(arm.series, student, seed),))
            for arm in _STUDY.arms
            for student in _STUDENTS[:students]
            for seed in range(seeds)
        ]
        self.planned = PlannedStudy(
            name="methods",
            study=_STUDY,
            settings=self.settings,
            runs=tuple(runs),
            teacher=None,
            similarities={},
        )

    def confirmed(self) -> list[bool]:
        """Returns what each column of the table counts."""
        shared, own = self._scores(one_pretraining=True), self._scores(one_pretraining=False)
        alone = (_CLAIMED,)
        return [
            self._by_pairs(shared),
            self._by_pairs(own),
            self._by_seeds_and_rows(shared, alone),
            self._by_seeds_and_rows(own, alone),
            self._by_seeds_and_rows(own, _STUDY.findings),
            *(self._by_seeds_and_rows(self._moved(own, effect), alone) for effect in _EFFECTS),
        ]

    def _scores(self, one_pretraining: bool) -> dict[str, Array]:
        """Returns each run's scores as `scored` gives them; every arm is as good as every other."""
        hardness = self.rng.random(_ROWS)
        of_arm = {arm.name: self._drawn_anew(hardness, _OF_ARM) for arm in _STUDY.arms}
        read: dict[tuple[str, int], float] = {}
        scores = {}
        for run in self.planned.runs:
            gain = self.rng.normal(0, self.noise)
            if run.arm.name in _PRETRAINED:
                key = run.student.name, 0 if one_pretraining else run.seed
                gain += read.setdefault(key, self.rng.normal(0, self.pretraining))
            hard = self._drawn_anew(of_arm[run.arm.name], _OF_RUN)
            scores[run.stage.folder.name] = _scored(hard < _SHARE_RIGHT + gain / 100)
        return scores

    def _drawn_anew(self, hardness: Array, share: float) -> Array:
        return np.where(self.rng.random(_ROWS) < share, self.rng.random(_ROWS), hardness)

    def _moved(self, scores: Mapping[str, Array], effect: float) -> dict[str, Array]:
        moved = {run.stage.folder.name for run in self.planned.runs if run.arm.name in _CLAIMED.more}
        return {name: each + effect * (name in moved) for name, each in scores.items()}

    def _by_seeds_and_rows(self, scores: Mapping[str, Array], findings: tuple[Finding, ...]) -> bool:
        planned = replace(self.planned, study=replace(_STUDY, findings=findings))
        return any(each["verdict"] == "confirmed" for each in tested(planned, scores))

    def _by_pairs(self, scores: Mapping[str, Array]) -> bool:
        """Tests as studies did before: every student and seed is a pair, and rows are not drawn."""
        of = {
            (run.arm.name, run.student, run.seed): scores[run.stage.folder.name][0]
            for run in self.planned.runs
        }
        pairs = [of["PF", *key] - of["Basic", *key] for arm, *key in of if arm == "PF"]
        return bool(ttest_1samp(pairs, 0, alternative="greater").pvalue < LEVEL)


def _scored(right: Array) -> Array:
    """Returns what `scored` does for accuracy, a hundred times faster."""
    groups = right[_ORDER].reshape(_GROUPS, -1).sum(axis=1)
    kept = np.full(_GROUPS + 1, _ROWS - _ROWS // _GROUPS)
    kept[0] = _ROWS
    return 100 * (groups.sum() - np.array([0, *groups])) / kept


def _stage(name: str, student: Student, seed: int) -> Stage:
    """A stage that nothing is asked of but its name."""
    identity = {"arm": name, "student": student.name, "seed": seed}
    return Stage(kind="finetune", name=name, root=Path(), identity=identity, work=lambda stage: {})


if __name__ == "__main__":
    main()
