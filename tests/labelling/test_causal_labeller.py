"""Label words' log-probabilities, beside a loop that reads each prompt with each word by itself."""

import itertools

import numpy as np
import pytest
from causal import byte_tokenizer, plain_loop, random_model

from wellread_hf.labelling.causal_labeller import CausalLabeller
from wellread_hf.labelling.prompt_reader import PromptReader
from wellread_hf.labelling.prompts import Example, prompts_of
from wellread_hf.models.continuations import Continuations
from wellread_hf.models.load import positions_of
from wellread_hf.tasks import TaskFacts

FACTS = TaskFacts(columns=("sentence",), labels=("negative", "neutral", "positive"))
ROWS = [
    ("a gripping, clever film",),
    ("two hours wasted, and not one of them with a laugh in it",),
    ("fine",),
    ("so it goes, on and on, and nobody can say why the hero never leaves the house at all",),
    ("",),
    ("it ends",),
    ("a film of two hours",),
]
EXAMPLES = [Example(("what a joy",), 2), Example(("dull",), 0), Example(("it is a film",), 1)]
TEMPLATE = (
    "Say what a review is: {{ labels | join(', ') }}.\n"
    "{% for example in examples %}\n"
    "Review: {{ example.sentence }}\nIt is {{ example.label }}\n"
    "{% endfor %}\n"
    "Review: {{ sentence }}\nIt is"
)
# A shared beginning of no token, unless the tokenizer puts one.
TEXT_FIRST = "{{ sentence }}\nIt is "
SHORT, LONG = ("bad", "so", "good"), ("a bad film", "so so", "good")
TEXTS = [TEMPLATE, *(text for (text,) in ROWS), " bad so good", "bad so good"] * 30


@pytest.fixture(scope="module")
def tokenizers():
    """Words of one token, of several, and one with a token before each text."""
    return {
        "words": byte_tokenizer(TEXTS, 500),
        "pieces": byte_tokenizer(TEXTS, 270),
        "start": byte_tokenizer(TEXTS, 400, start=True),
        "chat": byte_tokenizer(TEXTS, 400, chat=True, start=True),
    }


def labeller_of(model, tokenizer, template=TEMPLATE, words=SHORT, examples=EXAMPLES, chat="auto", tokens=128):
    prompts = prompts_of(template, "asked.jinja", FACTS, words, examples)
    reader = PromptReader(tokenizer, prompts, chat, 128, ROWS[:2])
    return CausalLabeller(reader, Continuations(model, reader.words, tokens), positions_of(model))


def by_loop(labeller, model, join=" "):
    """The reference: its own way from rows to prompts, and one forward pass for each row and word."""
    prompts, tokenizer = labeller.reader.prompts, labeller.reader.tokenizer
    texts = [prompts(row).rstrip(" ") for row in ROWS]
    if labeller.reader.chat:
        turns = [[{"role": "user", "content": text}] for text in texts]
        texts = [
            tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) for turn in turns
        ]
        join = ""
    return plain_loop(model, tokenizer, texts, [join + word for word in prompts.words]).numpy()


@pytest.mark.parametrize(
    ("family", "kind", "words"),
    [
        *itertools.product(("llama", "qwen3", "gpt2"), ("words", "pieces", "start", "chat"), (SHORT, LONG)),
        *itertools.product(("qwen2", "mistral", "gemma2", "bloom", "mamba"), ("start",), (SHORT, LONG)),
    ],
)
def test_scores_are_those_of_a_plain_loop(family, kind, words, tokenizers):
    model = random_model(family, tokenizers[kind])
    labeller = labeller_of(model, tokenizers[kind], words=words)
    assert labeller.scorer.reuses(128) == (family not in ("mistral", "mamba"))
    found, expected = labeller.logits_of(ROWS), by_loop(labeller, model)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # Random models are of two minds, too.
    assert np.ptp(expected, axis=0).min() > 0.1


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
@pytest.mark.parametrize("kind", ["words", "start"])
def test_prompts_need_not_begin_alike(family, kind, tokenizers):
    model = random_model(family, tokenizers[kind])
    labeller = labeller_of(model, tokenizers[kind], TEXT_FIRST, LONG, ())
    assert len(labeller.encode(ROWS, 0).prefix) == (kind == "start")
    np.testing.assert_allclose(labeller.logits_of(ROWS), by_loop(labeller, model), atol=1e-4)


@pytest.mark.parametrize("window", [40, 80, 87, 88, 89, 90, 95, 110, 200])
@pytest.mark.parametrize("family", ["mistral", "gemma2"])
def test_a_window_of_any_length_scores_alike(family, window, tokenizers):
    model = random_model(family, tokenizers["words"], sliding_window=window)
    labeller = labeller_of(model, tokenizers["words"], words=LONG)
    np.testing.assert_allclose(labeller.logits_of(ROWS), by_loop(labeller, model), atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 16, 100_000])
def test_batches_of_any_size_score_alike(tokens, tokenizers):
    model = random_model("llama", tokenizers["pieces"])
    labeller = labeller_of(model, tokenizers["pieces"], words=LONG, tokens=tokens)
    np.testing.assert_allclose(labeller.logits_of(ROWS), by_loop(labeller, model), atol=1e-4)


def test_the_shared_beginning_is_read_once(tokenizers, monkeypatch):
    model = random_model("llama", tokenizers["words"])
    labeller = labeller_of(model, tokenizers["words"], tokens=100_000)
    read = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **given: read.append(given["input_ids"]) or forward(**given))
    labeller.logits_of(ROWS)
    encoded = labeller.encode(ROWS, 0)
    assert len(encoded.prefix) > 30
    assert read[0].shape == (1, len(encoded.prefix))
    assert sum(ids.shape[0] for ids in read[1:]) == len(ROWS)
    assert max(ids.shape[1] for ids in read[1:]) == encoded.lengths.max()


def test_positions_that_depend_on_the_length_read_each_prompt_whole(tokenizers):
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "factor": 4.0}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 16, **factors}
    model = random_model("llama", tokenizers["words"], rope_parameters=rope)
    labeller = labeller_of(model, tokenizers["words"], words=LONG)
    assert not labeller.scorer.reuses(1)
    np.testing.assert_allclose(labeller.logits_of(ROWS), by_loop(labeller, model), atol=1e-4)
