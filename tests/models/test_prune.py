"""A pruned vocabulary: texts of kept pieces are cut alike and get the same numbers, to the bit."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_config
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from wellread_hf.errors import SettingsError, TokenizerError
from wellread_hf.models.prune import (
    count_pieces,
    kept_pieces,
    pruned_model,
    pruned_tokenizer,
    split_differently,
)
from wellread_hf.models.save import save_model

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcd"
PIECES = (
    *SPECIAL,
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    "ab",
    "abc",
    "##bc",
    "cd",
    "##cd",
    "dab",
)


def _tokenizer() -> Any:
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)}, model_max_length=32)


def _ids(tokenizer: Any, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])  # type: ignore[no-any-return]


words = st.text(LETTERS, min_size=1, max_size=8)
texts = st.lists(words, min_size=1, max_size=6).map(" ".join)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(texts, min_size=1, max_size=4), st.lists(texts, min_size=1, max_size=4))
def test_text_of_kept_pieces_is_cut_alike_and_other_text_is_never_unknown(
    read: list[str], others: list[str]
) -> None:
    tokenizer = _tokenizer()
    # Every letter is in the text that counts.
    used = count_pieces([(text,) for text in (*read, LETTERS)], tokenizer)
    kept = kept_pieces(used, tokenizer, None)
    smaller = pruned_tokenizer(tokenizer, kept)
    assert sorted(smaller.get_vocab().values()) == list(range(len(kept)))
    for text in read:
        assert _ids(smaller, text) == _ids(tokenizer, text)
    for text in others:
        assert "[UNK]" not in _ids(smaller, text)


@pytest.mark.parametrize(
    "kind", [BertForSequenceClassification, BertForMaskedLM, BertForPreTraining, "distilbert"]
)
def test_the_model_says_the_same_to_the_bit(kind: Any, tmp_path: Path) -> None:
    tokenizer = _tokenizer()
    torch.manual_seed(0)
    if kind == "distilbert":
        config = DistilBertConfig(vocab_size=len(PIECES), dim=32, n_layers=2, n_heads=2, hidden_dim=64)
        model: Any = DistilBertForSequenceClassification(config).eval()
    else:
        model = kind(tiny_config(vocab_size=len(PIECES))).eval()
        if kind is not BertForSequenceClassification:
            # A head's bias is zero until it is trained.
            model.cls.predictions.bias.data.normal_()
    kept = kept_pieces(count_pieces([("ab dab", "abc")], tokenizer), tokenizer, None)
    smaller, cut = pruned_model(model, kept), pruned_tokenizer(tokenizer, kept)
    save_model(smaller, cut, tmp_path)
    again, words = type(smaller).from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer(["ab", "dab ab"], ["abc", "ab"], padding=True, return_tensors="pt")
    others = words(["ab", "dab ab"], ["abc", "ab"], padding=True, return_tensors="pt")
    if kind == "distilbert":
        inputs.pop("token_type_ids", None)
        others.pop("token_type_ids", None)
    with torch.inference_mode():
        before, after = model(**inputs), again(**others)
    if "prediction_logits" in before:
        torch.testing.assert_close(after.prediction_logits, before.prediction_logits[..., kept])
    elif before.logits.ndim == 3:
        torch.testing.assert_close(after.logits, before.logits[..., kept])
    else:
        assert torch.equal(after.logits, before.logits)
    assert again.config.vocab_size == len(kept) < len(PIECES)
    assert again.config.pad_token_id == words.pad_token_id == 0


def test_the_number_of_pieces_is_kept_to() -> None:
    tokenizer = _tokenizer()
    used = count_pieces([("abc abc ab",), ("a b c d abcd",)], tokenizer)
    least = len(kept_pieces(Counter(), tokenizer, None))
    assert least == len(SPECIAL) + 2 * len(LETTERS)
    for most in range(least, len(PIECES) + 1):
        kept = kept_pieces(used, tokenizer, most)
        assert len(kept) == most
        # What is used most comes first.
        assert (tokenizer.convert_tokens_to_ids("abc") in kept) is (most > least)
    with pytest.raises(SettingsError, match=f"`vocabulary` 3: expected at least {least}"):
        kept_pieces(used, tokenizer, 3)


def test_words_that_are_split_differently_are_counted() -> None:
    tokenizer = _tokenizer()
    kept = kept_pieces(count_pieces([("abc abcd",)], tokenizer), tokenizer, None)
    found = split_differently(
        [("abc dab", "dab"), ("cd abc", "abc")], tokenizer, pruned_tokenizer(tokenizer, kept)
    )
    assert found == {"words": 6, "otherwise": 0.5, "unknown": 0.0, "examples": ["dab", "cd"]}
    letters = [tokenizer.convert_tokens_to_ids(piece) for piece in (*SPECIAL, "a", "abc")]
    found = split_differently([("abc dab",)], tokenizer, pruned_tokenizer(tokenizer, letters))
    assert (found["otherwise"], found["unknown"], found["examples"]) == (0.5, 0.5, ["dab"])


def test_unused_places_and_foreign_characters_come_last() -> None:
    pieces = ("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "語", "the", "of")
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    kept = kept_pieces(count_pieces([("a of",)], tokenizer), tokenizer, 9)
    assert {pieces[number] for number in kept} == {*SPECIAL, "a", "##a", "the", "of"}


def test_other_tokenizers_are_refused() -> None:
    bpe = Tokenizer(models.BPE(unk_token="[UNK]"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    bpe.train_from_iterator(["ab abc"], trainers.BpeTrainer(special_tokens=["[UNK]"], show_progress=False))
    with pytest.raises(TokenizerError, match="expected a WordPiece tokenizer, as BERT's, got BPE"):
        kept_pieces(Counter(), PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="[UNK]"), None)


def test_a_trained_teacher_loses_nothing_on_text_that_was_counted(shared: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    source = shared / "models/minilm-l6-sst2"
    (file,) = (shared / "data/glue/sst2").glob("validation-*.parquet")
    rows = pq.read_table(file)["sentence"].to_pylist()[:100]
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(source, dtype=torch.float32).eval()
    kept = kept_pieces(count_pieces([(row,) for row in rows], tokenizer), tokenizer, None)
    save_model(pruned_model(model, kept), pruned_tokenizer(tokenizer, kept), tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    words = AutoTokenizer.from_pretrained(tmp_path)
    assert len(words) < 1_200
    for row in rows[:20]:
        with torch.inference_mode():
            pair = [
                each(**cut(row, return_tensors="pt")).logits
                for each, cut in ((model, tokenizer), (again, words))
            ]
        assert torch.equal(*pair), row
