"""However the rows of a step are cut, training takes one trajectory."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_classifier, tiny_masked_lm
from torch.utils.data import Subset
from trajectories import BATCH, KINDS, STEPS, trainer_parts, trajectory
from transformers import Trainer, TrainingArguments

from wellread_hf.training.classifier import ClassifierTrainer

HERE = Path(__file__).parent
Trajectory = dict[str, np.ndarray]


def _assert_same(found: Trajectory, expected: Trajectory) -> None:
    assert len(found["losses"]) == STEPS
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=2e-5)
    np.testing.assert_allclose(found["grad_norms"], expected["grad_norms"], rtol=2e-4)
    for name, weights in expected.items():
        np.testing.assert_allclose(found[name], weights, atol=2e-4, err_msg=name)


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trajectory]:
    return {kind: trajectory(kind, None, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    # Where there is no GPU, `--multi_gpu` is what makes accelerate start two processes: `--cpu` starts one.
    options = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    subprocess.run(
        [
            sys.executable,
            *("-m", "accelerate.commands.launch", *options.split(), "--main_process_port", "0"),
            str(HERE / "trajectories.py"),
            str(folder),
        ],
        check=True,
        timeout=600,
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "True"}
        | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path])},
    )
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_eight_rows_four_times_train_like_thirty_two_at_once(
    kind: str, at_once: dict[str, Trajectory], tmp_path: Path
) -> None:
    accumulated = trajectory(kind, 8, tmp_path)
    _assert_same(accumulated, at_once[kind])
    assert accumulated["losses"][-1] != accumulated["losses"][0]  # the weights did move


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_of_sixteen_rows_train_like_one_of_thirty_two(
    kind: str, at_once: dict[str, Trajectory], two_processes: Path
) -> None:
    found = dict(np.load(two_processes / f"{kind}.npz"))
    assert found.pop("processes") == 2
    _assert_same(found, at_once[kind])


def _plain(folder: Path, micro: int, steps: int = 1, **more: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=BATCH // micro,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **({"max_steps": steps} | more),
    )


@pytest.mark.parametrize("kind", ["mlm", "finetune"])
def test_the_stock_trainer_and_head_inflate_the_loss_by_the_accumulation_steps(
    kind: str, tmp_path: Path
) -> None:
    _, parts = trainer_parts(kind)
    if kind == "mlm":
        collate = parts["data_collator"]

        def dense(rows: list[dict[str, Any]]) -> dict[str, Any]:
            batch = collate(rows)
            labels = batch["input_ids"].new_full(batch["input_ids"].shape, -100)
            labels.scatter_(1, batch["positions"], batch["labels"])
            return {"input_ids": batch["input_ids"], "labels": labels}

        parts["data_collator"] = dense
    logged = {}
    for micro in (32, 8):
        parts["model"] = tiny_masked_lm() if kind == "mlm" else tiny_classifier(num_labels=3)
        trainer = Trainer(args=_plain(tmp_path, micro), **parts)
        trainer.train()
        logged[micro] = trainer.state.log_history[0]
    if logged[8]["loss"] == pytest.approx(logged[32]["loss"], rel=1e-3):
        pytest.skip("this transformers counts rows itself: RowMeanTrainer's counting may go")
    assert logged[8]["loss"] == pytest.approx(4 * logged[32]["loss"], rel=1e-3)
    assert logged[8]["grad_norm"] == pytest.approx(4 * logged[32]["grad_norm"], rel=1e-3)


def test_a_last_step_of_fewer_rows_weighs_each_row_alike(tmp_path: Path) -> None:
    # 44 rows: a step of 32 and one of 12; in eights the last step is 8 + 4.
    logged = {}
    for micro in (32, 8):
        _, parts = trainer_parts("finetune")
        parts["train_dataset"] = Subset(parts["train_dataset"], range(44))
        arguments = _plain(tmp_path, micro, max_steps=-1, num_train_epochs=2)
        trainer = ClassifierTrainer(args=arguments, **parts)
        trainer.train()
        logged[micro] = [
            (entry["loss"], entry["grad_norm"]) for entry in trainer.state.log_history if "loss" in entry
        ]
    assert len(logged[32]) == 4
    np.testing.assert_allclose(logged[8], logged[32], rtol=1e-4)
