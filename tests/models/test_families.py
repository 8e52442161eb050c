"""Every family of models reads rows in batches as it reads each one alone: its config decides how."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from wellread_hf.errors import DataError, SourceError, TokenizerError
from wellread_hf.models.encode import encode, report_cut, row_encoder
from wellread_hf.models.infer import check_reads, logits_in_order
from wellread_hf.models.plain_text import PlainText
from wellread_hf.store.stage import Location

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDPIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "[", "]", "<", ">", "/"),
    *LETTERS,
    *("##" + letter for letter in LETTERS),
]
PIECES = [("▁" + word, -2.0) for word in ("good", "bad", "film")] + [(c, -6.0) for c in "▁[]</>" + LETTERS]
TEACHER = Location(name="t", revision=None, fingerprint="any", field="teacher")
SINGLES = [("good film",), ("bad",), ("a good film and a bad one",), ("x",)]
PAIRS = [("good film", "bad"), ("x", "a good film and a bad one"), ("bad film", "y z"), ("q", "r")]


def wordpiece() -> Any:
    return tf.BertTokenizer(vocab={word: index for index, word in enumerate(WORDPIECES)})


def generic(tokenizer: Any, **more: Any) -> Any:
    """The same words and template under a class that says nothing of the model."""
    roles = {
        r: getattr(tokenizer, r) for r in ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    }
    return tf.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **roles, **more)


def unigram(kind: Any, *specials: str, **more: Any) -> Any:
    return kind(vocab=[*((special, 0.0) for special in specials), *PIECES], **more)


def byte_level(specials: list[str], template: tuple[str, str] | None = None, **roles: str) -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate([*specials, *alphabet])}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(specials)
    if template:
        made.post_processor = processors.TemplateProcessing(
            single=template[0],
            pair=template[1],
            special_tokens=[(special, index) for index, special in enumerate(specials)],
        )
    return tf.PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def bytes_of_bart() -> Any:
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    template = ("<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], template, **roles, sep_token="</s>")


def bytes_of_gpt() -> Any:
    return byte_level(["<|end|>"], eos_token="<|end|>", pad_token="<|end|>")


ALBERT = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
XLNET = ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>")
BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
} | {
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "decoder_start_token_id": 2,
}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
# For each family: tokenizer, class, sizes, and whether it reads the texts of a pair apart by segments.
FAMILIES: dict[str, tuple[Any, str, dict[str, Any], bool]] = {
    "BERT": (wordpiece, "Bert", SIZE, True),
    "BERT of a generic tokenizer": (lambda: generic(wordpiece()), "Bert", SIZE, True),
    "ALBERT": (lambda: unigram(tf.AlbertTokenizer, *ALBERT), "Albert", SIZE | {"embedding_size": 16}, True),
    "ELECTRA": (lambda: generic(wordpiece()), "Electra", SIZE | {"embedding_size": 16}, True),
    "RoBERTa": (bytes_of_bart, "Roberta", SIZE | {"type_vocab_size": 1, "pad_token_id": 1}, False),
    "RoBERTa of a BERT's tokenizer": (
        wordpiece,
        "Roberta",
        SIZE | {"type_vocab_size": 1, "pad_token_id": 0},
        False,
    ),
    "DeBERTa": (wordpiece, "DebertaV2", SIZE | {"type_vocab_size": 0, "pad_token_id": 0}, False),
    "DistilBERT": (
        wordpiece,
        "DistilBert",
        {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
        False,
    ),
    "XLNet": (
        lambda: unigram(tf.XLNetTokenizer, *XLNET),
        "XLNet",
        {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
        True,
    ),
    "T5": (lambda: unigram(tf.T5Tokenizer, "<pad>", "</s>", "<unk>", extra_ids=0), "T5", T5, False),
    "BART": (bytes_of_bart, "Bart", BART | {"pad_token_id": 1, "eos_token_id": 2}, False),
    "GPT-2": (bytes_of_gpt, "GPT2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "pad_token_id": None}, False),
    "Llama": (bytes_of_gpt, "Llama", SIZE | {"num_key_value_heads": 2, "pad_token_id": None}, False),
}


def build(name: str) -> tuple[Any, Any]:
    make, kind, sizes, _ = FAMILIES[name]
    tokenizer = make()
    config = getattr(tf, f"{kind}Config")(
        vocab_size=len(tokenizer),
        **{"initializer_range": 0.5, "initializer_factor": 3.0, "num_labels": 3} | sizes,
    )
    torch.manual_seed(0)
    model = getattr(tf, f"{kind}ForSequenceClassification")(config).eval()
    return model, tokenizer


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> SimpleNamespace:
    model, tokenizer = build(request.param)
    encoder = row_encoder(model, tokenizer, 64)
    return SimpleNamespace(
        name=request.param,
        model=model,
        tokenizer=tokenizer,
        encoder=encoder,
        segments=FAMILIES[request.param][3],
    )


def alone(family: SimpleNamespace, row: tuple[str, ...], segments: bool) -> np.ndarray:
    batch = family.tokenizer(*row, return_tensors="pt", return_token_type_ids=segments)
    with torch.inference_mode():
        return np.asarray(family.model(**batch).logits[0])


@pytest.mark.parametrize("texts", [SINGLES, PAIRS], ids=["single", "pairs"])
def test_logits_of_rows_in_a_batch_are_those_of_each_row_alone(
    family: SimpleNamespace, texts: list[tuple[str, ...]]
) -> None:
    encoded = encode(texts, family.encoder)
    # XLNet knows two kinds of segments, but in a single text there is one.
    gives = family.segments and (len(texts[0]) == 2 or family.name != "XLNet")
    assert (encoded.segments is not None) == gives
    expected = np.stack([alone(family, row, gives) for row in texts])
    assert np.abs(expected - expected[0]).max() > 0.05
    np.testing.assert_allclose(logits_in_order(family.model, encoded), expected, atol=1e-4)
    if gives and len(texts[0]) == 2:
        assert (
            max(
                np.abs(alone(family, row, False) - found).max()
                for row, found in zip(texts, expected, strict=True)
            )
            > 0.05
        )


def ids_of(text: str, encoder: Any) -> list[int]:
    found: list[int] = encode([(text,)], encoder).row(0)["input_ids"].tolist()
    return found


def test_a_special_token_in_a_text_is_characters(family: SimpleNamespace) -> None:
    special = family.tokenizer.sep_token or family.tokenizer.eos_token
    number = family.tokenizer.convert_tokens_to_ids(special)
    plain, marked = ids_of("good film", family.encoder), ids_of(f"good {special} film", family.encoder)
    assert plain.count(number) == marked.count(number)
    assert len(marked) > len(plain) + 1
    check_reads(family.model, [("good film",), (f"good {special} film",)], family.encoder, TEACHER)


def test_padding_is_the_models_and_what_one_lacks_comes_from_the_other() -> None:
    model, tokenizer = build("GPT-2")
    assert row_encoder(model, tokenizer, 64).pad_id == model.config.pad_token_id == 0
    without = byte_level(["<|end|>"], eos_token="<|end|>")
    assert row_encoder(model, without, 64).pad_id == 0
    assert without.pad_token == "<|end|>"
    model.config.pad_token_id = 5
    assert row_encoder(model, tokenizer, 64).pad_id == 5
    model.config.pad_token_id = None
    with pytest.raises(TokenizerError, match="padding token"):
        row_encoder(model, byte_level(["<|end|>"], eos_token="<|end|>"), 64)


def test_words_that_somebody_made_special_are_still_found_in_texts() -> None:
    model, tokenizer = build("BERT")
    tokenizer.add_special_tokens({"additional_special_tokens": ["[x]"]})
    model.resize_token_embeddings(len(tokenizer))
    encoder = row_encoder(model, tokenizer, 64)
    as_ever = tokenizer("a [x] film")["input_ids"]
    assert tokenizer.convert_tokens_to_ids("[x]") in as_ever
    assert ids_of("a [x] film", encoder) == as_ever
    assert ids_of("a [x] film [SEP]", encoder)[: len(as_ever) - 1] == as_ever[:-1]
    assert ids_of("[SEP]", encoder) == tokenizer("[sep]")["input_ids"]


def test_a_row_of_no_token_is_refused_by_its_number() -> None:
    model, tokenizer = build("GPT-2")
    with pytest.raises(DataError, match="row 2: expected text, got none"):
        encode([("good",), ("",), ("bad",)], row_encoder(model, tokenizer, 64))


@pytest.mark.parametrize("name", ["XLNet", "T5", "DeBERTa"])
def test_positions_that_are_distances_limit_nothing(name: str) -> None:
    if name == "DeBERTa":
        distances = {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c"]}
        sizes = SIZE | distances | {"type_vocab_size": 0, "max_position_embeddings": 16, "vocab_size": 99}
        tokenizer, model = wordpiece(), tf.DebertaV2ForSequenceClassification(tf.DebertaV2Config(**sizes))
    else:
        model, tokenizer = build(name)
    encoder = row_encoder(model, tokenizer, 2_000)
    check_reads(model, [("good film " * 30,)], encoder, TEACHER)


def test_what_is_no_classifier_of_texts_is_refused_before_anything_is_read() -> None:
    # CANINE needs more characters than an empty text has.
    canine = tf.CanineForSequenceClassification(tf.CanineConfig(**SIZE))
    encoder = row_encoder(canine, tf.CanineTokenizer(), 64)
    with pytest.raises(SourceError, match="`teacher` t: expected a classifier of texts, and it cannot read"):
        check_reads(canine, [("",)], encoder, TEACHER)
    model, tokenizer = build("BERT")
    encoder = row_encoder(model, tokenizer, 64)
    tagger = tf.BertForTokenClassification(model.config)
    with pytest.raises(SourceError, match=r"expected logits of shape \(2, 3\), .*, got \(2, 4, 3\)"):
        check_reads(tagger, [("a b",), ("b a",)], encoder, TEACHER)


@pytest.mark.parametrize("tokenizer", [wordpiece, tf.CanineTokenizer], ids=["fast", "slow"])
def test_rows_that_are_cut_are_counted_and_logged_with_max_length(tokenizer: Any, capsys: Any) -> None:
    model, _ = build("BERT")
    encoder = replace(row_encoder(model, wordpiece(), 8), words=PlainText(tokenizer()))
    texts = [("b c d e f g",), ("b c d",), ("b c d e f g h",)]
    rows = encode(texts, encoder)
    lengths = [len(tokenizer()(text)["input_ids"]) for (text,) in texts]
    assert (rows.cut, rows.longest) == (sum(length > 8 for length in lengths), max(lengths))
    report_cut(rows, encoder, "training")
    message = capsys.readouterr().out
    assert message == (
        f"{rows.cut} of 3 training rows have more than 8 tokens and are cut; `max_length` {rows.longest} "
        "keeps them whole\n"
    )
    report_cut(encode(texts[1:2], replace(encoder, max_length=9)), encoder, "training")
    assert capsys.readouterr().out == ""


def test_rows_longer_than_the_model_can_take_are_logged(capsys: Any) -> None:
    model, tokenizer = build("BERT")
    encoder = replace(row_encoder(model, tokenizer, 8), positions=16)
    report_cut(encode([("b " * 30,)], encoder), encoder, "validation")
    assert "`max_length` 16 keeps as much as the model can take of 32" in capsys.readouterr().out
    whole = replace(encoder, max_length=16)
    report_cut(encode([("b " * 30,)], whole), whole, "validation")
    assert capsys.readouterr().out.endswith("are cut, which is all that the model can take\n")
