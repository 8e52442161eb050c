"""Tokenised rows: equal to the stock tokenizer's, row by row and padded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_encoders import of_bert
from transformers import AutoTokenizer, DataCollatorWithPadding

from wellread_hf.models.encode import PadCollator, encode

WORDS = st.sampled_from(["was", "not", "never", "but", "although", "unheardof", "it", "", "!"])
TEXT = st.lists(WORDS, max_size=40).map(" ".join)
QUICK = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def stock(texts, tokenizer, max_length):
    # Lists of one: a second text that is empty is taken for none where it comes as a plain string.
    rows = [tokenizer(*([text] for text in row), truncation=True, max_length=max_length) for row in texts]
    return [{name: values[0] for name, values in row.items()} for row in rows]


@QUICK
@given(
    texts=st.lists(st.tuples(TEXT), min_size=1, max_size=8)
    | st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8),
    max_length=st.integers(8, 48),
)
def test_rows_are_the_stock_tokenizers(toy_tokenizer, texts, max_length):
    encoded = encode(texts, of_bert(toy_tokenizer, max_length))
    expected = stock(texts, toy_tokenizer, max_length)
    assert len(encoded) == len(texts)
    assert encoded.lengths.tolist() == [len(row["input_ids"]) for row in expected]
    for index, row in enumerate(expected):
        found = encoded.row(index)
        assert found.keys() == {"input_ids", "token_type_ids"}
        assert found["input_ids"].tolist() == row["input_ids"]
        assert found["token_type_ids"].tolist() == row["token_type_ids"]


@QUICK
@given(texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_batches_are_padded_like_the_stock_collator_pads(toy_tokenizer, texts):
    encoded = encode(texts, of_bert(toy_tokenizer, 64))
    found = PadCollator(encoded.pad_id)([encoded.row(index) for index in range(len(texts))])
    expected = DataCollatorWithPadding(toy_tokenizer)(stock(texts, toy_tokenizer, 64))
    assert found.keys() == set(expected)
    for name, values in expected.items():
        assert torch.equal(found[name], values)


def test_targets_are_stacked_beside_the_rows(toy_tokenizer):
    encoded = encode([("was",), ("was not never",)], of_bert(toy_tokenizer, 16))
    rows = [
        encoded.row(index) | {"labels": np.int64(index), "teacher_logits": np.array([index, 0.5], np.float32)}
        for index in range(2)
    ]
    batch = PadCollator(encoded.pad_id)(rows)
    assert batch["labels"].tolist() == [0, 1]
    assert batch["teacher_logits"].tolist() == [[0, 0.5], [1, 0.5]]
    assert batch["teacher_logits"].dtype == torch.float32
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_more_rows_than_are_tokenised_at_once_stay_in_order(toy_tokenizer):
    words = ["was", "was not", "was not never"]
    texts = [(words[index % 3],) for index in range(8_192 * 2 + 5)]
    encoded = encode(texts, of_bert(toy_tokenizer, 16))
    assert len(encoded) == len(texts)
    assert np.array_equal(encoded.lengths, 3 + np.arange(len(texts)) % 3)
    for index in (0, 8_191, 8_192, len(texts) - 1):
        assert encoded.row(index)["input_ids"].tolist() == toy_tokenizer(*texts[index])["input_ids"]


def test_a_model_without_segments_gets_none(toy_tokenizer):
    encoder = replace(of_bert(toy_tokenizer, 16), segments_from=0)
    encoded = encode([("was",), ("not it",)], encoder)
    assert encoded.segments is None
    assert encoded.row(0).keys() == {"input_ids"}
    batch = PadCollator(encoded.pad_id)([encoded.row(0), encoded.row(1)])
    assert batch.keys() == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("max_length", [8, 16, 128])
def test_real_pairs_are_cut_like_the_stock_tokenizer_cuts(shared, max_length):
    import pyarrow.parquet as pq

    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "bert-base-uncased")
    table = pq.read_table(next((shared / "data" / "glue" / "mrpc").glob("validation-*")))
    texts = list(zip(table["sentence1"].to_pylist(), table["sentence2"].to_pylist(), strict=True))[:100]
    encoded = encode(texts, of_bert(tokenizer, max_length))
    for index, row in enumerate(stock(texts, tokenizer, max_length)):
        assert encoded.row(index)["input_ids"].tolist() == row["input_ids"]
        assert encoded.row(index)["token_type_ids"].tolist() == row["token_type_ids"]
    assert encoded.lengths.max() <= max_length
