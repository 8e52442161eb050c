"""A student that is grown before it is pre-trained, as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_runs import Ran, run_here
from transformers import AutoModelForMaskedLM, BertForMaskedLM, BertForPreTraining, BertTokenizer

from wellread_hf.models.grow import stacked, widened
from wellread_hf.models.masked_lm import new_masked_lm, new_pretraining
from wellread_hf.students import Student

SMALL = Student(2, 128)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Any) -> Path:
    """Small sources: with and without a next-sentence head, with other words and with other heads."""
    here = tmp_path_factory.mktemp("small")
    words = len(toy_tokenizer)
    new_masked_lm(SMALL, words, 0.1, seed=1).save_pretrained(here / "words")
    new_pretraining(SMALL, words, 0.1, seed=2).save_pretrained(here / "sentences")
    new_masked_lm(SMALL, words, 0.1, seed=1, toy=True).save_pretrained(here / "toy")
    narrow = SMALL.config(words, num_attention_heads=4)
    BertForMaskedLM(narrow).save_pretrained(here / "narrow-heads")
    for name in ("words", "sentences", "narrow-heads", "toy"):
        toy_tokenizer.save_pretrained(here / name)
    new_masked_lm(SMALL, words, 0.1, seed=1).save_pretrained(here / "other-words")
    backwards = {word: row for row, word in enumerate([*toy_tokenizer.get_vocab()][::-1])}
    BertTokenizer(vocab=backwards).save_pretrained(here / "other-words")
    return here


@pytest.fixture
def pretrain(
    place: Path,
    tmp_path: Path,
    toy_folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Ran]:
    """Runs recipes/pretrain.py among the sources."""
    monkeypatch.chdir(place)
    corpus = ("--corpus", toy_folder / "corpus.txt", "--tokenizer", toy_folder / "tokenizer")
    length = ("--steps", 2, "--block-lengths", 16, "--batch-size", 4)

    def run(*options: object) -> Ran:
        return run_here(capfd, "pretrain", *corpus, *length, *options, "--runs", tmp_path / "runs")

    return run


def _record(folder: Path) -> Any:
    return json.loads((folder / "stage.json").read_text())


def test_a_grown_student_is_made_first_and_then_pretrained_with_its_own_dropout(
    pretrain: Callable[..., Ran], tmp_path: Path, place: Path
) -> None:
    options = ("--student", "4-256", "--grow", "sentences", "--next-sentence", "--dropout", 0, "--seed", 3)
    # Two steps that move nothing show what training started from.
    ran = pretrain(*options, "--learning-rate", 1e-30)
    assert ran.status == 0, ran.err
    (init,), (trained,) = ((tmp_path / "runs").glob(f"{kind}-bert-4-256-*") for kind in ("init", "pretrain"))
    assert _record(init)["outcome"] | {"parameters": 0} == {
        "layers": [1, 2, 1, 2],
        "source_layers": 2,
        "source_width": 128,
        "new": [],
        "left_out": [],
        "parameters": 0,
    }
    assert _record(trained)["settings"]["start"] == f"stage:{_record(init)['digest']}:."
    assert _record(trained)["settings"]["dropout"] == 0.0
    model = BertForPreTraining.from_pretrained(trained)
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.1
    source = BertForPreTraining.from_pretrained(place / "sentences")
    expected = widened(stacked(source, 4), 256, seed=3).state_dict()
    for name, values in model.state_dict().items():
        torch.testing.assert_close(values, expected[name])


def test_without_next_sentences_the_head_for_them_is_left_out(
    pretrain: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = pretrain("--student", "2-256", "--grow", "sentences")
    assert ran.status == 0, ran.err
    (trained,) = (tmp_path / "runs").glob("pretrain-*")
    assert type(AutoModelForMaskedLM.from_pretrained(trained)) is BertForMaskedLM


def test_toys_grow_into_toys(pretrain: Callable[..., Ran], tmp_path: Path) -> None:
    ran = pretrain("--student", "4-256", "--grow", "toy", "--toy")
    assert ran.status == 0, ran.err
    (trained,) = (tmp_path / "runs").glob("pretrain-*")
    config = AutoModelForMaskedLM.from_pretrained(trained).config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (4, 16, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--student 2-128 --grow words", ("expected a smaller one", "none is smaller")),
        ("--student 4-128 --grow narrow-heads", ("heads of 64", "heads of 32", "bert-2-128 would do")),
        ("--student 4-128 --grow words --toy", ("heads of 4 ", "heads of 64", "toys of bert-2-128 would do")),
        ("--student 4-128 --grow nothing", ("--grow nothing",)),
        ("--student 4-128 --grow other-words", ("another vocabulary", "other-words")),
        ("--student 4-128 --grow words --weights words", ("--grow words", "leave out one of the two")),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_a_source_that_does_not_fit_is_refused_before_anything_is_packed(
    options: str, words: tuple[str, ...], pretrain: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = pretrain(*options.split())
    assert ran.status == 2
    (message,) = (line for line in ran.err.splitlines() if line.startswith("error: "))
    for word in words:
        assert word in message
    assert not list((tmp_path / "runs").glob("pack-*/blocks.bin"))
