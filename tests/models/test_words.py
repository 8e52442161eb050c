"""Words as pieces of any tokenizer, and what a model says of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_encoders import label_with
from tokenizers import ByteLevelBPETokenizer, Regex
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
    RobertaTokenizer,
)

from wellread_hf.errors import NotFiniteError, TokenizerError
from wellread_hf.labelling.soft_labels import SoftLabels, mean_logits, write_rows
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.models.encode import RowEncoder, encode, report_cut, row_encoder
from wellread_hf.models.encode_once import encode_once
from wellread_hf.models.infer import logits_in_order
from wellread_hf.models.words import tags_words
from wellread_hf.settings import Label

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.3,
    "num_labels": 3,
}
TEXT = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "naïve", "café"]
# An entity that no tokenizer has, a special token as a word, characters that WordPiece drops, a long word.
WORDS = [*TEXT, "quickfox", "[SEP]", "</s>", "\x07", "\u200b", "overlazydogs", "new york", "日本"]


def _wordpiece() -> Any:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TEXT, *(f"##{word}" for word in TEXT)]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, model_max_length=64)


def _bytes(folder: Path, blanks: bool = True) -> Any:
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator([" ".join(TEXT)] * 4, vocab_size=300, special_tokens=special)
    trained.save_model(str(folder))
    return RobertaTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), add_prefix_space=blanks
    )


@pytest.fixture(scope="module")
def bert() -> tuple[Any, RowEncoder]:
    return _model(BertForTokenClassification, BertConfig(vocab_size=30, **SIZES), _wordpiece(), 16)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, RowEncoder]:
    tokenizer = _bytes(tmp_path_factory.mktemp("bytes"))
    return _model(RobertaForTokenClassification, RobertaConfig(vocab_size=300, **SIZES), tokenizer, 48)


def _model(kind: Any, config: Any, tokenizer: Any, length: int) -> tuple[Any, RowEncoder]:
    torch.manual_seed(0)
    model = kind(config).eval()
    return model, row_encoder(model, tokenizer, length)


ROWS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(tuple), min_size=1, max_size=6)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(ROWS)
def test_a_word_is_where_its_first_piece_is(bert: Any, roberta: Any, rows: Any) -> None:
    for _, encoder in (bert, roberta):
        encoded = encode(rows, encoder)
        assert encoded.words is not None
        for row, words in enumerate(rows):
            # As transformers says for a row alone, word by word.
            alone = encoder.words([[words]], truncation=True, max_length=encoder.max_length)
            ids = alone.encodings[0].word_ids
            expected = [ids.index(word) if word in ids else -1 for word in range(len(words))]
            assert encoded.words.of(row).tolist() == expected
            assert encoded.row(row)["input_ids"].tolist() == alone["input_ids"][0]


@settings(derandomize=True, deadline=None, max_examples=20)
@given(ROWS)
def test_logits_are_those_of_each_row_alone(bert: Any, roberta: Any, rows: Any) -> None:
    for model, encoder in (bert, roberta):
        encoded = encode(rows, encoder)
        found = logits_in_order(model, encoded)
        assert found.counts.tolist() == [*map(len, rows)]
        for row in range(len(rows)):
            ids = torch.from_numpy(encoded.row(row)["input_ids"].astype(np.int64))[None]
            with torch.no_grad():
                alone = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy()
            first = encoded.words.of(row)
            np.testing.assert_allclose(found[row][first >= 0], alone[first[first >= 0]], atol=1e-5)
            assert np.isnan(found[row][first < 0]).all()


def test_words_that_are_cut_or_make_no_piece_are_counted(bert: Any, capsys: Any) -> None:
    _, encoder = bert
    encoded = encode([("fox", "\x07", "dogs"), tuple(TEXT * 3)], encoder)
    assert encoded.words is not None
    # [CLS] and [SEP] leave 14 of 30 words.
    assert encoded.words.unseen == 1 + 16
    report_cut(encoded, encoder, "training")
    assert "17 of 33 words of the training rows have no piece" in capsys.readouterr().out


def test_words_are_remembered_with_their_rows(bert: Any, tmp_path: Path) -> None:
    _, encoder = bert
    one, other = [("the", "fox"), ("dogs",)], [("the",), ("fox", "dogs")]
    for rows in (one, other, one):
        found, expected = encode_once(rows, encoder, tmp_path), encode(rows, encoder)
        assert found.words is not None
        assert expected.words is not None
        assert found.words.first.tolist() == expected.words.first.tolist()
        assert found.words.offsets.tolist() == expected.words.offsets.tolist()
    assert len(list(tmp_path.glob(".rows/*.npz"))) == 2


def test_a_store_keeps_what_is_said_of_each_word(bert: Any, roberta: Any, tmp_path: Path) -> None:
    """Whatever the tokenizer: rows of the teacher's pieces come back as rows of words."""
    draw = np.random.default_rng(0)
    rows = [tuple(draw.choice(WORDS, size=count)) for count in draw.integers(1, 30, size=50)]
    for model, encoder in (bert, roberta):
        folder = tmp_path / type(model).__name__
        folder.mkdir()
        label_with(model, encoder, rows, [2, 0, 1], Label(shard_rows=8), folder)
        stored = SoftLabels.open(folder)
        stored.check_belongs(rows)
        expected = logits_in_order(model, encode(rows, encoder)).values[:, [2, 0, 1]]
        assert isinstance(stored.logits, PerWord)
        assert stored.logits.counts.tolist() == [*map(len, rows)]
        np.testing.assert_allclose(stored.logits.values, expected, atol=1e-5)
    # Another teacher's, of other pieces, are of the same words: so they have a mean.
    both = [SoftLabels.open(folder) for folder in sorted(tmp_path.iterdir())]
    mean = mean_logits([store.logits for store in both], [0.5, 0.5])
    assert isinstance(mean, PerWord)
    write_rows(tmp_path, mean, both[0].hashes, 16)
    np.testing.assert_array_equal(SoftLabels.open(tmp_path).logits.values, mean.values)  # type: ignore[union-attr]
    unseen = [np.isnan(store.logits.values).any(axis=1) for store in both]  # type: ignore[union-attr]
    assert (np.isnan(mean.values).any(axis=1) == unseen[0] | unseen[1]).all()


def test_what_a_broken_model_says_is_no_word_without_a_piece(bert: Any) -> None:
    _, encoder = bert
    model, _ = _model(BertForTokenClassification, BertConfig(vocab_size=30, **SIZES), _wordpiece(), 16)
    model.classifier.bias.data[:] = np.nan
    with pytest.raises(NotFiniteError):
        logits_in_order(model, encode([("the", "fox")], encoder))


@pytest.mark.parametrize("in_steps", [False, True])
def test_a_word_has_the_pieces_that_it_has_in_a_text(tmp_path: Path, in_steps: bool) -> None:
    """Also where the tokenizer was saved without `add_prefix_space`, and after it is saved with a student."""
    tokenizer, stock = _bytes(tmp_path, blanks=False), _bytes(tmp_path)
    if in_steps:
        backend = tokenizer.backend_tokenizer
        parts = [Split(Regex(r" ?[^\s]+"), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
        backend.pre_tokenizer = Sequence(parts)
        roles = {name: getattr(tokenizer, name) for name in ("pad_token", "unk_token", "cls_token")}
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
    config = RobertaConfig(vocab_size=300, **SIZES)
    _, encoder = _model(RobertaForTokenClassification, config, tokenizer, 48)
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    rows = [tuple(TEXT), ("fox", "quickfox", "dogs"), ("the",)]
    encoded = encode(rows, encoder)
    assert encoded.words is not None
    expected = stock([list(row) for row in rows], is_split_into_words=True)
    again = saved([list(row) for row in rows], is_split_into_words=True)
    for row in range(len(rows)):
        assert encoded.row(row)["input_ids"].tolist() == expected["input_ids"][row] == again["input_ids"][row]
        ids = expected.word_ids(row)
        assert encoded.words.of(row).tolist() == [ids.index(word) for word in range(len(rows[row]))]
        # Those of a text, which begins without a blank there.
        text = stock(" ".join(rows[row]))["input_ids"]
        assert encoded.row(row)["input_ids"].tolist() == text


def test_a_slow_tokenizer_is_refused(bert: Any) -> None:
    class Slow(PreTrainedTokenizerFast):
        is_fast = False

    slow = Slow(tokenizer_object=_wordpiece().backend_tokenizer, pad_token="[PAD]")
    with pytest.raises(TokenizerError, match="expected a fast tokenizer"):
        row_encoder(bert[0], slow, 16)


def test_a_model_of_words_is_known_by_its_kind() -> None:
    class Own(BertForTokenClassification):
        pass

    assert tags_words(Own(BertConfig(vocab_size=30, **SIZES)))
    assert not tags_words(torch.nn.Linear(1, 1))


def test_an_array_of_words_is_indexed_by_rows() -> None:
    values, counts = np.arange(10), [3, 0, 5, 2]
    rows = PerWord.of(values, counts, ("a",))
    parts = np.split(values, np.cumsum(counts)[:-1])
    for chosen in (np.array([2, 0, 0, 3]), np.array([True, False, True, True]), slice(1, 3)):
        found = rows[chosen]
        expected = [parts[row] for row in np.arange(4)[chosen]]
        assert json.dumps([found[row].tolist() for row in range(len(found))]) == json.dumps(
            [part.tolist() for part in expected]
        )
        assert found.names == ("a",)
