"""Soft labels in a teacher's place: any recipe with a teacher takes the folder of a labelling stage."""

from pathlib import Path
from typing import Any

import pytest
from recipe_runs import run_here

from wellread_hf.errors import StoreError
from wellread_hf.experiments.planner import Given, Planner
from wellread_hf.experiments.ship_settings import SMOKE as SHIP
from wellread_hf.experiments.shipping import Shipment
from wellread_hf.settings import Running, Tuning
from wellread_hf.stages import are_stored, soft_labels
from wellread_hf.stages.presets import SMOKE_ENCODER, SMOKE_TASK, SMOKE_TEACHER, SMOKE_TRANSFER
from wellread_hf.students import Student


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def labels(runs: Path, capfd: Any) -> Path:
    options = ("--transfer", "toy:pool@smoke", "--runs", runs)
    ran = run_here(capfd, "label", "--preset", "smoke", *options)
    assert ran.status == 0, ran.err
    (folder,) = runs.glob("label-*")
    return folder


def test_a_student_is_the_same_from_the_teacher_and_from_its_labels(labels: Path, runs: Path) -> None:
    running, given = Running(runs=runs), Given(weights=SMOKE_ENCODER, transfer=SMOKE_TRANSFER)

    def planned(teacher: str) -> str:
        planner = Planner(given, lambda task: teacher, running)
        start = planner.start("pd", "2-128")
        return planner.trained("pd", start, SMOKE_TASK, Tuning(max_length=32)).digest

    assert planned(str(labels)) == planned(SMOKE_TEACHER)


def test_methods_are_compared_with_stored_labels(labels: Path, runs: Path, capfd: Any) -> None:
    options = ("--methods", "distillation", "--seeds", 0, "--teacher", labels, "--runs", runs)
    ran = run_here(capfd, "pd", "--preset", "smoke", *options)
    assert ran.status == 0, ran.err
    assert [folder.name for folder in runs.glob("label-*")] == [labels.name]
    assert len([*runs.glob("distill-*")]) == 1


def test_what_is_shipped_needs_no_teacher(labels: Path, runs: Path) -> None:
    from dataclasses import replace

    settings = replace(
        SHIP,
        teacher=replace(SHIP.teacher, teacher=str(labels)),
        running=Running(runs=runs),
        task=SMOKE_TASK,
        given=replace(SHIP.given, transfer=SMOKE_TRANSFER),
    )
    shipment = Shipment(settings, [Student(2, 128)])
    # Evaluations of the students alone: one a seed.
    assert len(shipment.evidence) == len(settings.seeds)
    assert {job.stage.kind for job in shipment.jobs()} >= {"label", "distill", "evaluate"}


def test_a_renamed_folder_is_refused(labels: Path, tmp_path: Path) -> None:
    other = tmp_path / "label-mine"
    other.symlink_to(labels)
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    (renamed / "stage.json").write_bytes((labels / "stage.json").read_bytes())
    assert are_stored(str(renamed))
    with pytest.raises(StoreError, match="under its own name"):
        soft_labels(str(renamed), SMOKE_TASK, SMOKE_TRANSFER, SHIP.given.label, Running(runs=tmp_path))
    assert not are_stored(SMOKE_TEACHER)
    assert not are_stored("google/bert_uncased_L-2_H-128_A-2")
