"""Fixtures that many tests share: a small toy world, its tokenizer, and the real data beside the checkout."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    """A toy world of a few seconds: corpus.txt, task/*.jsonl, pool.jsonl, tokenizer/, lexicon.json."""
    from wellread_hf.data.toyworld import write_toy_world
    from wellread_hf.toy import SMOKE

    folder = tmp_path_factory.mktemp("toy")
    write_toy_world(folder, SMOKE)
    return folder


@pytest.fixture(scope="session")
def toy_tokenizer(toy_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(toy_folder / "tokenizer")


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and models; its tests are skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data: there is no folder {SHARED}")
    return SHARED
