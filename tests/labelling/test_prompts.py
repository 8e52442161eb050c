"""Prompts out of a user's template: what it sees, what is refused, which rows are shown."""

from collections import Counter

import numpy as np
import pytest

from wellread_hf.data.rows import Rows
from wellread_hf.errors import DataError, LabelError, SettingsError
from wellread_hf.labelling.prompts import Example, drawn_examples, prompts_of, read_template
from wellread_hf.settings import Prompt
from wellread_hf.tasks import TaskFacts

FACTS = TaskFacts(columns=("sentence",), labels=("negative", "positive"))
PAIRS = TaskFacts(columns=("premise", "the claim"), labels=("no", "yes"))
WORDS = ("bad", "good")


def made(template, facts=FACTS, words=WORDS, examples=()):
    return prompts_of(template, "asked.jinja", facts, words, examples)


def test_a_template_sees_columns_words_and_examples():
    prompts = made(
        "One of {{ labels | join(', ') }}.\n"
        "{% for example in examples %}\n"
        "{{ example.sentence }}: {{ example.label }}\n"
        "{% endfor %}\n"
        "{{ sentence }}:\n",
        examples=[Example(("fun",), 1), Example(("dull",), 0)],
    )
    assert prompts(("fine",)) == "One of bad, good.\nfun: good\ndull: bad\nfine:"


def test_columns_of_any_name_are_in_the_row():
    prompts = made(
        "{% for e in examples %}{{ e['the claim'] }} {% endfor %}{{ premise }}, {{ row['the claim'] }}",
        PAIRS,
        examples=[Example(("x", "y"), 0)],
    )
    assert prompts(("It rains", "It is wet")) == "y It rains, It is wet"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ sentence }}\n{% for %}", "asked.jinja, line 2: expected a Jinja template"),
        ("a\n{{ sentence }} {{ sentense }}", "asked.jinja, line 2: the template cannot be filled"),
        ("{{ sentence }}\n\n{{ 1 / 0 }}", "line 3: the template cannot be filled (division by zero)"),
        ("{{ sentence.__class__.__mro__ }}", "line 1: the template cannot be filled"),
        ("Good or bad?", "expected a template that uses the text column 'sentence'"),
        ("{{ sentence }}", "expected a template that shows `examples`"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_with_its_line(template, said):
    with pytest.raises(DataError) as error:
        made(template, examples=[Example(("fun",), 1)])
    assert said in str(error.value)


def test_a_template_that_forgets_one_text_of_a_pair_is_refused():
    with pytest.raises(DataError, match="uses the text column 'the claim'"):
        made("{{ premise }}", PAIRS)


@pytest.mark.parametrize("column", ["labels", "examples", "row", "label"])
def test_a_column_may_not_have_a_name_that_templates_know(column):
    with pytest.raises(DataError, match=f"got '{column}'; rename the column"):
        made("{{ " + column + " }}", TaskFacts(columns=(column,), labels=("a", "b")))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (TaskFacts(columns=("sentence",), labels=()), "a regression"),
        (TaskFacts(columns=("sentence",), labels=("a", "b"), multi_label=True), "may have several"),
        (TaskFacts(columns=("sentence",), labels=("a", "b", "c")), "expected 3 words.* order a, b, c; got 2"),
    ],
)
def test_a_task_needs_one_class_a_row_and_a_word_for_each(facts, said):
    with pytest.raises(LabelError, match=said):
        made("{{ sentence }}", facts)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label_words": ("a", "b")}, "`prompt.label_words`: expected a template as well"),
        ({"shots": 4}, "`prompt.shots`: expected a template as well"),
        ({"template": "x.jinja"}, "give `prompt.label_words`"),
        ({"template": "x.jinja", "label_words": ("a", " b")}, "without spaces around them, got ' b'"),
        ({"template": "x.jinja", "label_words": ("a", "")}, "got an empty one"),
        ({"template": "x.jinja", "label_words": ("a", "b", "a")}, "got 'a' 2 times"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        Prompt(**settings)


def test_a_file_that_is_no_template_is_refused(tmp_path):
    (tmp_path / "empty.jinja").write_text(" \n")
    (tmp_path / "latin.jinja").write_bytes(b"sch\xf6n")
    for name, said in (
        ("none.jinja", "expected a file"),
        ("empty.jinja", "an empty file"),
        ("latin.jinja", "latin.jinja: expected a template in UTF-8"),
    ):
        with pytest.raises(DataError, match=said):
            read_template(tmp_path / name)


def test_a_mark_of_the_byte_order_is_no_part_of_a_template(tmp_path):
    (tmp_path / "marked.jinja").write_bytes(b"\xef\xbb\xbf{{ text }}:")
    assert read_template(tmp_path / "marked.jinja") == "{{ text }}:"


@pytest.fixture(scope="module")
def labelled():
    """Ninety rows of three classes, of which one has four."""
    labels = np.array([0] * 50 + [1] * 36 + [2] * 4)
    return Rows([(f"text {number}",) for number in range(90)], labels)


def shown(labelled, shots, seed=0):
    return drawn_examples(
        labelled, 3, Prompt(template="any.jinja", label_words=("a", "b", "c"), shots=shots, seed=seed)
    )


@pytest.mark.parametrize("shots", [0, 1, 7, 12, 30])
def test_classes_take_turns_among_examples_while_they_have_rows(labelled, shots):
    drawn = shown(labelled, shots)
    assert len({each.texts for each in drawn}) == shots
    assert all(labelled.labels[int(each.texts[0].split()[1])] == each.label for each in drawn)
    counts = Counter(each.label for each in drawn)
    balanced = [min(counts[label], 4) for label in range(3)]
    assert max(balanced) - min(balanced) <= 1
    assert abs(counts[0] - counts[1]) <= 1


def test_examples_follow_the_seed_and_more_contain_fewer(labelled):
    assert shown(labelled, 6) == shown(labelled, 6) != shown(labelled, 6, seed=1)
    assert shown(labelled, 9)[:6] == shown(labelled, 6)


def test_more_examples_than_rows_are_refused(labelled):
    with pytest.raises(
        DataError, match=r"`prompt\.shots` 91: expected at most as many as there are labelled rows, 90"
    ):
        shown(labelled, 91)
