"""Trials as tests want them: all of one kind but for what is named."""

from dataclasses import replace
from typing import Any

from wellread_hf.results.trials import Trial

TRIAL = Trial(
    digest="d0",
    folder="finetune-bert-2-128-sst2-seed0-0123456789ab",
    student="bert-2-128",
    task="sst2",
    method="pf",
    learning_rate=3e-4,
    batch_size=32,
    seed=0,
    state="done",
    metric="accuracy",
    score=0.8,
    scores={"accuracy": 0.8},
    steps=100,
    seconds=12.5,
    finished="2026-01-02T03:04:05+00:00",
    host="machine",
    device="cpu",
    error=None,
    settings={"epochs": 4.0, "lengths": [128]},
    versions={"torch": "2.13.0"},
)


def trial(number: int = 0, **changed: Any) -> Trial:
    """A trial with a digest of its own."""
    return replace(TRIAL, **{"digest": f"d{number}", **changed})
