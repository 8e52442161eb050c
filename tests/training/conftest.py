"""A tiny world, and recipes that run as processes of their own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from launched import Recipes
from transformers import AutoTokenizer

from wellread_hf.data.toy.world import ToyWorldSettings, write_toy_world


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    # For models this small a second thread costs more than it gives; and bits stay the same.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    settings = ToyWorldSettings(
        corpus_texts=600, train_rows=64, validation_rows=48, test_rows=48, pool_rows=1_500
    )
    write_toy_world(folder, settings)
    return folder


@pytest.fixture(scope="session")
def words(world: Path) -> Any:
    return AutoTokenizer.from_pretrained(world / "tokenizer")


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    return Recipes(tmp_path_factory.mktemp("output"))


@pytest.fixture(scope="session")
def pretrain_options(world: Path) -> list[object]:
    """Twenty steps of pre-training with dropout, a checkpoint every four."""
    return [
        *("--corpus.sources", world / "corpus.txt", "--corpus.tokenizer", world / "tokenizer"),
        *("--student", "2-128", "--steps", 20, "--block-lengths", 16, "--optim.batch-size", 8),
        *("--running.checkpoint-steps", 4),
    ]


@pytest.fixture(scope="session")
def undisturbed_pretraining(
    recipes: Recipes, pretrain_options: list[object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a pre-training that nothing happened to."""
    runs = tmp_path_factory.mktemp("undisturbed")
    recipes.run("pretrain", *pretrain_options, "--running.runs", runs)
    return only(runs, "pretrain-*")


def only(runs: Path, pattern: str) -> Path:
    """The one folder of a kind among runs."""
    (folder,) = runs.glob(pattern)
    return folder
