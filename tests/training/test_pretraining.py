"""Masked-LM pre-training: order of blocks, phases, schedules, the clock, and what is recorded."""

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SPECIAL, VOCABULARY, random_blocks, tiny_masked_lm, word_tokenizer
from transformers import TrainerCallback, TrainerControl, TrainerState

from wellread_hf.data.packing import Blocks
from wellread_hf.settings import Distil, Optim, Pretrain, Running
from wellread_hf.training.arguments import training_arguments
from wellread_hf.training.callbacks import Progress
from wellread_hf.training.distilbert import LearntFromTeacher
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.pretraining import HeldOutBlocks, MlmTrainer, RunBlocks, pretrain, unigram_loss
from wellread_hf.training.time_budget import ENDLESS, TimeBudget

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


def _budget(folder: Path, share: float, data: Any = None, **settings: Any) -> TimeBudget:
    """A budget of a hundred hours, of which `share` is gone."""
    optim = Optim(warmup=0.2, schedule=settings.pop("schedule", "linear"))
    given = Pretrain(minutes=6_000, optim=optim, **settings)
    return TimeBudget(given, data, folder, seconds_before=share * 360_000, evaluations=20)


def test_the_clock_shapes_the_same_schedules(tmp_path: Path) -> None:
    for schedule, late in (("linear", 0.25), ("cosine", 0.5 * (1 + np.cos(0.75 * np.pi)))):
        due = {0.0: 0.0, 0.1: 0.5, 0.2: 1.0, 0.6: 0.5, 0.8: late, 1.0: 0.0, 1.5: 0.0}
        found = [_budget(tmp_path, share, schedule=schedule).factor(0) for share in due]
        assert found == pytest.approx(list(due.values()), abs=1e-4)


def test_by_the_clock_the_bar_shows_the_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    budget = _budget(tmp_path, 0.75)
    progress, state, control = Progress("pretrain-x", budget), TrainerState(), TrainerControl()
    state.max_steps = ENDLESS
    progress.on_train_begin(None, state, control)
    budget.factor(0)
    state.global_step = 1
    progress.on_step_end(None, state, control)
    progress.on_train_end(None, state, control)
    # A quarter of a hundred hours, but for the moments since.
    assert re.search(r"pretrain-x, 24:59:5\d left: 1 steps", capsys.readouterr().err)


def test_by_the_clock_a_phase_ends_after_the_batches_that_were_fetched_and_a_resume_sees_the_same_blocks(
    tmp_path: Path,
) -> None:
    def blocks() -> RunBlocks:
        phases = [Blocks(random_blocks(60, 16)), Blocks(random_blocks(40, 32))]
        return RunBlocks(phases, [ENDLESS, ENDLESS], batch_size=8, seed=0)

    data = blocks()
    early, late = (
        _budget(tmp_path, share, data, block_lengths=(16, 32), phase_shares=(0.5, 0.5))
        for share in (0.4, 0.6)
    )
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    lengths = [len(data[index]["input_ids"]) for index in range(21)]  # in the middle of the third batch
    for budget in (early, late):
        budget.factor(0)
        budget.on_step_end(None, state, control)
        assert not control.should_training_stop
        lengths.append(len(data[24]["input_ids"]))
        data.newest = 20
    assert lengths == [16] * 22 + [32]
    assert len(data[23]["input_ids"]) == 16
    assert data.tokens(5) == 8 * (3 * 16 + 2 * 32)
    resumed = blocks()
    _budget(tmp_path, 0.6, resumed, block_lengths=(16, 32), phase_shares=(0.5, 0.5))
    for index in (0, 23, 24, 40):
        assert np.array_equal(resumed[index]["input_ids"], data[index]["input_ids"])
    over = _budget(tmp_path, 1.0, data, block_lengths=(16, 32), phase_shares=(0.5, 0.5))
    over.factor(0)
    over.on_step_end(None, state, control)
    assert control.should_training_stop


def test_a_run_of_so_many_minutes_ends_on_time_with_the_learning_rate_come_down(tmp_path: Path) -> None:
    phases = [Blocks(random_blocks(60, 16)), Blocks(random_blocks(60, 32))]
    started = time.monotonic()
    # 4.8 s, of which the last quarter with longer blocks.
    outcome = _pretrain(tmp_path, phases, minutes=0.08, phase_shares=(0.75, 0.25))
    spent = time.monotonic() - started
    assert outcome["seconds_training"] == pytest.approx(4.8, abs=1.5)
    assert spent < 4.8 + 4
    assert outcome["steps"] * 8 * 16 < outcome["tokens"] < outcome["steps"] * 8 * 32
    rows = [row for row in json.loads((tmp_path / "log.json").read_text()) if "learning_rate" in row]
    # Every fiftieth step is logged: on the slowest machine none, else the later the lower after the warm-up.
    rates = [row["learning_rate"] for row in rows if row["step"] > 0.2 * outcome["steps"]]
    assert rates == sorted(rates, reverse=True)
    if rates:
        left = 1 - rows[-1]["step"] / outcome["steps"]
        assert rates[-1] < 1e-3 * (left + 0.35)
    assert len(_log(tmp_path, "eval_loss")) >= 5


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
    train: Counter[int] = Counter(range(len(SPECIAL), VOCABULARY))  # add-one
    tested = []
    for number, row in enumerate(blocks.ids.tolist()):
        ordinary = [word for word in row if word >= len(SPECIAL)]
        tested.extend(ordinary) if number in held_out else train.update(ordinary)
    total = sum(train.values())
    by_hand = -np.mean([np.log(train[word] / total) for word in tested])
    assert unigram_loss(blocks, word_tokenizer()) == pytest.approx(by_hand, rel=1e-12)


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


def test_a_teacher_in_the_objective_computes_as_the_student_does(tmp_path: Path) -> None:
    kinds = []
    student, teacher = tiny_masked_lm(0), tiny_masked_lm(1)
    inside = teacher.bert.encoder.layer[0].intermediate.dense
    inside.register_forward_hook(lambda module, given, states: kinds.append(states.dtype))
    trainer = MlmTrainer(
        model=student,
        args=training_arguments(tmp_path, Optim(batch_size=8, precision="bf16"), Running(), 1, 0, 10),
        eval_dataset=HeldOutBlocks(Blocks(random_blocks(16, 16))),
        data_collator=MlmCollator(word_tokenizer(), seed=5),
        objective=LearntFromTeacher(teacher, student, Distil(teacher="there")),
    )
    trainer.evaluate()
    assert set(kinds) == {torch.bfloat16}


def test_held_out_blocks_always_carry_the_same_masks(tmp_path: Path) -> None:
    losses: list[float] = []

    class Twice(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            losses.append(state.log_history[-1]["eval_loss"])

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
