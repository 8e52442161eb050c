"""Sweeps in one process: what they choose, what they cost again, and what becomes of failures."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from recipe_runs import Ran, launch, recipe, run_here
from sweeps import boards, ended, options, results, rows, started, wait_for

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.glue_runs import GlueSettings
from wellread_hf.experiments.grid import Grid
from wellread_hf.experiments.planner import Given
from wellread_hf.experiments.sweep_settings import SMOKE, Engine, SweepSettings
from wellread_hf.results.trials import PLAN, read_trials
from wellread_hf.settings import Lora, Optim, Running, Tuning
from wellread_hf.store.records import StageRecord
from wellread_hf.store.stage import in_order


def _run(capfd: Any, *words: object) -> Ran:
    return run_here(capfd, "sweep", *words)


@pytest.mark.slow
def test_each_trial_is_a_row_and_the_best_mean_on_dev_is_chosen(undisturbed: Path) -> None:
    trials = rows(undisturbed)
    assert len(trials) == len({trial.digest for trial in trials}) == 8
    for trial in trials:
        record = StageRecord.read(undisturbed / trial.folder)
        assert record.digest == trial.digest
        assert trial.scores == record.outcome["validation"]
        assert trial.score == record.outcome["validation"][trial.metric]
        assert record.settings["tuning"]["optim"]["learning_rate"] == trial.learning_rate
        assert record.settings["tuning"]["seed"] == trial.seed
        assert trial.settings["tuning"] == record.settings["tuning"]
        assert trial.seconds > 0
    ((_, text),) = boards(undisturbed).items()
    board = json.loads(text)
    assert board["split"] == "dev"
    for task in ("sst2", "stsb"):
        means = {
            rate: mean(t.score or 0 for t in trials if (t.task, t.learning_rate) == (task, rate))
            for rate in (1e-3, 1e-4)
        }
        best = max(means, key=lambda rate: (means[rate], -rate))
        assert board["points"][task]["learning_rate"] == best
        metric = next(t.metric for t in trials if t.task == task)
        assert mean(board["scores"][task][metric]) == pytest.approx(100 * means[best])
        # The test rows of the chosen models are predicted, of the others they are not.
        for folder in board["runs"][task]:
            assert (undisturbed / folder / f"predictions-{task}-test.tsv").is_file()
    assert len(list(undisturbed.glob("predict-*"))) == 4
    # Rows are tokenised once for all trials: train, dev and test of two tasks.
    assert len(list((undisturbed / ".rows").glob("*.npz"))) == 6


@pytest.mark.slow
def test_a_finished_sweep_does_nothing_and_a_dry_run_says_so(
    undisturbed: Path, encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()}
    ran = _run(capfd, *options(encoder, undisturbed))
    assert ran.status == 0, ran.err
    assert "starts in" not in ran.out
    plan = _run(capfd, *options(encoder, undisturbed, "--dry-run"))
    assert (
        "trials: 8 (students 1 x tasks 2 x methods 1 x learning rates 2 x batch sizes 1 x seeds 2)"
        in plan.out
    )
    assert "of these done: 8" in plan.out
    assert "time: nothing is left to do" in plan.out
    after = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.slow
def test_a_wider_grid_reuses_what_is_done_and_estimates_the_rest(
    undisturbed: Path, encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nothing = _run(capfd, *options(encoder, tmp_path / "none", "--dry-run"))
    assert "time: not known until one of a kind is done (finetune 8)" in nothing.out
    assert not (tmp_path / "none").exists()
    other = _run(capfd, *options(encoder, undisturbed, "--methods", "pf", "basic", "--dry-run"))
    assert "8 of them scaled from others by size and rows" in other.out
    runs = tmp_path / "runs"
    shutil.copytree(undisturbed, runs)
    seconds = [StageRecord.read(runs / trial.folder).seconds for trial in rows(runs)]
    wider = options(encoder, runs, "--learning-rates", 1e-3, 1e-4, 3e-4)
    plan = _run(capfd, *wider, "--dry-run")
    assert "of these done: 8, to do: 4" in plan.out
    found = re.search(r"time: about (\d+) s for 4 stages left, one after another\n", plan.out)
    assert found, plan.out
    assert 4 * min(seconds) - 1 <= float(found[1]) <= 4 * max(seconds) + 1
    assert _run(capfd, *wider).status == 0
    assert sorted(len(read_trials(path.parent)) for path in runs.glob(f"sweep-*/{PLAN}")) == [8, 12]


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_gives_the_same_table(
    undisturbed: Path, encoder: Path, tmp_path: Path
) -> None:
    words = options(encoder, tmp_path)
    with started(*words) as process:
        wait_for(lambda: len(rows(tmp_path)) >= 4, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = ended(tmp_path)
    assert 4 <= len(before) < 8
    with started(*words) as process:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert results(tmp_path) == results(undisturbed)
    assert boards(tmp_path) == boards(undisturbed)
    assert ended(tmp_path).items() >= before.items()


@pytest.mark.long
@pytest.mark.slow
def test_ctrl_c_ends_with_one_line_and_a_second_sweep_is_refused_before(
    encoder: Path, tmp_path: Path
) -> None:
    words = options(encoder, tmp_path)
    with started(*words) as process:
        wait_for(lambda: rows(tmp_path), process)
        with started(*words) as second:
            _, err = second.communicate(timeout=120)
            assert second.returncode == 2
            assert f"is in use by process {process.pid} on {os.uname().nodename}" in err
            assert "Traceback" not in err
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "interrupted; the same command goes on from the last checkpoint" in err
        assert "Traceback" not in err


@pytest.mark.slow
def test_a_failed_trial_is_a_row_the_others_go_on_and_the_status_says_so(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = options(encoder, tmp_path, "--learning-rates", 1e-3, 1e30, "--tasks", "sst2", "--seeds", 1)
    ran = _run(capfd, *words)
    assert ran.status == 1
    assert "error: 1 of 2 trials failed, the first of all that failed is finetune-" in ran.err
    assert "Traceback" not in ran.err
    # What is there is shown all the same.
    assert re.search(r"│ bert-2-128 +│ pf +│ SST-2 .*│ 1 of 2 +│ 0 +│ 1 +│", ran.out)
    good, bad = rows(tmp_path)
    assert (good.state, good.error) == ("done", None)
    assert (bad.state, bad.score) == ("failed", None)
    assert "loss" in str(bad.error)
    assert "\n" not in str(bad.error)
    ((_, board),) = boards(tmp_path).items()
    assert json.loads(board)["points"]["sst2"]["learning_rate"] == 1e-3
    # Only what failed is tried again.
    before = ended(tmp_path)
    assert _run(capfd, *words).status == 1
    assert ended(tmp_path) == before
    shown = _run(capfd, *words, "--dry-run")
    assert "of these done: 1, half done: 1" in shown.out


@pytest.mark.slow
def test_a_damaged_plan_is_written_anew(
    undisturbed: Path, encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(undisturbed, runs)
    (plan,) = runs.glob(f"sweep-*/{PLAN}")
    (plan.parent / "stage.json").unlink()
    plan.write_bytes(plan.read_bytes()[:500])
    assert _run(capfd, *options(encoder, runs)).status == 0
    assert results(runs) == results(undisturbed)


@pytest.mark.long
def test_a_trial_that_another_sweep_works_on_is_waited_for(encoder: Path, tmp_path: Path) -> None:
    long = ("--tasks", "sst2", "--seeds", 1, "--tuning.epochs", 40)
    with started(*options(encoder, tmp_path, *long, "--learning-rates", 1e-3)) as first:
        wait_for(lambda: list(tmp_path.glob("finetune-*/.lock")), first)
        with started(*options(encoder, tmp_path, *long)) as second:
            _, err = second.communicate(timeout=300)
            assert second.returncode == 0, err
            assert f"waits: {tmp_path}/finetune-" in err
            assert f"is in use by process {first.pid}" in err
        assert first.wait(60) == 0
    tables = [read_trials(path.parent) for path in tmp_path.glob(f"sweep-*/{PLAN}")]
    assert sorted(map(len, tables)) == [1, 2]
    assert {trial.state for table in tables for trial in table} == {"done"}


@pytest.mark.slow
def test_what_others_start_from_is_never_stopped_early(encoder: Path, tmp_path: Path) -> None:
    glue = replace(SMOKE.glue, given=Given(weights=str(encoder)), from_mnli=True)
    settings = SweepSettings(
        tasks="mnli,rte",
        learning_rates=(1e-3,),
        batch_sizes=(8,),
        seeds=1,
        glue=glue,
        running=Running(runs=tmp_path),
    )
    grid = Grid(settings)
    compared = {trial.task: grid.job(grid.stages[digest]).compared for digest, trial in grid.trials.items()}
    assert compared == {"mnli": None, "rte": "bert-2-128 rte pf"}


@pytest.mark.slow
def test_several_processes_are_refused(tmp_path: Path) -> None:
    ran = launch(2, recipe("sweep"), "--preset", "smoke", "--running.runs", tmp_path)
    assert ran.status != 0
    assert ran.err.count("each run is trained in one process: expected one, got 2") == 1
    assert "take --engine ray" in ran.err


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"students": ()}, "one or more"),
        ({"learning_rates": (1e-3, 1e-3)}, "each once"),
        ({"seeds": 0}, "at least 1, got 0"),
        ({"glue": GlueSettings(tuning=Tuning(optim=Optim(batch_size=9)))}, "a sweep goes over it"),
        ({"glue": GlueSettings(from_mnli=True), "tasks": "rte"}, "add mnli"),
        ({"glue": GlueSettings(lora=Lora(lora_rank=4)), "methods": ("pf", "basic")}, "are random"),
    ],
)
def test_settings_that_make_no_grid_are_refused(changed: dict[str, Any], error: str) -> None:
    with pytest.raises(SettingsError, match=error):
        SweepSettings(**changed)


@pytest.mark.parametrize("name", ["asha", "address", "trial_gpus", "trial_cpus", "retries"])
def test_options_of_ray_need_ray(name: str) -> None:
    value: Any = {"asha": True, "address": "auto", "retries": 0}.get(name, 1.0)
    with pytest.raises(SettingsError, match=f"`{name}`: expected with .* add `engine` ray"):
        Engine(**{name: value})
    assert Engine(engine="ray", **{name: value})
    with pytest.raises(SettingsError, match="whole number of them"):
        Engine(engine="ray", trial_gpus=1.5)


def test_two_names_of_one_student_are_one_run(tmp_path: Path, encoder: Path) -> None:
    settings = SMOKE
    with pytest.raises(SettingsError, match="each once, got 2-128 tiny"):
        Grid(replace(settings, students=("2-128", "tiny")))
    one_for_all = replace(settings.glue, given=Given(weights=str(encoder)), from_mnli=False)
    with pytest.raises(SettingsError, match=r"put \{student\}"):
        Grid(replace(settings, students=("2-128", "4-256"), methods=("pf",), glue=one_for_all))


def test_what_trials_share_is_planned_once() -> None:
    settings = SMOKE
    grid = Grid(replace(settings, methods=("basic", "pf", "pd", "distillation")))
    assert len(grid.trials) == 16
    kinds = [stage.kind for stage in in_order([*grid.stages.values()])]
    # One pre-training, one labelling a task, whatever the number of trials.
    assert (kinds.count("pretrain"), kinds.count("label")) == (1, 2)
