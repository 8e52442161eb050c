"""Pruning as a stage: what is pruned is a model for all other stages."""

from pathlib import Path

import pytest

from wellread_hf import stages
from wellread_hf.errors import SettingsError
from wellread_hf.settings import Running
from wellread_hf.stages.presets import SMOKE_TASK, SMOKE_TEACHER
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


def test_text_is_needed(tmp_path: Path) -> None:
    for task, text in ((SMOKE_TASK, ()), (None, ("task",))):
        with pytest.raises(SettingsError, match="expected text to count pieces in"):
            stages.prune(SMOKE_TEACHER, task, text, None, Running(runs=tmp_path))
