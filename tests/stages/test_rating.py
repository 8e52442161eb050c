"""The rate at which this machine pre-trains: timed by the trainer, the other depths from these."""

import wellread_hf.stages as stages
from wellread_hf.settings import Optim, Pretrain, Running
from wellread_hf.stages import rating
from wellread_hf.store.graph import carry_out
from wellread_hf.students import LAYERS, Student


def test_one_width_is_timed_at_both_ends_and_deeper_students_are_slower(tmp_path, monkeypatch):
    monkeypatch.setattr(rating, "_SECONDS", 0.1)
    settings = Pretrain(block_lengths=(16,), optim=Optim(batch_size=4))
    stage = stages.rate([Student(4, 128)], settings, Running(runs=tmp_path), vocabulary=100)
    carry_out([stage])
    found = stage.record.outcome
    assert {*found["seconds_a_step"]} == {"bert-2-128", "bert-12-128"}
    rates = found["tokens_per_second"]
    in_order = [rates.pop(f"bert-{layers}-128") for layers in LAYERS]
    assert not rates
    assert in_order == sorted(in_order, reverse=True)
    assert in_order[0] == 64 / found["seconds_a_step"]["bert-2-128"]


def test_the_deepest_that_is_timed_takes_seconds_a_step():
    timed = [student.name for student in rating._ends([128, 256, 512, 768], Pretrain(), 30_522)]
    assert timed == ["bert-2-128", "bert-12-128", "bert-2-256", "bert-8-256", "bert-2-512", "bert-2-768"]
