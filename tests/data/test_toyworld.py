"""The toy world: what it writes, that nothing leaks, and that no token gives its labels away."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from wellread_hf.data.toy.world import CORPUS_WORDS, ToyWorldSettings, probe_accuracy, write_toy_world
from wellread_hf.errors import SettingsError

SIZES = ToyWorldSettings(
    corpus_texts=3_000, train_rows=500, validation_rows=200, test_rows=1_000, pool_rows=500
)
NEGATORS = {"not", "never", "hardly"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_toy_world(folder, SIZES)
    return folder


def rows(folder, name):
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def sentences(folder, name):
    return [row["sentence"] for row in rows(folder, name)]


def labels(folder, name):
    return np.array([row["label"] for row in rows(folder, name)])


def lexicon(folder):
    return json.loads((folder / "lexicon.json").read_text(encoding="utf-8"))


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def reading(sentence, classes):
    """The verdict as a reader of the grammar finds it, who never saw how the sentence was made."""
    words = sentence.split()
    if words[0] == "about":
        topic, rest = words[1], words[2:]
        cut = rest.index("while")
        counts = next(clause for clause in (rest[:cut], rest[cut + 1 :]) if topic in clause)
    elif words[0] == "although":
        # The second clause, "it was [not] ADJECTIVE" or "PERSON [not] VERB it".
        length = 4 if words[-3] in NEGATORS else 3
        counts = words[-length:] if words[-1] == "it" else words[words.index("it") :]
    elif "although" in words:
        counts = words[: words.index("although")]
    elif "but" in words:
        counts = words[words.index("but") + 1 :]
    elif "and" in words:
        counts = words[: words.index("and")]
    else:
        counts = words
    good = next(classes[word] for word in counts if classes.get(word, "").startswith(("good", "bad")))
    return int(good.startswith("good")) ^ len(NEGATORS.intersection(counts)) % 2


def test_writes_what_the_settings_ask_for(world):
    assert len((world / "corpus.txt").read_text(encoding="utf-8").splitlines()) == SIZES.corpus_texts
    assert len(rows(world, "pool.jsonl")) == SIZES.pool_rows
    assert all(row.keys() == {"sentence"} for row in rows(world, "pool.jsonl"))
    for split in ("train", "validation", "test"):
        written = rows(world, f"task/{split}.jsonl")
        assert len({row["sentence"] for row in written}) == len(written) == getattr(SIZES, f"{split}_rows")
        assert 0.4 < labels(world, f"task/{split}.jsonl").mean() < 0.6


def test_same_settings_give_the_same_bytes_whatever_the_hash_seed(world, tmp_path):
    code = (
        "import sys; from pathlib import Path; from wellread_hf.data.toy.world import *\n"
        f"write_toy_world(Path(sys.argv[1]), {SIZES!r})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    assert digests(tmp_path) == digests(world)


def test_another_seed_gives_another_world(world, tmp_path):
    write_toy_world(tmp_path, ToyWorldSettings(seed=1, corpus_texts=10, pool_rows=10))
    assert lexicon(tmp_path).keys() != lexicon(world).keys()


def test_no_held_out_sentence_is_in_anything_to_train_on(world):
    held_out = {*sentences(world, "task/validation.jsonl"), *sentences(world, "task/test.jsonl")}
    assert len(held_out) == SIZES.validation_rows + SIZES.test_rows
    premises = [
        text.partition(" so ")[0] for text in (world / "corpus.txt").read_text(encoding="utf-8").splitlines()
    ]
    for trained_on in (sentences(world, "task/train.jsonl"), sentences(world, "pool.jsonl"), premises):
        assert not held_out.intersection(trained_on)


def test_labels_follow_from_the_meaning(world):
    classes = lexicon(world)
    for row in rows(world, "task/test.jsonl"):
        assert reading(row["sentence"], classes) == row["label"], row


def test_no_token_and_no_bag_of_words_gives_the_label_away(world):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = "task/train.jsonl", "task/test.jsonl"
    counter = CountVectorizer(token_pattern=r"\S+", binary=True)
    seen = counter.fit_transform(sentences(world, train))
    asked = counter.transform(sentences(world, test))
    truth = labels(world, test)
    bag = LogisticRegression(max_iter=1_000).fit(seen, labels(world, train))
    assert bag.score(asked, truth) < 0.6
    agreement = (asked.toarray() == truth[:, None]).mean(axis=0)
    assert np.maximum(agreement, 1 - agreement).max() < 0.6


def test_even_a_bag_of_true_polarities_falls_far_short(world):
    from sklearn.linear_model import LogisticRegression

    classes = lexicon(world)

    def bag(name):
        return [
            [
                *(sum(classes.get(word, "").startswith(good) for word in words) for good in ("good", "bad")),
                *(words.count(word) for word in (*sorted(NEGATORS), "but", "although", "about", "and")),
            ]
            for words in map(str.split, sentences(world, name))
        ]

    train, test = "task/train.jsonl", "task/test.jsonl"
    model = LogisticRegression(max_iter=1_000).fit(bag(train), labels(world, train))
    assert model.score(bag(test), labels(world, test)) < 0.7


def test_tokenizer_is_fast_and_knows_every_word_whole(world):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world / "tokenizer")
    assert tokenizer.is_fast
    assert len(tokenizer) < 4_000
    assert tokenizer("x").input_ids == [
        tokenizer.cls_token_id,
        tokenizer.unk_token_id,
        tokenizer.sep_token_id,
    ]
    texts = [*sentences(world, "task/test.jsonl"), *sentences(world, "pool.jsonl")]
    texts += (world / "corpus.txt").read_text(encoding="utf-8").splitlines()
    ids = tokenizer(texts, add_special_tokens=False).input_ids
    assert [tokenizer.convert_ids_to_tokens(row) for row in ids] == [text.split() for text in texts]


def test_every_corpus_text_fills_its_place_in_a_block(world):
    texts = (world / "corpus.txt").read_text(encoding="utf-8").splitlines()
    assert {len(text.split()) for text in texts} == {CORPUS_WORDS}


def test_probe_tells_polarity_from_noise(world):
    classes = lexicon(world)
    vocabulary = {word: index for index, word in enumerate(classes)}
    noise = np.random.default_rng(0).normal(size=(len(classes), 64))
    assert 0.3 < probe_accuracy(noise, vocabulary, classes) < 0.7
    good = np.array([name.startswith("good") for name in classes.values()])
    assert probe_accuracy(noise + 3 * good[:, None], vocabulary, classes) == 1


@pytest.mark.parametrize("kind", ["adjectives", "verbs", "things", "people"])
def test_a_world_with_too_few_words_is_refused(kind):
    with pytest.raises(SettingsError, match=kind):
        ToyWorldSettings(**{kind: 4})


def test_importing_it_is_cheap():
    code = "import sys, wellread_hf.data.toy.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
