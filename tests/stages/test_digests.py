"""Finished stages of users keep their digests: what an option at its default adds is not in them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wellread_hf.settings import Corpus, Distil, Precision, Pretrain, Running, Start, Task, Tuning
from wellread_hf.stages import finetune, pack, pretrain

# Of the version before there were next sentences and teachers of masked LMs.
PACK = "eafc70d131da7d7775ffc5a9438e643d9be2d7d0ee8e9ca05219944335782625"
PRETRAIN = "84caa31afa2d19a022df95142bb92b2dc5f272a13bde1300ee67ddfccb5cd88f"


def _corpus(folder: Path) -> Corpus:
    (folder / "corpus.txt").write_text("one text\nand another\n")
    (folder / "tokenizer").mkdir(exist_ok=True)
    (folder / "tokenizer/tokenizer_config.json").write_text("{}")
    return Corpus(sources=(str(folder / "corpus.txt"),), tokenizer=str(folder / "tokenizer"))


def test_pretraining_and_packing_have_the_digests_they_had(tmp_path: Path) -> None:
    corpus, running = _corpus(tmp_path), Running(runs=tmp_path / "runs")
    assert pack(corpus, 128, 0.15, running).digest == PACK
    assert pretrain(Pretrain(steps=7, seed=1), corpus, running).digest == PRETRAIN


def test_auto_precision_is_what_it_comes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    corpus, running = _corpus(tmp_path), Running(runs=tmp_path / "runs")

    def digest(precision: Precision) -> str:
        settings = Pretrain(steps=7, seed=1)
        optim = replace(settings.optim, precision=precision)
        return pretrain(replace(settings, optim=optim), corpus, running).digest

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert digest("auto") == PRETRAIN != digest("bf16")
    before = digest("bf16")
    # As on a GPU.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert digest("auto") == PRETRAIN
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert digest("auto") == digest("bf16") == before


@pytest.mark.parametrize(
    ("changes", "version"),
    [({}, 2), ({"multi_label": True}, 2), ({"labels": ("a", "b")}, 1), ({"regression": True}, 1)],
)
def test_results_of_guessed_classes_are_not_reused(tmp_path: Path, changes: Any, version: int) -> None:
    for name in ("train.csv", "dev.csv", "config.json"):
        (tmp_path / name).write_text("{}")
    data, validation = str(tmp_path / "train.csv"), str(tmp_path / "dev.csv")
    task = Task(name="mine", data=data, validation=validation, columns=("text",), **changes)
    stage = finetune(Start(weights=str(tmp_path)), task, Tuning(), Running(runs=tmp_path))
    # 2 more: the weights are none of our own stages'.
    assert stage.version == version + 2


def test_what_is_asked_for_changes_them(tmp_path: Path) -> None:
    corpus, running = _corpus(tmp_path), Running(runs=tmp_path / "runs")
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher/config.json").write_text("{}")
    teacher = str(tmp_path / "teacher")
    chosen = [
        Pretrain(steps=7, seed=1),
        Pretrain(steps=7, seed=1, next_sentence=True),
        Pretrain(steps=7, seed=1, distil=Distil(teacher=teacher)),
        Pretrain(steps=7, seed=1, distil=Distil(teacher=teacher, temperature=1)),
    ]
    assert len({pretrain(settings, corpus, running).digest for settings in chosen}) == 4
    assert pack(corpus, 128, 0.15, running, documents=True).digest != PACK
