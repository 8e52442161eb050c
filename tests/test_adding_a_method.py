"""The worked example of docs/adding-a-method.md, word for word: one file, one line, and it trains."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recipe_runs import ROOT, run_here

from wellread_hf.experiments.study.arms import Arm, Finding
from wellread_hf.experiments.study.catalogue import STUDIES
from wellread_hf.experiments.study.planning import Plan
from wellread_hf.experiments.study.study_settings import ON_TOY
from wellread_hf.settings import Objective, Running
from wellread_hf.training import methods
from wellread_hf.training.methods import METHODS, Method
from wellread_hf.training.methods.batch import DistillationBatch

PAGE = (ROOT / "docs" / "adding-a-method.md").read_text()
FILE, LINE, ARM, STUDY = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's file lies among the methods, its line has been added."""
    (tmp_path / "logit_mse.py").write_text(FILE)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    monkeypatch.setattr(methods, "METHODS", dict(METHODS))
    exec(LINE, {"METHODS": methods.METHODS, "Method": Method})
    yield
    sys.modules.pop("wellread_hf.training.methods.logit_mse", None)


@pytest.mark.usefixtures("added")
def test_the_example_is_what_it_says() -> None:
    from importlib import import_module

    row_losses = import_module(methods.METHODS["logit-mse"].module).row_losses
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    expected = ((student.detach().numpy() - teacher.numpy()) ** 2).mean(axis=1)
    found = row_losses(DistillationBatch(student, teacher), Objective())
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-6)
    same = row_losses(DistillationBatch(student, student.detach()), Objective())
    same.sum().backward()
    assert (same == 0).all()
    assert (student.grad == 0).all()


@pytest.mark.usefixtures("added")
def test_the_example_is_reached_by_its_name_and_trains(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (command,) = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    asked = command[command.index("--objective") :].split()
    for options in (asked, [*asked, "--objective.temperature", "5"], []):
        ran = run_here(capfd, "distill", *options, "--preset", "smoke", "--running.runs", tmp_path / "runs")
        assert ran.status == 0, ran.err
    losses = {
        json.dumps(json.loads((folder / "stage.json").read_text())["settings"]["objective"]): [
            entry["loss"] for entry in json.loads((folder / "log.json").read_text()) if "loss" in entry
        ]
        for folder in (tmp_path / "runs").glob("distill-*")
    }
    (mse, softer, soft) = (
        losses[key]
        for key in sorted(losses, key=lambda key: ("logit-mse" not in key, '"temperature": 5.0' in key))
    )
    # It knows no temperature.
    assert mse == softer
    assert mse != soft


@pytest.mark.usefixtures("added")
def test_the_example_takes_part_in_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(STUDIES, "methods", STUDIES["methods"])
    exec(
        ARM + STUDY,
        {"Arm": Arm, "Finding": Finding, "Objective": Objective, "replace": replace}
        | {"STUDIES": STUDIES, "METHODS": STUDIES["methods"]},
    )
    ran = run_here(
        capfd, "study", "methods", "--preset", "toy", "--dry-run", "--running.runs", tmp_path / "runs"
    )
    assert ran.status == 0, ran.err
    # With each student and seed.
    assert "\nmethods: 5 arms, 50 runs" in ran.out
    assert "\n  Logit MSE\n" in ran.out
    (study,) = Plan(replace(ON_TOY, studies=("methods",), running=Running(runs=tmp_path))).studies
    learnt = {
        run.stage.identity["objective"]["method"] for run in study.runs if run.arm.series == "Logit MSE"
    }
    assert learnt == {"logit-mse"}
    assert study.study.findings[-1].less == ("Logit MSE",)


def test_the_page_names_files_that_are_there_and_no_method_twice() -> None:
    for path in re.findall(r"`((?:wellread_hf|tests|recipes)/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).exists() or path.endswith("logit_mse.py"), path
    assert "logit-mse" not in METHODS
