"""Pruning as a stage: what is pruned is a model for all other stages."""

from pathlib import Path

import pytest
from recipe_runs import run_here

from wellread_hf import stages
from wellread_hf.errors import SettingsError
from wellread_hf.settings import Running
from wellread_hf.stages.presets import SMOKE_ENCODER, SMOKE_TASK, SMOKE_TEACHER
from wellread_hf.store.graph import carry_out


def test_a_pruned_classifier_scores_what_it_did(tmp_path: Path) -> None:
    running = Running(runs=tmp_path)
    pruned = stages.prune(SMOKE_TEACHER, SMOKE_TASK, ("task", "toy:pool@smoke"), None, running)
    before = stages.evaluate(SMOKE_TEACHER, SMOKE_TASK, None, running)
    after = stages.evaluate(pruned, SMOKE_TASK, None, running)
    carry_out([before, after])
    outcome = pruned.record.outcome
    assert outcome["vocabulary"] < outcome["vocabulary_before"]
    assert outcome["parameters"] < outcome["parameters_before"]
    assert outcome["share_kept"] == 1
    assert outcome["rows_compared"] == 64
    # Validation rows have words that neither the training rows nor the pool have.
    held_out = outcome["held_out"]
    assert 0 <= held_out["unknown"] <= held_out["otherwise"] < 0.2
    assert (held_out["otherwise"] > 0) == bool(held_out["examples"])
    assert after.record.outcome["scores"] == before.record.outcome["scores"]


@pytest.mark.parametrize(
    ("model", "next_command"), [(SMOKE_TEACHER, "eval"), (SMOKE_ENCODER, "pf --weights")]
)
def test_the_next_command_suits_what_was_pruned(
    model: str, next_command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--task", "toy", "--task.data", "toy:task@smoke", "--runs", tmp_path)
    ran = run_here(capfd, "wellread prune", model, *words)
    assert ran.status == 0, ran.err
    assert f"{next_command} {next(tmp_path.glob('prune-*'))}" in ran.out


def test_text_is_needed(tmp_path: Path) -> None:
    for task, text in ((SMOKE_TASK, ()), (None, ("task",))):
        with pytest.raises(SettingsError, match="expected text to count pieces in"):
            stages.prune(SMOKE_TEACHER, task, text, None, Running(runs=tmp_path))
