"""From first tokens to probabilities of label words, and the journal that a kill does not damage."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from wellread_hf.errors import LabelError
from wellread_hf.labelling.answers import (
    Answer,
    Journal,
    check_beginnings,
    probabilities_of,
    read_answers,
)

WORDS = ("good", "bad")
ANSWER = Answer((-0.1, -2.4), 0.9, 0.0, 12, 1, True, "m", None)


@given(st.lists(st.floats(-8, 8), min_size=3, max_size=3))
def test_a_whole_list_of_tokens_gives_the_softmax_over_the_words(logits: list[float]) -> None:
    found = log_softmax(logits)
    log_probs, mass, shared = probabilities_of(list(zip(("good", "bad", "the"), found, strict=True)), WORDS)
    np.testing.assert_allclose(log_probs, log_softmax(logits[:2]), atol=1e-9)
    assert mass == pytest.approx(math.exp(found[0]) + math.exp(found[1]))
    assert shared == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["good", " Good", "GO", "bad", "ba", "the", "", "g", "Ġbad", "x"]),
                  st.floats(-30, -2)), min_size=1, max_size=20))  # fmt: skip
def test_probabilities_are_finite_and_add_up_to_one(tokens: list[tuple[str, float]]) -> None:
    log_probs, mass, _ = probabilities_of(tokens, WORDS)
    assert np.isfinite(log_probs).all()
    assert np.exp(log_probs).sum() == pytest.approx(1)
    assert mass >= 0
    assert probabilities_of(tokens, WORDS[::-1])[0] == pytest.approx(log_probs[::-1])


def test_the_tokens_of_a_word_are_summed_up_whatever_their_case_and_spaces() -> None:
    tokens = [
        (token, math.log(0.1)) for token in ("good", " Good", "▁good", "GO", "'good'", "Ġbad", " ba", "b")
    ]
    log_probs, mass, _ = probabilities_of(tokens, WORDS)
    np.testing.assert_allclose(np.exp(log_probs), (5 / 7, 2 / 7))
    assert mass == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("rest", "least"),
    [(0.02, 0.02), (0.5, 0.05)],
    ids=["as all that is left", "as the least likely token that is listed"],
)
def test_a_word_that_is_not_listed_is_at_most_as_likely_as(rest: float, least: float) -> None:
    tokens = [("good", math.log(1 - rest - 0.05)), ("the", math.log(0.05))]
    log_probs, mass, _ = probabilities_of(tokens, WORDS)
    assert math.exp(log_probs[1] - log_probs[0]) == pytest.approx(least / (1 - rest - 0.05))
    assert mass == pytest.approx(1 - rest - 0.05)


def test_a_token_that_several_words_begin_with_counts_for_none() -> None:
    log_probs, mass, shared = probabilities_of(
        [("po", math.log(0.9)), ("the", math.log(0.1))], ("positive", "poor")
    )
    assert (mass, shared) == (0, pytest.approx(0.9))
    assert log_probs == pytest.approx((math.log(0.5),) * 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("good", "goods"), "'good' and 'goods' begin alike"),
        (("Good", "good"), "begin alike"),
        (("not good", "not bad"), "begin alike"),
        (("good", "''"), "expected words"),
    ],
)
def test_words_that_a_first_token_cannot_tell_apart_are_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(LabelError, match=said):
        check_beginnings(words)


def test_words_that_begin_differently_are_taken() -> None:
    check_beginnings(("entailment", "neutral", "contradiction"))
    check_beginnings(("A", "B", "C"))


def test_answers_come_back_to_the_last_bit(tmp_path: Path) -> None:
    answers = {f"{number:016x}": replace(ANSWER, log_probs=(-number / 3, -1 / 7)) for number in range(5)}
    with Journal(tmp_path / "new/journal") as journal:
        for key, answer in answers.items():
            journal.add(key, answer)
    assert read_answers(tmp_path / "new/journal") == answers


def test_an_answer_is_in_the_file_when_it_was_added(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.add("a", ANSWER)
        assert read_answers(tmp_path / "journal") == {"a": ANSWER}


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_line_that_a_kill_cut_off_is_dropped_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        for key in "abc":
            journal.add(key, ANSWER)
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        assert set(journal.answers) == {"a", "b"}
        journal.add("d", ANSWER)
    assert set(read_answers(path)) == {"a", "b", "d"}


def test_a_damaged_line_is_asked_again_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        for key in "abc":
            journal.add(key, ANSWER)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:20] + b"\n" + b'{"key": 3}\n' + b"\xff\n" + third)
    assert set(read_answers(path)) == {"a", "c"}
