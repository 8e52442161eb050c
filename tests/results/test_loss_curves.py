"""What pre-trainings took to reach the same held-out loss."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wellread_hf.results.losses import reach_table
from wellread_hf.store.records import StageRecord


def _pretrained(
    root: Path, name: str, losses: Sequence[float], key: str = "eval_loss", **settings: Any
) -> Path:
    """A pre-training of 1,000 tokens and 100 seconds with evaluations at even distances."""
    folder = root / f"pretrain-{name}"
    folder.mkdir()
    marks = [{"step": 10 * (1 + place), key: loss} for place, loss in enumerate(losses)]
    # What else is minimised is part of the loss as a whole.
    log = [mark | {"eval_loss": mark[key] + (key != "eval_loss")} for mark in marks]
    (folder / "log.json").write_text(json.dumps(log))
    outcome = {
        "held_out_loss": losses[-1],
        "tokens": 1_000,
        "seconds_training": 100.0,
        "steps": 10 * len(losses),
    }
    StageRecord(
        kind=settings.pop("kind", "pretrain"), name=name, digest=name.ljust(64, "0"),
        settings={"packs": ["one"], "mask_share": 0.15} | settings, inputs={}, outcome=outcome, seconds=100.0,
        versions={}, command="",
    ).write(folder)  # fmt: skip
    return folder


def test_runs_are_compared_at_the_loss_that_all_reached(tmp_path: Path) -> None:
    folders = [
        _pretrained(tmp_path, "random", [7.0, 6.5, 6.0, 5.5, 5.0]),
        _pretrained(tmp_path, "grown", [5.4, 4.9, 4.8, 4.7, 4.6], "eval_mlm_loss"),
        _pretrained(tmp_path, "widened", [4.9, 4.8, 4.7, 4.6, 4.5]),
    ]
    table = reach_table(folders)
    assert table is not None
    assert list(table.head)[-2:] == ["tokens to 5.00", "seconds to 5.00"]
    # From 5.4 at 200 tokens to 4.9 at 400, in a straight line.
    assert [list(row)[-2:] for row in table.rows] == [
        ["1,000", "100"],
        ["360", "36"],
        ["at most 200", "at most 20"],
    ]


def test_losses_of_other_words_are_not_compared(tmp_path: Path) -> None:
    first = _pretrained(tmp_path, "first", [6.0, 5.0])
    others = [
        _pretrained(tmp_path, "text", [6.0, 5.0], packs=["two"]),
        _pretrained(tmp_path, "masks", [6.0, 5.0], mask_share=0.3),
        _pretrained(tmp_path, "task", [6.0, 5.0], kind="finetune"),
    ]
    assert [reach_table([first, other]) for other in others] == [None] * 3
    assert reach_table([first]) is None
