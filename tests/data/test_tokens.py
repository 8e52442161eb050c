"""Text to ids: the backend's own, word by word or not; shards that processes share, one of them killed."""

import hashlib
import multiprocessing
import signal
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_text import ODD, odd_texts, odd_tokenizer
from tiny import word_tokenizer
from tokenizers import AddedToken, normalizers
from transformers import AutoTokenizer

from wellread_hf.data.documents import pack_documents
from wellread_hf.data.packing import BLOCKS, pack
from wellread_hf.data.tokens import Tokens, _reads_words, share_out, tokens_of

KINDS = {
    "lower case": {},
    "cased": {"do_lower_case": False},
    "accents kept": {"do_lower_case": True, "strip_accents": False},
    "Chinese in words": {"tokenize_chinese_chars": False},
}
# What stands where words meet is what could go wrong.
PIECES = st.sampled_from([*ODD, " ", "\n", "\t", ",", ".", "'", "-", '"', "(", ")"])
TEXTS = st.lists(
    st.lists(PIECES | st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=12).map(
        "".join
    ),
    max_size=6,
)


def expected_ids(texts, tokenizer):
    """What the backend makes of one text at a time."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    return [backend.encode(text, add_special_tokens=False).ids for text in texts]


def cut(texts, tokenizer):
    """The ids of each text."""
    parts = list(tokens_of(texts, tokenizer))
    if not parts:
        return []
    tokens = Tokens.joined(parts)
    return [row.tolist() for row in np.split(tokens.ids, np.cumsum(tokens.lengths)[:-1])]


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@settings(derandomize=True, deadline=None, max_examples=60)
@given(texts=TEXTS)
def test_word_by_word_gives_what_the_backend_gives_text_by_text(options, texts):
    tokenizer = odd_tokenizer(**options)
    assert _reads_words(tokenizer.backend_tokenizer)
    assert cut(texts, tokenizer) == expected_ids(texts, tokenizer)


def test_real_text_of_a_real_tokenizer_is_cut_as_the_backend_does(shared):
    import pyarrow.parquet as pq

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "bert-base-uncased")
    file = next((shared / "data" / "wikipedia_slice" / "default").glob("validation-*.parquet"))
    texts = pq.read_table(file)["text"].to_pylist()[40:100]
    assert cut(texts, tokenizer) == expected_ids(texts, tokenizer)


def _with_an_added_word():
    tokenizer = odd_tokenizer()
    tokenizer.add_tokens([AddedToken("walk talk", special=False)])
    return tokenizer


def _with_another_normalizer():
    tokenizer = odd_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


@pytest.mark.parametrize("make", [_with_an_added_word, _with_another_normalizer])
def test_other_tokenizers_are_not_taken_apart(make):
    tokenizer = make()
    assert not _reads_words(tokenizer.backend_tokenizer)
    texts = [*odd_texts(60), "we walk talk and walk, talk"]
    assert cut(texts, tokenizer) == expected_ids(texts, tokenizer)


def test_words_are_forgotten_when_they_are_too_many(monkeypatch):
    monkeypatch.setattr("wellread_hf.data.tokens._MOST_WORDS", 20)
    monkeypatch.setattr("wellread_hf.data.tokens._BATCH_CHARACTERS", 500)
    assert cut(odd_texts(80), odd_tokenizer()) == expected_ids(odd_texts(80), odd_tokenizer())


# Of blocks.bin as it was packed text by text, before there were shards and words.
PINNED = {
    (pack, True): "25ab8cc232e606120f8a836d30fa8255bded3cc4b9a3166fd3573d73789e4742",
    (pack, False): "e8a000c40a747ac541847a463003a53778862ce01d77a93eb9df002b875645b6",
    (pack_documents, True): "93f037b45724be7f99dfd747b0ca3f02b41887cfcc0488ca6bf9e2788812a95d",
    (pack_documents, False): "bfa038f837d849118d97d480bac4ce46b1d72a8becbd77725ed584a156c4e014",
}


@pytest.mark.parametrize("characters", [2_000, 4_000_000])
@pytest.mark.parametrize(("packer", "lower"), PINNED)
def test_blocks_are_the_same_bytes_as_ever_whatever_a_shard_holds(
    packer, lower, characters, tmp_path, monkeypatch
):
    monkeypatch.setattr("wellread_hf.data.tokens._SHARD_CHARACTERS", characters)
    tokenizer = odd_tokenizer(do_lower_case=lower)
    shards = share_out(lambda: odd_texts(400), tokenizer, tmp_path / "shards", bool)
    assert (len(shards) > 10) == (characters == 2_000)
    length = 24 if packer is pack else 17
    packer(map(Tokens.read, shards), tokenizer, length, 3, tmp_path)
    assert hashlib.sha256((tmp_path / BLOCKS).read_bytes()).hexdigest() == PINNED[packer, lower]


def packed_by_stages(source: Path, tokenizer: Path, runs: Path) -> None:
    from wellread_hf.data import tokens
    from wellread_hf.settings import Corpus, Running
    from wellread_hf.stages.encoders import pack
    from wellread_hf.store.graph import carry_out

    tokens._SHARD_CHARACTERS = 50_000
    corpus = Corpus(sources=(str(source),), tokenizer=str(tokenizer))
    carry_out([pack(corpus, 32, 0.15, Running(runs=runs), documents) for documents in (False, True)])


@pytest.mark.slow
def test_of_two_processes_one_is_killed_and_the_bytes_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("wellread_hf.data.tokens._SHARD_CHARACTERS", 50_000)
    word_tokenizer().save_pretrained(tmp_path / "tokenizer")
    source = tmp_path / "source.txt"
    source.write_text(
        "".join(
            " ".join(f"word{(row * 7 + place * place) % 55}" for place in range(row % 90)) + "\n"
            for row in range(10_000)
        )
    )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["wellread_hf.models.load", __name__])
    places = (source, tmp_path / "tokenizer", tmp_path / "shared")

    def shards():
        return len(list((tmp_path / "shared").glob("pack-32-*/checkpoints/*.tokens")))

    lost, left = (context.Process(target=packed_by_stages, args=places) for _ in range(2))
    lost.start()
    left.start()
    end = time.monotonic() + 300
    while shards() < 5:
        assert lost.is_alive(), "ended too early"
        assert time.monotonic() < end, "never began"
    lost.kill()
    lost.join()
    assert lost.exitcode == -signal.SIGKILL
    assert shards() < 45, "killed too late to show anything"
    left.join()
    assert left.exitcode == 0
    packed_by_stages(source, tmp_path / "tokenizer", tmp_path / "alone")
    alone = sorted((tmp_path / "alone").glob("pack-*/*"))
    assert len(alone) == 5, "two records, blocks of both, documents of one"
    together = tmp_path / "shared"
    assert sorted(together.glob("pack-*/*")) == [
        together / path.relative_to(tmp_path / "alone") for path in alone
    ]
    for path in (path for path in alone if path.suffix == ".bin"):
        assert (together / path.relative_to(tmp_path / "alone")).read_bytes() == path.read_bytes()


def test_what_a_killed_run_had_cut_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("wellread_hf.data.tokens._SHARD_CHARACTERS", 2_000)
    texts = odd_texts(200)

    def interrupted():
        yield from texts[:120]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        share_out(interrupted, odd_tokenizer(), tmp_path, bool)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.tokens")}
    assert len(kept) > 3
    shards = share_out(lambda: texts, odd_tokenizer(), tmp_path, bool)
    assert {path: path.stat().st_mtime_ns for path in shards[: len(kept)]} == kept
    tokens = Tokens.joined([Tokens.read(path) for path in shards])
    assert tokens.ids.tolist() == list(chain.from_iterable(expected_ids(texts, odd_tokenizer())))


def test_a_late_process_does_nothing_again(tmp_path):
    assert share_out(lambda: odd_texts(50), odd_tokenizer(), tmp_path / "gone", lambda: True) == []
    assert not (tmp_path / "gone").exists()
