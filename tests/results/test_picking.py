"""Picking beside brute force; records joined; what is missing is named with the command that makes it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from math import hypot, inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from wellread_hf.errors import NothingFitsError, SettingsError, StoreError
from wellread_hf.metrics.jackknife import interval
from wellread_hf.results.candidates import Candidate, Member, Offer, read_offer
from wellread_hf.results.lineage import Stages
from wellread_hf.results.picking import choose
from wellread_hf.settings import Picking
from wellread_hf.store.records import StageRecord

GROUPS = 10


def member(scored: np.ndarray, seed: int = 0) -> Member:
    return Member(f"sha256:{seed}", None, seed, scored, Path("evaluate"), None)


TEACHER = member(np.array([90.0, *np.linspace(89.9, 90.1, GROUPS)]))


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    seeds = draw(st.integers(1, 3))
    level = rng.normal(85, 3, (seeds, 1))
    scores = level + rng.normal(0, 0.1, (seeds, 1 + GROUPS))
    return Candidate(
        name=f"bert-{draw(st.integers(1, 9))}",
        method="PD",
        arm="arm",
        format=draw(st.sampled_from(["torch", "onnx-int8"])),
        members=tuple(member(each, seed) for seed, each in enumerate(scores)),
        ms=draw(st.none() | st.floats(0.1, 10)),
        mb=draw(st.none() | st.floats(1, 100)),
        teacher=TEACHER,
    )


def offer(students: list[Candidate]) -> Offer:
    teacher = Candidate(
        name="t", method="teacher", arm="t", format="torch", members=(TEACHER,), ms=None, mb=None
    )
    return Offer(task="sst2", metric="accuracy", students=students, teachers=[teacher], machines=[])


limits = st.builds(
    Picking,
    max_ms=st.none() | st.floats(0.1, 10),
    max_mb=st.none() | st.floats(1, 100),
    min_score=st.none() | st.floats(60, 90),
    within=st.none() | st.floats(0, 30),
)


def lowest(scores: np.ndarray) -> float:
    """The lower end of a 95 % interval, from its definition."""
    rows = scores[:, 1:].mean(axis=0)
    error = sqrt((GROUPS - 1) / GROUPS * ((rows - rows.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, GROUPS - 1) * error
    if len(scores) > 1:
        spread = stats.sem(scores[:, 0])
        half = hypot(half, stats.t.ppf(0.975, len(scores) - 1) * spread)
    return float(scores[:, 0].mean() - half)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(candidates(), min_size=1, max_size=8), limits)
def test_the_pick_is_that_of_brute_force(students: list[Candidate], picking: Picking) -> None:
    assume(picking.asked)
    assume(picking.max_ms is None or any(each.ms is not None for each in students))
    assume(picking.max_mb is None or any(each.mb is not None for each in students))
    scores = [np.stack([of.scored for of in each.members]) for each in students]
    fits = [
        (picking.max_ms is None or (each.ms is not None and each.ms <= picking.max_ms))
        and (picking.max_mb is None or (each.mb is not None and each.mb <= picking.max_mb))
        and (picking.min_score is None or lowest(found) >= picking.min_score)
        and (picking.within is None or lowest(found - TEACHER.scored) >= -picking.within)
        for each, found in zip(students, scores, strict=True)
    ]
    if not any(fits):
        with pytest.raises(NothingFitsError, match="the nearest of"):
            choose(offer(students), picking)
        return
    found = choose(offer(students), picking)
    place = next(number for number, each in enumerate(students) if each is found.picked)
    assert fits[place]
    for number, each in enumerate(students):
        if not fits[number]:
            continue
        if picking.max_ms is not None or picking.max_mb is not None:
            assert lowest(scores[place]) >= lowest(scores[number]) - 1e-9
        elif all(of.ms is not None for of, ok in zip(students, fits, strict=True) if ok):
            assert found.picked.ms is not None
            assert each.ms is not None
            assert found.picked.ms <= each.ms
        else:
            assert (found.picked.mb or inf) <= (each.mb or inf)
    # What does not fit is without influence.
    alone = [each for each, ok in zip(students, fits, strict=True) if ok]
    assert choose(offer(alone), picking).picked is found.picked
    # Neighbours by size, each with a reason.
    for beside, sign in ((found.larger, 1), (found.smaller, -1)):
        if beside is not None:
            assert beside[1]
            assert sign * ((beside[0].mb or inf) - (found.picked.mb or inf)) >= 0 or beside[0].mb is None


def test_the_best_seed_does_not_decide() -> None:
    rows = np.zeros(1 + GROUPS)
    lucky = tuple(member(score + rows, seed) for seed, score in enumerate((90.0, 80.0, 85.0)))
    steady = tuple(member(score + rows, seed) for seed, score in enumerate((84.0, 84.5, 84.2)))
    students = [
        Candidate(name=name, method="PD", arm=name, format="torch", members=members, ms=1.0, mb=5.0)
        for name, members in (("lucky", lucky), ("steady", steady))
    ]
    found = choose(offer(students), Picking(max_ms=2))
    assert found.picked.name == "steady"
    assert found.larger is not None or found.smaller is not None
    # t(0.975; 2) = 4.3027 times the standard error.
    assert interval(np.array([[84.0, *rows[1:]], [85.0, *rows[1:]], [86.0, *rows[1:]]])).low == pytest.approx(
        85 - 4.3027 / sqrt(3), abs=1e-3
    )


def test_what_is_not_asked_for_or_not_known_is_said() -> None:
    one = Candidate(
        name="a", method="PD", arm="a", format="torch", members=(TEACHER,), ms=None, mb=None, teacher=None
    )
    with pytest.raises(SettingsError, match="give one or more of `max_ms`"):
        choose(offer([one]), Picking())
    with pytest.raises(StoreError, match="wellread measure"):
        choose(offer([one]), Picking(max_ms=1))
    with pytest.raises(StoreError, match="wellread export"):
        choose(offer([one]), Picking(max_mb=1))
    with pytest.raises(StoreError, match="wellread eval TEACHER"):
        choose(replace(offer([one]), teachers=[]), Picking(within=1))
    with pytest.raises(StoreError, match="wellread eval STUDENTS"):
        choose(offer([]), Picking(within=1))
    assert NothingFitsError.status == 3


def _record(root: Path, kind: str, name: str, number: int, settings: Any, outcome: Any) -> str:
    digest = f"{number:064x}"
    folder = root / f"{kind}-{name}-{digest[:12]}{number}"
    folder.mkdir(parents=True)
    weights = {"model.safetensors": {"sha256": "", "size": 17_500_000}}
    StageRecord(
        kind=kind, name=name, digest=digest, settings=settings, inputs={}, outcome=outcome, seconds=1.0,
        versions={}, command="", outputs=weights if kind == "distill" else {},
    ).write(folder)  # fmt: skip
    return digest


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher, a small student of two seeds whose first is exported and measured, and a large one."""
    root = tmp_path_factory.mktemp("picking") / "runs"
    rng, number = np.random.default_rng(0), iter(range(1, 100))

    def evaluated(fingerprint: str, name: str, score: float) -> None:
        without = (score + rng.normal(0, 0.002, 50)).tolist()
        outcome = {"task": "sst2", "metric": "accuracy", "scores": {"accuracy": score}, "without": without}
        settings = {"model": fingerprint, "task": {"name": "sst2"}, "max_length": None}
        _record(root, "evaluate", name, next(number), settings, outcome)

    labels = _record(root, "label", "sst2", next(number), {"teacher": "sha256:t"}, {})
    evaluated("sha256:t", "minilm", 0.9)
    for name, scores in (("bert-2-128", (0.83, 0.84)), ("bert-4-512", (0.88,))):
        for seed, score in enumerate(scores):
            # Every seed has a pre-training of its own.
            read = _record(root, "pretrain", name, next(number), {"student": name, "seed": seed}, {})
            settings = {
                "start": {"weights": f"stage:{read}:.", "student": None, "tokenizer": "hub:x"},
                "tuning": {"seed": seed}, "labels": labels, "objective": {}, "task": {"name": "sst2"},
            }  # fmt: skip
            made = _record(root, "distill", name, next(number), settings, {})
            evaluated(f"stage:{made}:.", name, score)
            if seed == 0:
                int8 = {"bytes": 4_600_000, "scores": {"accuracy": score - 0.005}}
                fp32 = {"bytes": 17_800_000, "scores": {"accuracy": score}}
                if name == "bert-4-512":
                    int8 |= {"refused": "it is slower here"}
                outcome = {
                    "model": {"fingerprint": f"stage:{made}:."},
                    "files": {"model.onnx": fp32, "model_quantized.onnx": int8},
                }
                _record(root, "export", name, next(number), {}, outcome)
                latency = [{"threads": 1, "batch": 1, "length": 64, "p50_ms": 0.5 if seed == 0 else 4.0}]
                measured = {"fingerprint": f"stage:{made}:.", "format": "onnx-int8", "latency": latency,
                            "bytes": 4_600_000}  # fmt: skip
                outcome = {"machine": {"cpu": "a CPU"}, "candidates": [measured]}
                _record(root, "measure", name, next(number), {}, outcome)
    return root


def test_records_are_joined_by_the_models_fingerprint(runs: Path) -> None:
    found = read_offer(Stages.read(runs), Picking(max_ms=1))
    shown = {(each.name, each.format): each for each in found.students}
    # The large student's int8 was refused.
    assert set(shown) == {
        *(("bert-2-128", form) for form in ("torch", "onnx-fp32", "onnx-int8")),
        *(("bert-4-512", form) for form in ("torch", "onnx-fp32")),
    }
    small = shown["bert-2-128", "onnx-int8"]
    assert (small.ms, small.mb, small.method) == (0.5, 4.6, "PD")
    # The seed without an export loses what the other one lost.
    assert [each.scored[0] for each in small.members] == pytest.approx([82.5, 83.5])
    assert small.best.export is not None
    assert shown["bert-2-128", "torch"].mb == 17.5
    assert small.gap is not None
    assert small.gap.mean == pytest.approx(-7)
    assert [each.name for each in found.teachers] == ["minilm"]
    with pytest.raises(StoreError, match="of mrpc, found none"):
        read_offer(Stages.read(runs), Picking(task="mrpc"))


def test_a_pruned_student_is_an_arm_of_its_own(runs: Path, tmp_path: Path) -> None:
    (source,) = (record for record in Stages.read(runs).of_kind("distill") if record.name == "bert-4-512")
    shutil.copytree(runs, tmp_path / "runs")
    settings = {"model": f"stage:{source.digest}:."}
    pruned = _record(tmp_path / "runs", "prune", "bert-4-512", 900, settings, {"vocabulary": 4_000})
    evaluated = next(
        record for record in Stages.read(runs).of_kind("evaluate") if record.name == "bert-4-512"
    )
    settings = {**evaluated.settings, "model": f"stage:{pruned}:."}
    _record(tmp_path / "runs", "evaluate", "bert-4-512", 901, settings, evaluated.outcome)
    found = read_offer(Stages.read(tmp_path / "runs"), Picking())
    assert {each.method for each in found.students if each.name == "bert-4-512"} == {"PD", "PD, 4,000 pieces"}


def _pick(*words: object) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from wellread_hf.cli.wellread import main; sys.argv[0] = 'wellread'\n"
        "try:\n main()\nfinally:\n"
        " heavy = {'torch', 'transformers', 'datasets', 'evaluate'} & set(sys.modules)\n"
        " assert not heavy, heavy"
    )
    return subprocess.run(
        [sys.executable, "-c", program, "pick", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_the_command_picks_without_loading_torch(runs: Path) -> None:
    ran = _pick(runs, "--max-ms", 1, "--max-mb", 5)
    assert ran.returncode == 0, ran.stderr
    assert "pick: bert-2-128, PD, onnx-int8: 0.50 ms, 4.60 MB, accuracy 83.0" in ran.stdout
    assert "points" in ran.stdout
    found = json.loads(_pick(runs, "--within", 9, "--json").stdout)
    assert (found["name"], found["smaller"]["name"]) == ("bert-4-512", "bert-2-128")
    assert "may lose" in found["smaller"]["because"]
    assert found["beside_teacher"]["mean"] == pytest.approx(-2)


def test_a_budget_that_nothing_fits_ends_with_status_3(runs: Path) -> None:
    ran = _pick(runs, "--max-mb", 4)
    assert ran.returncode == 3
    assert ran.stderr.startswith("error: nothing fits --max-mb 4: the nearest of 5 candidates is bert-2-128")
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("\n") == 1
