"""Models that are no BERT start a student: what the run says, and what it leaves."""

import json
from pathlib import Path

import pytest
from recipe_runs import run_here
from test_families import build

TASK = "--task.name mine --task.data train.csv --task.validation dev.csv --task.columns text"


@pytest.mark.parametrize("family", ["BART", "GPT-2"])
def test_a_start_of_another_family_is_trained_and_cut_rows_are_logged(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model, tokenizer = build(family)
    model.save_pretrained("start")
    tokenizer.save_pretrained("start")
    long = "a good film that is long"
    (tmp_path / "train.csv").write_text(f"text,label\n{long},pos\nbad,neg\ngood,pos\n{long} and bad,neg\n")
    (tmp_path / "dev.csv").write_text("text,label\ngood,pos\nbad,neg\n")
    options = f"--start.weights start {TASK} --epochs 1 --max-length 16 --running.runs runs".split()
    ran = run_here(capfd, "teacher", *options)
    assert ran.status == 0, ran.err
    longest = len(tokenizer(f"{long} and bad")["input_ids"])
    assert (
        f"2 of 4 training rows have more than 16 tokens and are cut; `max_length` {longest} keeps" in ran.out
    )
    assert "validation rows have more" not in ran.out
    (folder,) = (tmp_path / "runs").glob("finetune-*")
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 16
    assert json.loads((folder / "config.json").read_text())["pad_token_id"] == {"BART": 1, "GPT-2": 0}[family]
