"""The whole job in one command: killed anywhere it goes on, and what nothing fits trains nothing."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from recipe_runs import run_here
from sweeps import started, wait_for

from wellread_hf.experiments import shipping
from wellread_hf.experiments.ship_settings import ShipSettings
from wellread_hf.settings import Budget
from wellread_hf.store.graph import carry_out
from wellread_hf.store.stage import Stage

SMOKE = ("--preset", "smoke", "--running.runs")


def _ended(runs: Path) -> dict[str, int]:
    """When each stage was recorded, in nanoseconds."""
    return {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("*/stage.json")}


def _record(runs: Path, kind: str) -> dict[str, Any]:
    (found,) = runs.glob(f"{kind}-*/stage.json")
    record: dict[str, Any] = json.loads(found.read_text())
    return record


@pytest.mark.slow
def test_where_nothing_fits_the_command_ends_before_anything_is_trained(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = (*SMOKE, tmp_path, "--students", "2-128", "--max-mb", 0.01)
    for _ in range(2):
        ran = run_here(capfd, "ship", *words)
        assert ran.status == 3, ran.out + ran.err
        assert "nothing fits" in ran.err
        assert "2-128" in ran.err
        assert [folder.name.partition("-")[0] for folder in tmp_path.iterdir() if folder.is_dir()] == [
            "budget"
        ]


def test_a_wrong_teacher_is_found_before_anything_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(capfd, "ship", *SMOKE, tmp_path, "--teacher", tmp_path / "nowhere")
    assert ran.status == 2, ran.out
    assert "nowhere" in ran.err
    assert not [*tmp_path.glob("budget-*")]


def test_weights_of_another_size_are_refused_before_anything_is_measured(
    tmp_path: Path, encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = (*SMOKE, tmp_path, "--weights", encoder, "--dry-run", "--students")
    assert run_here(capfd, "ship", *words, "2-128").status == 0
    ran = run_here(capfd, "ship", *words, "4-128", "2-128")
    assert ran.status == 2, ran.out
    assert "expected bert-4-128 there, got 2 layers 128 wide" in ran.err


@pytest.mark.long
def test_killed_anywhere_the_same_command_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_here(capfd, "ship", *SMOKE, whole).status == 0
    recorded: dict[str, int] = {}
    for begun in ("budget-*", "distill-*/checkpoints/*", "export-*", "measure-*", "ship-*/report.html"):
        with started(*map(str, (*SMOKE, killed)), recipe="ship") as process:
            wait_for(lambda begun=begun: any(killed.glob(begun)), process)
            process.send_signal(signal.SIGKILL)
            process.wait()
        now = _ended(killed)
        # Nothing that was finished is done again.
        assert recorded.items() <= now.items()
        recorded = now
    last = run_here(capfd, "ship", *SMOKE, killed)
    assert last.status == 0, last.err
    assert recorded.items() <= _ended(killed).items()
    picks = [_record(runs, "ship")["outcome"] for runs in (whole, killed)]
    assert [pick["fingerprint"] for pick in picks] == [picks[0]["fingerprint"]] * 2
    assert [pick["score"] for pick in picks] == [picks[0]["score"]] * 2
    plan = run_here(capfd, "ship", *SMOKE, killed, "--dry-run")
    assert "time: nothing is left to do" in plan.out


def test_a_size_that_fits_in_openvino_alone_is_not_shipped(tmp_path: Path) -> None:
    # The budget may be met in any format, but what is handed over is an export.
    places = [
        ("bert-2-128", "onnx-int8", 0.5),
        ("bert-4-128", "openvino", 0.5),
        ("bert-4-128", "onnx-fp32", 5.0),
    ]
    outcome = {
        "candidates": [
            {"model": name, "format": form, "bytes": 1e6, "latency": [{"p50_ms": ms}]}
            for name, form, ms in places
        ]
    }
    stage = Stage(kind="budget", name="64-tokens", root=tmp_path, identity={}, work=lambda _: outcome)
    carry_out([stage])
    chosen = shipping._chosen(ShipSettings(budget=Budget(max_ms=1)), stage)
    assert [student.name for student in chosen] == ["bert-2-128"]
