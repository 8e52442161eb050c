"""Entities of tags are those that `seqeval` finds, which the server does without."""

from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from wellread_hf.serving.tags import spans_of

TAGS = ["O", *(f"{place}-{kind}" for place in "BIES" for kind in ("A", "B-C"))]


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_entities_are_those_of_seqeval(tags: list[str]) -> None:
    assert spans_of(tags, TAGS) == get_entities(tags)


def test_classes_of_words_are_one_a_word() -> None:
    assert spans_of(["NOUN", "NOUN", "VERB"], ["NOUN", "VERB"]) == [
        ("NOUN", 0, 0),
        ("NOUN", 1, 1),
        ("VERB", 2, 2),
    ]
