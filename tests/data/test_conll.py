"""Words with a tag each: `.conll` files, columns of lists, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.data.conll import conll_rows
from wellread_hf.data.corpus import Source
from wellread_hf.data.draws import draw_rows
from wellread_hf.data.rows import LoadedTask, load_task
from wellread_hf.data.tags import words_in
from wellread_hf.errors import DataError, LabelError, WellreadError
from wellread_hf.metrics.per_word import words_of
from wellread_hf.metrics.tags import tag_scores
from wellread_hf.settings import Task
from wellread_hf.store.stage import Location

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
spoke VBD B-VP O


"""
WORDS = [("EU", "rejects"), ("Peter", "Blackburn", "spoke")]
TAGS = ["B-ORG", "O", "B-PER", "I-PER", "O"]
NAMES = ("B-ORG", "B-PER", "I-PER", "O")


def _load(train: Path, **task: Any) -> LoadedTask:
    place = _at(train)
    return load_task(
        Task(name="ner", data=str(train), validation=str(train), tagging=True, **task), [place, place]
    )


def _at(path: Path) -> Location:
    return Location(name=str(path), revision=None, fingerprint=str(path.stat().st_mtime_ns))


def _tags(task: LoadedTask) -> list[str]:
    return [task.facts.labels[number] for number in task.train.labels.values]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(text.splitlines(keepends=True), start=1)


def test_a_conll_file_is_read_by_its_first_and_last_column(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    task = _load(tmp_path / "a.conll")
    assert task.train.texts == WORDS
    assert task.facts.labels == NAMES
    assert task.facts.metrics == ("entity_f1", "accuracy")
    assert _tags(task) == TAGS


ROW = st.lists(st.tuples(st.from_regex(r"[^\s-]{1,5}", fullmatch=True), st.sampled_from(NAMES)), min_size=1)


@settings(derandomize=True, deadline=None)
@given(
    st.lists(ROW, min_size=1),
    st.sampled_from([" ", "\t", " x ", "\tx y\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_is_read(sentences: Any, between: str, end: str) -> None:
    text = (end * 2).join(end.join(f"{word}{between}{tag}" for word, tag in row) for row in sentences)
    found = [[*zip(row["words"], row["label"], strict=True)] for row in conll_rows("x", _lines(text + end))]
    assert found == [[*map(tuple, row)] for row in sentences]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_columns_of_lists_are_the_same_task(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    rows = {"tokens": [list(row) for row in WORDS], "ner": [TAGS[:2], TAGS[2:]]}
    if kind == "jsonl":
        Dataset.from_dict(rows).to_json(path)
    elif kind == "csv":
        Dataset.from_dict({name: [*map(json.dumps, values)] for name, values in rows.items()}).to_csv(path)
    else:
        # Numbers of a ClassLabel, in an order of their own.
        order = ("O", "B-PER", "I-PER", "B-ORG")
        features = Features({"tokens": Sequence(Value("string")), "ner": Sequence(ClassLabel(names=order))})
        Dataset.from_dict(rows, features=features).to_parquet(path)
    task = _load(path, columns=("tokens",), label="ner")
    assert task.train.texts == WORDS
    assert _tags(task) == TAGS
    assert task.facts.labels == (order if kind == "parquet" else NAMES)


def test_rows_are_drawn_with_their_tags(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    drawn = draw_rows(_load(tmp_path / "a.conll").train, Task(train_rows=1))
    assert [len(row) for row in drawn.texts] == drawn.labels.counts.tolist()  # type: ignore[union-attr]
    assert drawn.texts[0] in WORDS


def test_tags_without_entities_are_scored_by_word(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("the DET\ndog NOUN\n\ndogs NOUN\nbark VERB\n")
    assert _load(tmp_path / "a.conll").facts.metrics == ("accuracy",)


def test_words_without_a_prediction_are_outside(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    labels = _load(tmp_path / "a.conll").train.labels
    said: Any = labels[np.arange(2)]
    said.values[[1, 3]] = -1
    # EU is found; of Peter Blackburn the second word is not, so that is another entity.
    assert tag_scores(("entity_f1", "accuracy"), said, labels) == {"entity_f1": 0.5, "accuracy": 0.8}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("EU B-ORG\nrejects\n", "a.conll, line 2: expected 2 columns with tabs or blanks"),
        ("EU NNP B-ORG\nrejects O\n", "line 2: expected 3 columns"),
        ("EU\n", "line 1: expected two or more columns"),
        ("EU\t\nx\tO\n", "line 1: expected"),
        (
            "EU B-ORG\nrejects I\n",
            "expected tags like O, B-PER and I-PER (IOB1, IOB2, IOE or IOBES), got I among",
        ),
        ("EU B-ORG\nrejects I-\n", "got I- among them"),
        ("EU O\nrejects O\n", "at least two kinds, got 'O' in all"),
        ("-DOCSTART- O\n", "expected rows, found none"),
    ],
)
def test_bad_lines_are_refused_with_their_numbers(content: str, answer: str, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(content)
    with pytest.raises(WellreadError) as refusal:
        _load(tmp_path / "a.conll")
    assert answer in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "tags", "answer"),
    [
        (["EU", "rejects"], ["O"], "row 2: expected a tag for each of 2 words, got 1 tags"),
        (["EU", " "], ["O", "O"], "row 2: expected words in column 'words', got an empty one as word 2"),
        ([], [], "row 2: expected words in column 'words', got none"),
        ("EU rejects", ["O", "O"], "row 2: expected a list of words in column 'words'"),
        (["EU", 3], ["O", "O"], "row 2: expected text in column 'word', got int"),
        (["EU", "x"], "O O", "row 2: expected a list of tags as label"),
        (["EU", "x"], None, "row 2: expected a list of tags as label"),
        (["EU", "x"], ["O", None], "row 2: expected a label among"),
    ],
)
def test_bad_rows_are_refused_with_their_numbers(words: Any, tags: Any, answer: str, tmp_path: Path) -> None:
    rows = [{"words": ["a", "b"], "label": ["B-X", "O"]}, {"words": words, "label": tags}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises((DataError, LabelError)) as refusal:
        _load(tmp_path / "a.jsonl")
    assert answer in str(refusal.value)


def test_text_without_tags_is_cut_into_words(tmp_path: Path) -> None:
    text = " EU's  rejects, a-b "
    words = ["EU", "'", "s", "rejects", ",", "a", "-", "b"]
    assert [(word, text[start:end]) for word, (start, end) in words_of(text)] == [
        *zip(words, words, strict=True)
    ]
    (tmp_path / "pool.txt").write_text("EU rejects.\n\nPeter spoke\n")
    (tmp_path / "pool.conll").write_text(CONLL)
    (tmp_path / "pool.jsonl").write_text('{"body": ["EU", "rejects."]}\n')
    found = {
        name: [*words_in(Source.parse(f"{tmp_path / name}{more}"), _at(tmp_path / name))]
        for name, more in (("pool.txt", ""), ("pool.conll", ""), ("pool.jsonl", ",column=body"))
    }
    assert found == {
        "pool.txt": [("EU", "rejects", "."), ("Peter", "spoke")],
        "pool.conll": WORDS,
        "pool.jsonl": [("EU", "rejects.")],
    }
