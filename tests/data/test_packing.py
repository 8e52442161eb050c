"""Packing: the ids are the stock tokenizer's, the file is whole or not there, memory stays flat."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from wellread_hf.data.documents import pack_documents
from wellread_hf.data.packing import (
    BLOCKS,
    Blocks,
    Packing,
    check_tokenizer,
    masked_positions_per_block,
    pack,
)
from wellread_hf.data.tokens import tokens_of
from wellread_hf.errors import DataError, StoreError, TokenizerError


def packed(texts, tokenizer, length, folder, masked=None):
    masked = masked_positions_per_block(length, 0.15) if masked is None else masked
    packing = pack(tokens_of(texts, tokenizer), tokenizer, length, masked, folder)
    return packing, Blocks.open(folder, packing).ids


def reference(texts, tokenizer, length, masked):
    """Blocks as the docstring of `pack` describes them, with the stock tokenizer one text at a time."""
    stream = []
    for text in texts:
        # A special token that somebody wrote is text.
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        stream += [*ids, tokenizer.sep_token_id] if ids else []
    inner = length - 2
    cut = [stream[start : start + inner] for start in range(0, len(stream) - inner + 1, inner)]
    blocks = [[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id] for ids in cut]
    special = set(tokenizer.all_special_ids)
    return [block for block in blocks if sum(id not in special for id in block) >= masked], len(stream)


@pytest.fixture(scope="session")
def corpus(toy_folder):
    return (toy_folder / "corpus.txt").read_text(encoding="utf-8").splitlines()


@settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), length=st.integers(8, 40))
def test_blocks_are_the_stock_tokenizers_ids_joined_by_separators(toy_tokenizer, data, length):
    known = sorted(set(toy_tokenizer.get_vocab()) - set(toy_tokenizer.all_special_tokens))
    words = st.sampled_from([*known[:30], "unheardof", "WAS", "!", "[MASK]", ""])
    texts = data.draw(st.lists(st.lists(words, max_size=30).map(" ".join), min_size=1, max_size=20))
    masked = masked_positions_per_block(length, 0.15)
    expected, tokens = reference(texts, toy_tokenizer, length, masked)
    with TemporaryDirectory() as folder:
        plain = toy_tokenizer(texts, add_special_tokens=False, split_special_tokens=True)
        ids = [id for row in plain["input_ids"] for id in row]
        # The backend remembers what the last call asked for.
        toy_tokenizer("", split_special_tokens=False)
        unknown = ids.count(toy_tokenizer.unk_token_id) > 0.75 * len(ids)
        if unknown or len(expected) < 2:
            with pytest.raises(DataError, match="does not fit the tokenizer" if unknown else "too short"):
                packed(texts, toy_tokenizer, length, Path(folder))
            return
        packing, ids = packed(texts, toy_tokenizer, length, Path(folder))
        assert ids.tolist() == expected
        assert (packing.blocks, packing.tokens, packing.texts) == (len(expected), tokens, len(texts))


def test_blocks_are_the_same_with_a_real_tokenizer_and_real_text(shared, tmp_path):
    import pyarrow.parquet as pq

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "bert-base-uncased")
    file = next((shared / "data" / "wikipedia_slice" / "default").glob("validation-*.parquet"))
    texts = pq.read_table(file)["text"].to_pylist()[:40]
    packing, ids = packed(texts, tokenizer, 128, tmp_path)
    expected, tokens = reference(texts, tokenizer, 128, 19)
    assert ids.tolist() == expected
    assert packing.tokens == tokens
    assert packing.dtype == "uint16"


def test_every_block_is_between_cls_and_sep_and_without_padding(toy_tokenizer, corpus, tmp_path):
    packing, ids = packed(corpus, toy_tokenizer, 32, tmp_path)
    assert ids.shape == (packing.blocks, 32)
    assert (ids[:, 0] == toy_tokenizer.cls_token_id).all()
    assert (ids[:, -1] == toy_tokenizer.sep_token_id).all()
    assert not np.isin(ids, [toy_tokenizer.pad_token_id, toy_tokenizer.mask_token_id]).any()
    assert (ids[:, 1:] != toy_tokenizer.cls_token_id).all()


def test_the_last_short_block_is_dropped(toy_tokenizer, corpus, tmp_path):
    packing, _ = packed(corpus, toy_tokenizer, 48, tmp_path)
    assert packing.tokens % 46 != 0
    assert packing.blocks == packing.tokens // 46


def test_the_file_is_what_the_record_says(toy_tokenizer, corpus, tmp_path):
    packing, ids = packed(corpus, toy_tokenizer, 32, tmp_path)
    raw = (tmp_path / BLOCKS).read_bytes()
    assert packing.sha256 == hashlib.sha256(raw).hexdigest()
    assert len(raw) == ids.size * 2
    assert [path.name for path in tmp_path.iterdir()] == [BLOCKS]


def test_the_same_text_gives_the_same_file_and_another_text_another(toy_tokenizer, corpus, tmp_path):
    first, _ = packed(corpus, toy_tokenizer, 32, tmp_path)
    assert packed(iter(corpus), toy_tokenizer, 32, tmp_path)[0] == first
    assert packed(corpus[1:], toy_tokenizer, 32, tmp_path)[0].sha256 != first.sha256


def test_batches_leave_no_trace_in_the_blocks(toy_tokenizer, corpus, tmp_path):
    # 1,000,000 characters are tokenised at once; these are two such batches.
    texts = corpus * 14
    assert 1_100_000 < sum(map(len, texts)) < 3_000_000
    _, once = packed(corpus, toy_tokenizer, 32, tmp_path)
    stream = np.array(reference(corpus, toy_tokenizer, 3, 0)[0])[:, 1]
    _, ids = packed(texts, toy_tokenizer, 32, tmp_path)
    expected = np.tile(stream, 14)[: len(ids) * 30].reshape(-1, 30)
    assert len(ids) > 13 * len(once)
    assert (ids[:, 1:-1] == expected).all()


def test_what_a_tokenizer_did_before_leaves_no_trace(toy_tokenizer, toy_folder, corpus, tmp_path):
    # A call with truncation or padding stays in a fast tokenizer, and is saved with it.
    texts = [" ".join(corpus[:40])] * 3
    expected, _ = packed(texts, toy_tokenizer, 32, tmp_path)
    used = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    used(texts, truncation=True, padding="max_length", max_length=16)
    used.save_pretrained(tmp_path / "saved")
    assert packed(texts, used, 32, tmp_path)[0] == expected
    loaded = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert loaded.backend_tokenizer.truncation is not None, "the trap is gone: this test shows nothing"
    assert packed(texts, loaded, 32, tmp_path)[0] == expected


def test_blocks_of_unknown_words_are_left_out_and_counted(toy_tokenizer, corpus, tmp_path):
    good = corpus[:20]
    unknown = ["quite unheard of " * 200]
    plain, ids = packed(good, toy_tokenizer, 16, tmp_path)
    mixed, kept = packed([*good, *unknown], toy_tokenizer, 16, tmp_path)
    assert plain.left_out == 0
    assert mixed.left_out > 40
    assert mixed.blocks + mixed.left_out == mixed.tokens // 14
    assert (kept[: len(ids)] == ids).all()
    ordinary = (~np.isin(kept, toy_tokenizer.all_special_ids)).sum(axis=1)
    assert ordinary.min() >= masked_positions_per_block(16, 0.15)


@pytest.mark.parametrize(
    "texts", [["привет мир, очень хорошо"] * 400, ["мир"] * 3, ["word мир мир мир мир " * 90]]
)
def test_a_corpus_of_unknown_words_is_refused_for_that_reason(toy_tokenizer, tmp_path, texts):
    for packing in (pack, pack_documents):
        with pytest.raises(
            DataError, match=r"the corpus does not fit .* unknown ones \(\[UNK\]\)"
        ) as refusal:
            packing(tokens_of(texts, toy_tokenizer), toy_tokenizer, 16, 2, tmp_path)
        assert "wellread tokenizer" in str(refusal.value)
    assert not any(tmp_path.iterdir())


def words_tokenizer(count):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *(f"w{n}" for n in range(count - 5))])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True)),
    )


@pytest.mark.parametrize(("count", "dtype"), [(1 << 16, "uint16"), ((1 << 16) + 1, "uint32")])
def test_ids_are_as_wide_as_the_vocabulary_needs(count, dtype, tmp_path):
    tokenizer = words_tokenizer(count)
    last = f"w{count - 6}"
    packing, ids = packed([f"w0 {last} w1 "] * 20, tokenizer, 8, tmp_path)
    assert packing.dtype == ids.dtype.name == dtype
    assert int(ids.max()) == count - 1 == tokenizer.convert_tokens_to_ids(last)


@pytest.mark.parametrize("texts", [[], ["", " "], ["was"], ["was " * 30]])
def test_an_empty_or_too_short_corpus_is_refused_and_leaves_nothing(toy_tokenizer, texts, tmp_path):
    with pytest.raises(DataError) as refusal:
        packed(texts, toy_tokenizer, 32, tmp_path)
    message = str(refusal.value)
    assert "expected at least two blocks of 32 tokens" in message
    assert f"got {len(texts)} texts" in message
    assert "give more text or a smaller `block_lengths`" in message
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_without_mask_token_is_refused(toy_folder):
    tokenizer = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    check_tokenizer(tokenizer, "toy")
    for role in ("mask_token", "cls_token", "sep_token", "pad_token"):
        bare = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
        setattr(bare, role, None)
        with pytest.raises(TokenizerError) as refusal:
            check_tokenizer(bare, "some/name")
        message = str(refusal.value)
        assert message.startswith(f"some/name: expected a tokenizer with a {role}, got one without")
        assert "wellread tokenizer" in message


def test_a_slow_tokenizer_is_refused(tmp_path):
    from transformers import CanineTokenizer

    with pytest.raises(
        TokenizerError, match=r"some/name: expected a fast tokenizer .*, got a slow one; convert it"
    ):
        check_tokenizer(CanineTokenizer(), "some/name")


@pytest.mark.parametrize(("length", "count"), [(8, 1), (16, 2), (32, 5), (64, 10), (128, 19), (512, 77)])
def test_masked_positions_are_fifteen_in_a_hundred(length, count):
    assert masked_positions_per_block(length, 0.15) == round(0.15 * length) == count


def test_at_least_one_position_is_masked():
    assert masked_positions_per_block(8, 0.01) == 1


MEASURE = """
import resource, sys
from pathlib import Path
from transformers import AutoTokenizer
from wellread_hf.data.corpus import Source
from wellread_hf.data.packing import pack
from wellread_hf.data.tokens import Tokens, share_out
from wellread_hf.store.places import locate
corpus, tokenizer, folder = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(tokenizer)
source = Source.parse(corpus)
place = locate(source.name, "dataset", "corpus.sources")
beside = Path(folder, Path(corpus).stem)
shards = share_out(lambda: map(" ".join, source.texts(place)), tokenizer, beside, bool)
packing = pack(map(Tokens.read, shards), tokenizer, 32, 5, Path(folder))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, packing.texts)
"""


@pytest.mark.slow
def test_memory_is_flat_for_ten_times_the_corpus(toy_folder, corpus, tmp_path):
    peaks, counts = [], []
    # A long unknown word is cheap to tokenise, so that megabytes of text are read in seconds.
    text = "".join(f"{line} {'x' * 400}\n" for line in corpus)
    for times in (2, 20):
        path = tmp_path / f"{times}.txt"
        path.write_text(text * times, encoding="utf-8")
        measured = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path), str(toy_folder / "tokenizer"), str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        peaks.append(int(measured[0]))
        counts.append(int(measured[1]))
    assert counts == [len(corpus) * 2, len(corpus) * 20]
    assert path.stat().st_size > 19_000_000
    assert peaks[1] < 1.2 * peaks[0], f"{peaks} KiB"


@pytest.fixture
def store(toy_tokenizer, corpus, tmp_path):
    return tmp_path, packed(corpus, toy_tokenizer, 32, tmp_path)[0]


@pytest.mark.parametrize("change", [-1, -64, 1, None])
def test_a_file_of_the_wrong_size_is_refused(store, change):
    folder, packing = store
    raw = (folder / BLOCKS).read_bytes()
    if change is None:
        (folder / BLOCKS).unlink()
    else:
        (folder / BLOCKS).write_bytes(raw[:change] if change < 0 else raw + b"\0")
    found = 0 if change is None else len(raw) + change
    with pytest.raises(StoreError) as refusal:
        Blocks.open(folder, packing)
    message = str(refusal.value)
    assert f"expected {len(raw)} bytes as recorded, found {found}" in message
    assert "delete the folder, the next run packs the corpus again" in message


def blocks_of(count):
    return Blocks(np.zeros((count, 8), dtype=np.uint16))


@settings(derandomize=True, deadline=None)
@given(st.integers(2, 5_000) | st.sampled_from([199, 200, 201, 1_599, 1_600, 200_000, 200_200, 1_000_000]))
def test_held_out_and_train_share_no_block_and_leave_none_out(count):
    blocks = blocks_of(count)
    together = np.concatenate([blocks.held_out, blocks.train])
    assert np.array_equal(np.sort(together), np.arange(count))
    assert 1 <= len(blocks.held_out) <= 1_000
    assert len(blocks.train) >= len(blocks.held_out)


def test_one_block_in_two_hundred_is_held_out_of_a_large_corpus():
    assert blocks_of(10_000).held_out.tolist() == list(range(199, 10_000, 200))
    assert len(blocks_of(1_000_000).held_out) == 1_000


def test_the_mapped_file_cannot_be_written(store):
    folder, packing = store
    with pytest.raises(ValueError, match="read-only"):
        Blocks.open(folder, packing).ids[0, 0] = 1
    assert replace(packing, blocks=1) != packing
    assert isinstance(packing, Packing)


def test_the_stock_tokenizer_class_packs_alike(toy_folder, toy_tokenizer, corpus, tmp_path):
    vocabulary = toy_tokenizer.get_vocab()
    first, _ = packed(corpus, toy_tokenizer, 32, tmp_path)
    assert packed(corpus, BertTokenizer(vocab=vocabulary), 32, tmp_path)[0] == first
