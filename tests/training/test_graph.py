"""Stages as folders: what decides a digest, what is skipped, what a dry run leaves alone."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from launched import Recipes

from wellread_hf import stages
from wellread_hf.errors import StoreError
from wellread_hf.graph import Stage, carry_out, in_order
from wellread_hf.settings import Corpus, Optim, Pretrain, Running, Start, Task, Tuning


def _stage(root: Path, name: str, after: list[Stage] | None = None, calls: list[str] | None = None) -> Stage:
    def work(stage: Stage) -> Mapping[str, Any]:
        if calls is not None:
            calls.append(name)
        (stage.folder / "result").write_text(name)
        return {"name": name}

    return Stage(kind="test", name=name, root=root, identity={"name": name}, after=after or [], work=work)


def test_needs_come_first_and_each_stage_once(tmp_path: Path) -> None:
    first = _stage(tmp_path, "first")
    left, right = _stage(tmp_path, "left", [first]), _stage(tmp_path, "right", [first])
    twin = _stage(tmp_path, "left", [_stage(tmp_path, "first")])  # planned twice, one and the same stage
    last = _stage(tmp_path, "last", [right, left])
    assert [stage.name for stage in in_order([last, twin])] == ["first", "right", "left", "last"]


def test_finished_stages_are_skipped_and_half_done_ones_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    first = _stage(tmp_path, "first", calls=calls)
    second = _stage(tmp_path, "second", [first], calls)
    assert (first.state, second.state) == ("to do", "to do")
    carry_out([second])
    assert calls == ["first", "second"]
    assert second.record.outcome == {"name": "second"}
    assert second.record.inputs == {first.folder.name: first.digest}
    assert (first.state, second.state) == ("done", "done")
    carry_out([second])
    assert calls == ["first", "second"]
    assert "second: done already" in capsys.readouterr().out
    (second.folder / "stage.json").unlink()
    assert second.state == "half done"
    carry_out([second])
    assert calls == ["first", "second", "second"]
    assert not (second.folder / ".lock").exists()


def test_a_stage_that_fails_leaves_no_record_and_what_was_done_before_stays(tmp_path: Path) -> None:
    first = _stage(tmp_path, "first")

    def fail(stage: Stage) -> Mapping[str, Any]:
        (stage.folder / "half").write_text("a half")
        raise StoreError("no")

    second = Stage(kind="test", name="second", root=tmp_path, identity={}, after=[first], work=fail)
    with pytest.raises(StoreError):
        carry_out([second])
    assert (first.state, second.state) == ("done", "half done")
    with pytest.raises(StoreError, match="run the stage again"):
        _ = second.record


@pytest.fixture
def corpus(world: Path, tmp_path: Path) -> Corpus:
    shutil.copy(world / "corpus.txt", tmp_path / "corpus.txt")
    return Corpus(sources=(str(tmp_path / "corpus.txt"),), tokenizer=str(world / "tokenizer"))


def test_a_digest_changes_with_settings_and_content_and_with_nothing_else(
    corpus: Corpus, tmp_path: Path
) -> None:
    settings, running = Pretrain(steps=5), Running(runs=tmp_path / "runs")

    def digest(**changes: Any) -> str:
        given = {"settings": settings, "corpus": corpus, "running": running} | changes
        return stages.pretrain(**given).digest

    before = digest()
    assert digest() == before
    other_runs = Running(runs=tmp_path / "other", checkpoint_steps=7, report_to=("tensorboard",), workers=2)
    assert digest(running=other_runs) == before
    moved = tmp_path / "moved" / "corpus.txt"
    moved.parent.mkdir()
    shutil.copy(tmp_path / "corpus.txt", moved)
    assert digest(corpus=replace(corpus, sources=(str(moved),))) == before
    changed = [
        replace(settings, seed=1),
        replace(settings, steps=6),
        replace(settings, student="4-256"),
        replace(settings, block_lengths=(64,)),
        replace(settings, optim=Optim(learning_rate=2e-3)),
    ]
    digests = [digest(settings=one) for one in changed]
    moved.write_text(moved.read_text() + "one more line\n")
    digests.append(digest(corpus=replace(corpus, sources=(str(moved),))))
    assert len({before, *digests}) == len(changed) + 2


def test_a_digest_follows_the_stages_before_it(world: Path, corpus: Corpus, tmp_path: Path) -> None:
    running = Running(runs=tmp_path / "runs")
    task = Task(
        name="mine",
        data=f"{world}/task/train.jsonl",
        validation=f"{world}/task/validation.jsonl",
        columns=("sentence",),
    )

    def tuned(seed: int) -> Stage:
        encoder = stages.pretrain(Pretrain(steps=5, seed=seed), corpus, running)
        return stages.finetune(Start(weights=str(encoder.folder)), task, Tuning(), running, [encoder])

    assert tuned(0).digest == tuned(0).digest != tuned(1).digest
    assert tuned(0).folder.name.startswith("finetune-bert-2-128-mine-seed0-")


@pytest.mark.slow
def test_a_dry_run_prints_the_plan_and_writes_nothing(
    recipes: Recipes, pretrain_options: list[object], undisturbed_pretraining: Path, tmp_path: Path
) -> None:
    output = recipes.run("pretrain", *pretrain_options, "--running.runs", tmp_path / "runs", "--dry-run")
    assert not any(tmp_path.iterdir())
    settings = json.loads(output[: output.rindex("}") + 1])
    assert settings["pretrain"]["steps"] == 20
    plan = [line.split()[:-1] for line in output[output.rindex("}") + 1 :].strip().splitlines()]
    assert plan == [["to", "do", "pack"], ["to", "do", "pretrain"]]
    runs = undisturbed_pretraining.parent
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    done = recipes.run("pretrain", *pretrain_options, "--running.runs", runs, "--dry-run")
    assert done.splitlines()[-1].split() == ["done", "pretrain", str(undisturbed_pretraining)]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before
