"""How prompts become tokens: chat templates, the place of the word, what a text may not do."""

from typing import Any

import numpy as np
import pytest
import transformers as tf
from causal import byte_tokenizer, random_model
from tokenizers import Tokenizer, models, pre_tokenizers

from wellread_hf.errors import DataError, LabelError, TokenizerError
from wellread_hf.labelling.causal_labeller import CausalLabeller
from wellread_hf.labelling.prompt_reader import PromptReader, shared_prefix
from wellread_hf.labelling.prompts import prompts_of
from wellread_hf.models.continuations import Continuations
from wellread_hf.tasks import TaskFacts

FACTS = TaskFacts(columns=("sentence",), labels=("negative", "positive"))
ROWS = [("a gripping film",), ("dull",)]
TRAINING = ["a gripping film is good", "it is bad, it is good enough\n", "dull dull"] * 20
# As Llama 2's, with a blank before each answer.
BLANK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %}{{ ' ' + m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
# As Qwen3's: an answer comes after a thought, which generation starts with.
THOUGHT = (
    "{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer(TRAINING, 400, start=True)


def reader(tokenizer, template="{{ sentence }} is", words=("bad", "good"), chat="auto", length=64):
    return PromptReader(tokenizer, prompts_of(template, "asked", FACTS, words), chat, length, ROWS)


def shown(found: PromptReader, texts: Any = ROWS) -> list[str]:
    return [found.tokenizer.decode(ids) for ids in found.read(texts)]


@pytest.mark.parametrize(
    ("template", "before", "word"),
    [
        ("{{ sentence }} is", "<|start|>dull is", " good"),
        ("{{ sentence }} is  ", "<|start|>dull is", " good"),
        ("{{ sentence }}.\n\n", "<|start|>dull.\n", "good"),
    ],
)
def test_a_word_is_joined_by_one_blank_or_by_the_new_line_that_is_there(tokenizer, template, before, word):
    found = reader(tokenizer, template)
    assert shown(found)[1] == before
    assert tokenizer.decode(found.words[1]) == word


@pytest.mark.parametrize(
    ("chat", "before", "word"),
    [
        (BLANK, "<|start|>[INST] dull is [/INST]", " good"),
        (THOUGHT, "<|user|>\ndull is<|end|>\n<|assistant|>\n<think>\n\n</think>\n\n", "good"),
    ],
)
def test_a_word_stands_where_the_chat_template_puts_an_answer(chat, before, word):
    tokenizer = byte_tokenizer(TRAINING, 400, start=True)
    tokenizer.chat_template, tokenizer.eos_token = chat, "<|end|>"
    found = reader(tokenizer)
    assert shown(found)[1] == before
    assert tokenizer.decode(found.words[1]) == word
    assert shown(reader(tokenizer, chat="no"))[1] == "<|start|>dull is"


def test_words_of_pieces_that_mark_beginnings_have_no_mark_too_many():
    """As Llama 2's tokenizer, which puts a mark before every text."""
    words = ["▁a", "▁film", "▁is", "▁good", "▁bad", "▁dull", "▁", "[UNK]"]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    found = reader(tf.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]"))
    assert [ids.tolist() for ids in found.read([("dull",)])] == [[5, 2]]
    assert found.words == [[4], [3]]


def test_special_tokens_in_a_text_are_its_letters(tokenizer):
    assert shown(reader(tokenizer), [("a <|end|><|user|> b",)]) == ["<|start|>a < |end|>< |user|> b is"]
    assert tokenizer.convert_tokens_to_ids("<|end|>") not in reader(tokenizer).read([("<|end|>",)])[0]


def test_long_texts_are_cut_and_counted(tokenizer):
    found = reader(tokenizer, length=8)
    long = "it is bad, it is good enough, dull"
    tokens = tokenizer(long, add_special_tokens=False).input_ids
    assert len(tokens) > 8
    assert shown(found, [(long,), ("dull",)]) == [
        f"<|start|>{tokenizer.decode(tokens[:8])} is",
        "<|start|>dull is",
    ]
    assert found.cut == 1


def test_a_word_that_begins_another_is_noted(tokenizer):
    (note,) = reader(tokenizer, words=("good enough", "good")).notes
    assert "'good' is the beginning of 'good enough'" in note
    assert not reader(tokenizer).notes


def word_level(*words: str) -> Any:
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["[UNK]", *words])}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tf.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def test_words_that_a_tokenizer_does_not_keep_apart_are_refused():
    with pytest.raises(LabelError, match="'bad' and 'good' are the same; take other words"):
        reader(word_level("is", "a", "dull"))


def test_a_word_without_a_token_is_refused():
    made = Tokenizer(models.BPE({letter: n for n, letter in enumerate("abdefgilmnpqrstu o")}, []))
    with pytest.raises(LabelError, match="of '善' it makes no token"):
        reader(tf.PreTrainedTokenizerFast(tokenizer_object=made), words=("bad", "善"))


def test_a_word_that_runs_into_its_prompt_is_refused():
    vocabulary = [*"abdefgilmnpqrstu o", "is", "is "]
    made = Tokenizer(models.BPE({piece: n for n, piece in enumerate(vocabulary)}, [("i", "s"), ("is", " ")]))
    with pytest.raises(LabelError, match="makes one token of both, 'a gripping film is' and 'bad'"):
        reader(tf.PreTrainedTokenizerFast(tokenizer_object=made))


def test_a_slow_tokenizer_is_refused(tokenizer):
    class Slow:
        is_fast, name_or_path = False, "old"

    with pytest.raises(TokenizerError, match="old: expected a fast tokenizer"):
        reader(Slow())


def test_a_prompt_that_is_longer_than_the_model_takes_is_refused_by_its_row(tokenizer):
    found = reader(tokenizer)
    model = random_model("llama", tokenizer, max_position_embeddings=12)
    labeller = CausalLabeller(found, Continuations(model, found.words, 64), 12)
    labeller.encode(ROWS, 0)
    with pytest.raises(DataError, match="row 43: expected a prompt and word of at most 12 tokens"):
        labeller.encode([*ROWS, ("it is bad, it is good enough, it is dull",)], 40)


def test_the_shared_beginning_leaves_each_row_a_token():
    rows = [np.array(row) for row in ([1, 2, 3, 4], [1, 2, 3], [1, 2, 5])]
    assert shared_prefix(rows) == 2
    assert shared_prefix(rows[:1]) == 3
    assert shared_prefix([*rows, np.array([7])]) == 0
