"""Killed at any moment, the next run of the same command ends with the same bits."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launched import Recipes, Run
from tiny import bits

pytestmark = pytest.mark.slow

MARK = "complete.json"


def _any(runs: Path, pattern: str) -> Callable[[], bool]:
    return lambda: any(runs.glob(pattern))


def _went_on_at(output: str, steps: int) -> int:
    """The step that a run's progress bar started at."""
    return int(re.findall(rf"(\d+)/{steps} \[00:00<\?", output)[0])


def _folder(runs: Path, kind: str) -> Path:
    (folder,) = runs.glob(f"{kind}-*")
    return folder


def test_pretraining_killed_again_and_again_ends_with_the_same_bits(
    recipes: Recipes, pretrain_options: list[object], undisturbed_pretraining: Path, tmp_path: Path
) -> None:
    def start() -> Run:
        return recipes.start("pretrain", *pretrain_options, "--running.runs", tmp_path)

    def checkpoint(step: int) -> Path:
        return _folder(tmp_path, "pretrain") / "checkpoints" / f"checkpoint-{step}"

    # In mid-run.
    run = start()
    killed = run.signal_when(_any(tmp_path, f"pretrain-*/checkpoints/checkpoint-8/{MARK}"))
    assert killed == -signal.SIGKILL
    assert not (_folder(tmp_path, "pretrain") / "stage.json").exists()
    # Between checkpoint files, before the mark: the newest one does not count.
    (checkpoint(8) / MARK).unlink()
    run = start()
    run.signal_when(_any(tmp_path, f"pretrain-*/checkpoints/checkpoint-12/{MARK}"))
    assert _went_on_at(run.output, 20) == 4
    # A file that was cut off.
    optimizer = checkpoint(12) / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:1000])
    run = start()
    # Between "weights written" and "record written".
    run.signal_when(_any(tmp_path, "pretrain-*/model.safetensors"))
    assert _went_on_at(run.output, 20) == 8
    (_folder(tmp_path, "pretrain") / "stage.json").unlink(missing_ok=True)
    run = start()
    assert run.wait() == 0, run.output
    assert bits(_folder(tmp_path, "pretrain")) == bits(undisturbed_pretraining)
    assert not checkpoint(20).parent.exists()
    # The log is whole as well: every evaluation once, with the same losses.
    logs = [
        json.loads((folder / "log.json").read_text())
        for folder in (checkpoint(0).parents[1], undisturbed_pretraining)
    ]
    losses = [[(row["step"], row["eval_loss"]) for row in log if "eval_loss" in row] for log in logs]
    assert losses[0] == losses[1]


def test_a_record_that_was_not_written_makes_the_stage_run_again_to_the_same_bits(
    recipes: Recipes, pretrain_options: list[object], undisturbed_pretraining: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed_pretraining.parent, tmp_path / "runs")
    folder = tmp_path / "runs" / undisturbed_pretraining.name
    (folder / "stage.json").unlink()
    output = recipes.run("pretrain", *pretrain_options, "--running.runs", tmp_path / "runs")
    assert "pack 16: done already" in output
    assert _went_on_at(output, 20) == 0
    assert bits(folder) == bits(undisturbed_pretraining)


def test_control_c_ends_with_130_and_the_next_run_goes_on(
    recipes: Recipes, pretrain_options: list[object], undisturbed_pretraining: Path, tmp_path: Path
) -> None:
    options = [*pretrain_options, "--running.runs", tmp_path]
    run = recipes.start("pretrain", *options)
    status = run.signal_when(_any(tmp_path, f"pretrain-*/checkpoints/checkpoint-4/{MARK}"), signal.SIGINT)
    assert status == 130
    assert "Traceback" not in run.output
    assert "interrupted; the same command goes on" in run.output
    assert _went_on_at(recipes.run("pretrain", *options), 20) > 0
    assert bits(_folder(tmp_path, "pretrain")) == bits(undisturbed_pretraining)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_the_running_step_and_the_next_run_goes_on_from_it(
    recipes: Recipes,
    pretrain_options: list[object],
    undisturbed_pretraining: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    options = [*pretrain_options, "--running.runs", tmp_path]
    run = recipes.start("pretrain", *options)
    status = run.signal_when(_any(tmp_path, f"pretrain-*/checkpoints/checkpoint-4/{MARK}"), number)
    assert status == 128 + number
    assert "Traceback" not in run.output
    (line,) = [line for line in run.output.splitlines() if "ended by" in line]
    step = re.fullmatch(rf"ended by {number.name}; the same command goes on from step (\d+)", line)
    assert step is not None
    again = recipes.run("pretrain", *options)
    assert _went_on_at(again, 20) == int(step[1]) >= 4
    assert "not whole" not in again
    assert bits(_folder(tmp_path, "pretrain")) == bits(undisturbed_pretraining)


@pytest.fixture(scope="module")
def tuning_options(world: Path) -> list[object]:
    """An evaluation and a checkpoint every two steps, early stopping, and dropout."""
    files = [f"{world}/task/{split}.jsonl" for split in ("train", "validation", "test")]
    return [
        *("--start.weights", None, "--start.student", "2-128", "--start.tokenizer", world / "tokenizer"),
        *("--task.name", "mine"),
        *("--task.data", files[0], "--task.validation", files[1], "--task.test", files[2]),
        *("--task.columns", "sentence", "--epochs", 4, "--evaluations", 16, "--patience", 6),
        *("--max-length", 32, "--optim.batch-size", 8, "--optim.learning-rate", 1e-3),
    ]


@pytest.fixture(scope="module")
def undisturbed_tuning(
    recipes: Recipes, tuning_options: list[object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    recipes.run("teacher", *tuning_options, "--running.runs", runs)
    return _folder(runs, "finetune")


def test_fine_tuning_killed_twice_keeps_the_same_best_weights(
    recipes: Recipes, tuning_options: list[object], undisturbed_tuning: Path, tmp_path: Path
) -> None:
    options = [*tuning_options, "--running.runs", tmp_path]
    for step, number, status in ((4, signal.SIGKILL, -9), (8, signal.SIGTERM, 143)):
        run = recipes.start("teacher", *options)
        mark = f"finetune-*/checkpoints/checkpoint-{step}/{MARK}"
        assert run.signal_when(_any(tmp_path, mark), number) == status, run.output
    assert not (_folder(tmp_path, "finetune") / "stage.json").exists()
    assert _went_on_at(recipes.run("teacher", *options), 32) >= 8
    folder = _folder(tmp_path, "finetune")
    assert bits(folder) == bits(undisturbed_tuning)
    outcomes = [
        json.loads((path / "stage.json").read_text())["outcome"] for path in (folder, undisturbed_tuning)
    ]
    for outcome in outcomes:
        del outcome["seconds_training"]
    assert outcomes[0] == outcomes[1]


@pytest.fixture(scope="module")
def label_options(undisturbed_tuning: Path, tuning_options: list[object], world: Path) -> list[object]:
    task = tuning_options[tuning_options.index("--task.name") : tuning_options.index("--epochs")]
    return [
        *("--teacher", undisturbed_tuning, *task, "--label.max-length", 32, "--label.shard-rows", 20),
        *("--transfer.sources", "task", f"{world}/pool.jsonl,column=sentence", "--running.runs"),
    ]


@pytest.fixture(scope="module")
def undisturbed_labels(
    recipes: Recipes, label_options: list[object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    recipes.run("label", *label_options, runs)
    return _folder(runs, "label")


def _same_shards(folder: Path, whole: Path) -> None:
    shards = sorted(path.name for path in whole.glob("shard-*"))
    assert folder.name == whole.name
    assert shards == sorted(path.name for path in folder.glob("shard-*"))
    assert len(shards) == 79  # 64 + 1,500 rows in shards of 20
    for name in shards:
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_labelling_that_was_killed_goes_on_with_the_next_shard(
    recipes: Recipes, label_options: list[object], undisturbed_labels: Path, tmp_path: Path
) -> None:
    run = recipes.start("label", *label_options, tmp_path)
    shard = _any(tmp_path, "label-*/shard-00003-*.safetensors")
    assert run.signal_when(shard, signal.SIGTERM) == 143
    assert "ended by SIGTERM; the same command goes on from the last checkpoint" in run.output
    killed = _folder(tmp_path, "label")
    assert not (killed / "stage.json").exists()
    left = len(list(killed.glob("shard-*.safetensors")))
    assert left < 79
    recipes.run("label", *label_options, tmp_path)
    outcome = json.loads((killed / "stage.json").read_text())["outcome"]
    assert outcome["shards_reused"] == left
    _same_shards(killed, undisturbed_labels)


def test_two_runs_label_together_and_one_that_is_killed_loses_nothing(
    recipes: Recipes, label_options: list[object], undisturbed_labels: Path, tmp_path: Path
) -> None:
    lost = recipes.start("label", *label_options, tmp_path)

    def at_work() -> bool:
        return any(tmp_path.glob("label-*/shard-00003-*")) and any(tmp_path.glob("label-*/.shard-*.lock"))

    # Asleep with a claim, as far as can be caught from outside.
    while True:
        _when(at_work, lost)
        os.kill(lost.process.pid or 0, signal.SIGSTOP)
        if claims := list(tmp_path.glob("label-*/.shard-*.lock")):
            break
        os.kill(lost.process.pid or 0, signal.SIGCONT)
    folder = _folder(tmp_path, "label")
    begun = len(list(folder.glob("shard-*.safetensors")))
    assert begun < 79
    other = recipes.start("label", *label_options, tmp_path)
    # It makes all but what the first one claims, and waits for that.
    _when(lambda: len(list(folder.glob("shard-*.safetensors"))) >= 78, other)
    assert not (folder / "stage.json").exists()
    os.kill(lost.process.pid or 0, signal.SIGKILL)
    lost.wait()
    assert other.wait() == 0, other.output
    _same_shards(folder, undisturbed_labels)
    assert len(claims) == 1
    assert not list(folder.glob(".shard-*"))
    assert begun <= json.loads((folder / "stage.json").read_text())["outcome"]["shards_reused"] < 79


def _when(ready: Callable[[], bool], run: Run) -> None:
    while not ready():
        assert run.process.is_alive(), run.output
        time.sleep(0.001)
