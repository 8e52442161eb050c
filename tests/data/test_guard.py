"""Rows of validation and test sets are found in other text, and nothing else is."""

import random
import unicodedata
from itertools import islice

import pytest

from wellread_hf.data import guard
from wellread_hf.data.guard import SHORTEST, HeldOut

LONG = "a gripping , clever film that does n't let you go until it 's over"


def found(held_out, *texts):
    return HeldOut([(text,) for text in held_out]).find([(text,) for text in texts])


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        "A gripping, clever film that doesn't let you go until it's over!",
        "A GRIPPING  CLEVER FILM THAT DOESN’T LET YOU GO UNTIL IT’S OVER",
        unicodedata.normalize("NFKD", LONG),
    ],
)
def test_case_blanks_and_punctuation_do_not_hide_a_row(text):
    assert found([LONG], "another", text).exact == (1,)


def test_an_accent_has_two_spellings_and_is_one_letter():
    assert found(["très café"], unicodedata.normalize("NFD", "Très café.")).exact == (0,)


def test_vowel_signs_are_part_of_a_word():
    held_out = "यह फ़िल्म राम की है"
    assert not found([held_out], held_out.replace("की", "के")).numbers
    assert found([held_out], unicodedata.normalize("NFD", f"{held_out}।")).exact == (0,)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        (f"I saw it twice: {LONG}. Go and see it, by all means, whatever they say of its end.", True),
        (LONG.replace("a gripping", "one gripping"), True),
        (LONG.replace("clever", "stupid"), False),
        (" ".join(reversed(LONG.split())), False),
        (" ".join(LONG.split()[:9]), False),
    ],
)
def test_a_text_with_most_of_a_rows_3_grams_nearly_has_it_in_it(text, near):
    assert found([LONG], text).near == ((0,) if near else ())


def test_short_rows_are_found_word_for_word_alone():
    held_out = "one of the best films of"
    assert len(held_out.split()) == SHORTEST - 2
    assert found([held_out], f"it is {held_out} the year", "One of the best films of.").numbers == {1}


def test_rows_without_a_letter_are_no_row_of_anything():
    assert not found(["...", "", "👍"], "!", " ", "👎").numbers


def test_a_pair_is_compared_with_pairs_column_by_column():
    index = HeldOut([(LONG, "it is long"), ("short", "shorter")])
    rows = [
        (LONG, "It is long."),
        ("it is long", LONG),
        ("shorter", "short"),
        ("Short", "shorter"),
        (LONG, "x"),
    ]
    # The last has all 3-grams of the first column, which are more than 80 % of the pair's.
    assert (index.find(rows).exact, index.find(rows).near) == ((0, 3), (4,))


def by_brute_force(held_out, texts):
    """The definition, row by row."""

    def words(row):
        return [guard._words(text) for text in row]

    def grams(row):
        every = enumerate(words(row))
        return {(place, *some) for place, w in every for some in zip(w, w[1:], w[2:], strict=False)}

    exact, near = [], []
    for number, text in enumerate(texts):
        letters = ["".join(each) for each in words(text)]
        if any(letters) and any(letters == ["".join(each) for each in words(row)] for row in held_out):
            exact.append(number)
        elif any(
            sum(map(len, words(row))) >= SHORTEST
            and (wanted := grams(row))
            and 5 * len(wanted & grams(text)) >= 4 * len(wanted)
            for row in held_out
        ):
            near.append(number)
    return tuple(exact), tuple(near)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("vocabulary", [4, 40])
def test_it_finds_exactly_what_brute_force_finds(columns, vocabulary, monkeypatch):
    # Of few words, so that 3-grams are common, come twice in a row and are shared by many.
    draw = random.Random(vocabulary * columns)
    words = [f"w{number}" for number in range(vocabulary)]

    def text(most):
        return " ".join(draw.choices(words, k=draw.randint(0, most)))

    held_out = [tuple(text(16) for _ in range(columns)) for _ in range(60)]
    texts = [tuple(text(24) for _ in range(columns)) for _ in range(200)]
    for row in islice(held_out, 40):
        # With one word changed, and inside a longer text.
        for _ in range(3):
            changed = [part.split() for part in row]
            for part in changed:
                if part:
                    part[draw.randrange(len(part))] = draw.choice(words)
            texts.append(tuple(" ".join(part) for part in changed))
        texts.append(tuple(f"{text(5)} {part} {text(5)}" for part in row))
    texts += held_out
    monkeypatch.setattr(guard, "_BATCH", 64)
    found = HeldOut(held_out).find(iter(texts))
    assert (found.exact, found.near) == by_brute_force(held_out, texts)
    assert found.rows == len(texts)
    assert found.exact
    assert found.near


def test_without_held_out_rows_nothing_is_found():
    assert HeldOut([]).find([("a b c d e f g h",)]).numbers == frozenset()
    assert HeldOut([("a b c d e f g h",)]).find([]).rows == 0
