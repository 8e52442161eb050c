"""Which export answers for a run."""

import os
from pathlib import Path

import pytest

from wellread_hf.errors import SourceError
from wellread_hf.serving.export_facts import positions_of
from wellread_hf.serving.exports import export_of_run, find_export
from wellread_hf.store.records import StageRecord


def _stage(runs: Path, name: str, kind: str, digest: str, second: int, **content) -> Path:
    folder = runs / name
    folder.mkdir()
    given = {"settings": {}, "outcome": {}, **content}
    StageRecord(
        kind=kind, name=name, digest=digest, inputs={}, seconds=1.0, versions={}, command="", **given
    ).write(folder)
    os.utime(folder / "stage.json", (second, second))
    return folder


def test_of_a_run_the_last_export_with_labels_answers(tmp_path: Path) -> None:
    run = _stage(tmp_path, "distill-mine-00", "distill", "00", 1)
    of = {"settings": {"model": "stage:00:."}}
    assert export_of_run(run) is None
    (run / "config.json").write_text("{}")
    with pytest.raises(SourceError, match="wellread export"):
        find_export(str(run))
    features = _stage(tmp_path, "export-mine-11", "export", "11", 5, **of, outcome={"kind": "features"})
    # Of an encoder there is nothing else.
    assert export_of_run(run) == features
    for second in (2, 3):
        last = _stage(
            tmp_path, f"export-mine-2{second}", "export", f"2{second}", second, **of, outcome={"kind": "x"}
        )
    _stage(tmp_path, "export-other-44", "export", "44", 9, settings={"model": "stage:55:."})
    assert export_of_run(run) == find_export(str(run)) == last
    # A folder that no stage made has no runs beside it.
    assert export_of_run(tmp_path) is None


@pytest.mark.parametrize(
    ("task", "advice"),
    [
        ({"name": "mrpc", "columns": []}, r"--task mrpc` writes one$"),
        ({"name": "mine", "columns": ["text"]}, r"--task mine` writes one, with the other settings of mine"),
    ],
)
def test_the_advice_names_the_task_that_a_run_was_taught(task: dict, advice: str, tmp_path: Path) -> None:
    run = _stage(tmp_path, "finetune-mine-00", "finetune", "00", 1, settings={"task": task})
    (run / "config.json").write_text("{}")
    with pytest.raises(SourceError, match=advice):
        find_export(str(run))


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        # transformers leaves out what is a class's default.
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "gpt2", "n_positions": 1_024}, 1_024),
        ({}, 512),
    ],
)
def test_positions_for_padding_are_not_counted(config: dict, positions: int) -> None:
    assert positions_of(config) == positions
