"""Masked-LM pre-training: order of blocks, phases, schedules, the clock, and what is recorded."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import VOCABULARY, random_blocks, tiny_masked_lm, word_tokenizer
from transformers import TrainerCallback

from wellread_hf.data.tokens import Blocks
from wellread_hf.settings import Optim, Pretrain, Running
from wellread_hf.training.pretraining import (
    HeldOutBlocks,
    MlmTrainer,
    RunBlocks,
    TimeBudget,
    pretrain,
    unigram_loss,
)

RUN = "b" * 64


def _pretrain(
    folder: Path, phases: list[Blocks], running: Running | None = None, **settings: Any
) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    optim = Optim(**({"learning_rate": 1e-3, "batch_size": 8} | settings.pop("optim", {})))
    lengths = tuple(phase.ids.shape[1] for phase in phases)
    given = Pretrain(block_lengths=lengths, optim=optim, **({"dropout": 0.0} | settings))
    return pretrain(tiny_masked_lm(), word_tokenizer(), phases, given, running or Running(), folder, RUN)


def _log(folder: Path, key: str) -> list[float]:
    return [entry[key] for entry in json.loads((folder / "log.json").read_text()) if key in entry]


def test_every_training_block_comes_once_an_epoch_and_no_held_out_one_ever() -> None:
    blocks = Blocks(random_blocks(100, 16))
    assert len(blocks.train) + len(blocks.held_out) == 100
    count = len(blocks.train)
    data = RunBlocks([blocks], [3 * count], 1, seed=0)
    assert len(data) == 3 * count
    seen = [data[index] for index in range(len(data))]
    for epoch in range(3):
        part = seen[epoch * count : (epoch + 1) * count]
        assert {row["epoch"] for row in part} == {epoch}
        assert sorted(row["block"] for row in part) == list(blocks.train)
    orders = [[row["block"] for row in seen[start : start + count]] for start in (0, count)]
    assert orders[0] != orders[1]
    for row in seen[:5]:
        assert np.array_equal(row["input_ids"], blocks.ids[row["block"]])
    held_out = HeldOutBlocks(blocks)
    assert [held_out[index]["block"] for index in range(len(held_out))] == list(blocks.held_out)
    assert held_out[0]["epoch"] > 1_000_000


def test_phases_change_at_their_step_and_reach_the_model_with_their_length(tmp_path: Path) -> None:
    phases = [Blocks(random_blocks(60, 16)), Blocks(random_blocks(40, 32))]
    data = RunBlocks(phases, [3, 2], batch_size=8, seed=0)
    assert [len(data[index]["input_ids"]) for index in range(len(data))] == [16] * 24 + [32] * 16
    assert {data[index]["epoch"] for index in (0, 24)} == {0}  # each phase counts its own epochs
    outcome = _pretrain(tmp_path, phases, steps=10, phase_shares=(0.7, 0.3))
    assert outcome["steps"] == 10
    assert outcome["tokens"] == 8 * (7 * 16 + 3 * 32)
    assert outcome["train_blocks"] == [len(phase.train) for phase in phases]


def test_epochs_become_steps_by_the_blocks_of_each_phase(tmp_path: Path) -> None:
    blocks = Blocks(random_blocks(64, 16))
    outcome = _pretrain(tmp_path, [blocks], epochs=2.0)
    assert outcome["steps"] == round(2 * len(blocks.train) / 8)


def test_the_learning_rate_rises_and_falls_to_zero_linearly_or_along_a_cosine(tmp_path: Path) -> None:
    steps, warm = 20, 4
    after = (np.arange(steps) - warm) / (steps - warm)
    shapes = {"linear": 1 - after, "cosine": 0.5 * (1 + np.cos(np.pi * after))}
    for schedule, falling in shapes.items():
        expected = np.where(np.arange(steps) < warm, np.arange(steps) / warm, falling)
        _pretrain(
            tmp_path / schedule,
            [Blocks(random_blocks(40, 16))],
            steps=steps,
            optim={"schedule": schedule, "warmup": warm / steps},
        )
        logged = np.array(_log(tmp_path / schedule, "learning_rate")) / 1e-3
        assert len(logged) == steps
        # Logged after the scheduler's step (the rate of the next step) or before it, as versions go.
        assert any(
            np.allclose(logged, np.append(expected, 0)[shift : steps + shift], atol=1e-6) for shift in (0, 1)
        )


def test_the_clock_shapes_the_same_schedules() -> None:
    for schedule, middle in (("linear", 0.5), ("cosine", 0.5)):
        budget = TimeBudget(minutes=1e6, warmup=0.2, schedule=schedule, seconds_before=0.0)
        assert [budget.factor(share) for share in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx(
            [0.0, 0.5, 1.0, middle, 0.0], abs=1e-6
        )
    # A minute of which fifty seconds are gone, though few steps were made.
    budget = TimeBudget(minutes=1, warmup=0.1, schedule="linear", seconds_before=50.0)
    assert budget.factor(0.1) == pytest.approx(1 - (50 / 60 - 0.1) / 0.9, abs=0.01)


def test_a_run_of_so_many_minutes_ends_on_time_with_the_learning_rate_come_down(tmp_path: Path) -> None:
    started = time.monotonic()
    outcome = _pretrain(tmp_path, [Blocks(random_blocks(60, 16))], minutes=0.08)  # 4.8 s
    spent = time.monotonic() - started
    assert outcome["seconds_training"] == pytest.approx(4.8, abs=1.5)
    assert spent < 4.8 + 4
    rates = np.array(_log(tmp_path, "learning_rate"))
    assert rates.max() > 0.8e-3
    assert rates[-1] < 0.05e-3
    (planned,) = json.loads((tmp_path / "plan.json").read_text())
    assert outcome["steps"] <= planned


def test_checkpoints_come_every_so_many_steps_and_the_last_two_stay(tmp_path: Path) -> None:
    _pretrain(tmp_path, [Blocks(random_blocks(40, 16))], Running(checkpoint_steps=3), steps=10)
    found = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert found == ["checkpoint-10", "checkpoint-9"]
    for name in found:
        mark = json.loads((tmp_path / "checkpoints" / name / "complete.json").read_text())
        assert mark["run"] == RUN
        assert {"model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"} <= mark[
            "sizes"
        ].keys()


def test_the_unigram_loss_is_that_of_counting_by_hand() -> None:
    blocks = Blocks(random_blocks(50, 16))
    held_out = {int(index) for index in blocks.held_out}
    train: Counter[int] = Counter(range(VOCABULARY))  # add-one
    tested = []
    for number, row in enumerate(blocks.ids.tolist()):
        inner = row[1:-1]
        tested.extend(inner) if number in held_out else train.update(inner)
    total = sum(train.values())
    by_hand = -np.mean([np.log(train[word] / total) for word in tested])
    assert unigram_loss(blocks, VOCABULARY) == pytest.approx(by_hand, rel=1e-12)


def test_a_model_learns_word_frequencies_and_the_loss_on_held_out_blocks_comes_to_the_unigram_loss(
    tmp_path: Path,
) -> None:
    # Words here are independent, so their frequencies are all there is to learn.
    blocks = Blocks(random_blocks(300, 32))
    outcome = _pretrain(tmp_path, [blocks], steps=80, optim={"learning_rate": 5e-3, "batch_size": 16})
    assert _log(tmp_path, "eval_loss")[0] > outcome["unigram_loss"] + 0.5
    # Only forty positions are measured.
    assert outcome["held_out_loss"] == pytest.approx(outcome["unigram_loss"], abs=0.25)


def test_trackers_are_passed_through(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    _pretrain(tmp_path, [Blocks(random_blocks(40, 16))], Running(report_to=("tensorboard",)), steps=4)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_held_out_blocks_always_carry_the_same_masks(tmp_path: Path) -> None:
    losses: list[float] = []

    class Twice(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            losses.append(state.log_history[-1]["eval_loss"])

    from wellread_hf.training.arguments import training_arguments
    from wellread_hf.training.masking import MlmCollator

    trainer = MlmTrainer(
        model=tiny_masked_lm(),
        args=training_arguments(tmp_path, Optim(batch_size=8), Running(), 1, 0, 10),
        eval_dataset=HeldOutBlocks(Blocks(random_blocks(100, 16))),
        data_collator=MlmCollator(word_tokenizer(), seed=5),
        callbacks=[Twice()],
    )
    trainer.evaluate()
    trainer.evaluate()
    assert losses[0] == losses[1]
