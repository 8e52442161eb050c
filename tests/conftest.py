"""Fixtures that many tests share: a small toy world, its tokenizer, and the real data beside the checkout."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    """A toy world of a few seconds: corpus.txt, task/*.jsonl, pool.jsonl, tokenizer/, lexicon.json."""
    from wellread_hf.data.toy.world import SMOKE_WORLD, write_toy_world

    folder = tmp_path_factory.mktemp("toy")
    write_toy_world(folder, SMOKE_WORLD)
    return folder


@pytest.fixture(scope="session")
def toy_tokenizer(toy_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(toy_folder / "tokenizer")


@pytest.fixture(scope="session")
def place(tmp_path_factory, toy_folder, toy_tokenizer):
    """A folder with small good files and models, and with one bad thing of each kind."""
    from bad_input.place import make

    folder = tmp_path_factory.mktemp("place")
    make(folder, toy_folder, toy_tokenizer)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """The Hub is a port of this machine where nobody listens."""
    from huggingface_hub import constants
    from huggingface_hub.hf_api import HfApi

    asked = HfApi.repo_info
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        HfApi,
        "repo_info",
        lambda api, *args, **kwargs: asked(HfApi(endpoint="http://127.0.0.1:9"), *args, **kwargs),
    )


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and models; its tests are skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data: there is no folder {SHARED}")
    return SHARED
