"""Files of predictions: what is written is read back, and every other form is refused by line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.data.predictions import Predictions, check_test_rows, parse, predictions_of, within_scale
from wellread_hf.errors import DataError
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from(list(GLUE_SETS)))
def test_what_is_written_is_read_back(data, name):
    classes = len(GLUE_TASKS[GLUE_SETS[name].task].labels)
    value = st.integers(0, classes - 1) if classes else st.floats(-10, 10, width=32)
    values = data.draw(st.dictionaries(st.integers(0, 400_000), value, min_size=1, max_size=20))
    written = Predictions(name, values)
    read = parse(written.text, name, "file")
    assert read.values.keys() == values.keys()
    # The same numbers in fp32, which is what a model gives.
    assert all(np.float32(read.values[row]) == np.float32(values[row]) for row in values)
    assert read.text == written.text


def test_words_for_the_nli_tasks_numbers_for_the_others_and_a_score():
    written = {name: Predictions(name, {0: 1}).text.splitlines() for name in GLUE_SETS}
    assert {lines[0] for lines in written.values()} == {"index\tprediction"}
    assert {name: lines[1].split("\t")[1] for name, lines in written.items()} == {
        "cola": "1",
        "sst2": "1",
        "mrpc": "1",
        "stsb": "1.0",
        "qqp": "1",
        "mnli": "neutral",
        "mnli_mismatched": "neutral",
        "qnli": "not_entailment",
        "rte": "not_entailment",
        "wnli": "1",
        "ax": "neutral",
    }


def test_rows_are_in_the_order_of_their_numbers():
    text = predictions_of("sst2", np.array([2, 0, 1]), np.array([1, 0, 1])).text
    assert text == "index\tprediction\n0\t0\n1\t1\n2\t1\n"


def test_scores_are_moved_to_the_ends_of_the_scale_and_classes_are_not():
    assert within_scale(np.array([-0.25, 2.5, 5.5]), "stsb").tolist() == [0, 2.5, 5]
    assert within_scale(np.array([0, 2]), "mnli").tolist() == [0, 2]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("sst2", "", "got ''"),
        ("sst2", "index,prediction\n0,1\n", "got 'index,prediction'"),
        ("sst2", "0\t1\n", "expected the first line"),
        ("sst2", "index\tprediction\n0 1\n", "line 2: expected a row's number, a tab"),
        ("sst2", "index\tprediction\n-1\t1\n", "line 2: expected a row's number"),
        ("sst2", "index\tprediction\n0\t1\n\n", "line 3: expected a row's number"),
        ("sst2", "index\tprediction\n0\t1\n0\t0\n", "line 3: row 0 is there twice"),
        ("sst2", "index\tprediction\n0\t2\n", "line 2: expected 0 or 1 as prediction, got '2'"),
        ("sst2", "index\tprediction\n0\tpositive\n", "expected 0 or 1"),
        ("rte", "index\tprediction\n0\t1\n", "expected entailment or not_entailment"),
        ("mnli", "index\tprediction\n0\tunknown\n", "entailment or neutral or contradiction"),
        ("stsb", "index\tprediction\n0\tmuch\n", "a score of 0 to 5 as prediction, got 'much'"),
        ("stsb", "index\tprediction\n0\tnan\n", "a score of 0 to 5"),
        ("stsb", "index\tprediction\n0\t1.0\t2\n", "a score of 0 to 5"),
    ],
)
def test_another_form_is_refused_by_line(name, text, words):
    with pytest.raises(DataError) as refusal:
        parse(text, name, "some.tsv")
    assert str(refusal.value).startswith("some.tsv")
    assert words in str(refusal.value)


def test_test_rows_must_be_all_there_once_and_on_the_scale():
    def of(count, value=1.0, name="wnli"):
        return Predictions(name, dict.fromkeys(range(count), value))

    check_test_rows(of(146), "file")
    with pytest.raises(DataError, match=r"146 test rows of WNLI, 0 to 145, got 145: 1 missing .*145\)"):
        check_test_rows(of(145), "file")
    with pytest.raises(DataError, match=r"got 148: 2 too many \(the first is row 146\)"):
        check_test_rows(of(148), "file")
    shifted = Predictions("wnli", dict.fromkeys(range(1, 147), 0))
    with pytest.raises(DataError, match=r"1 missing \(the first is row 0\) and 1 too many"):
        check_test_rows(shifted, "file")
    check_test_rows(of(1_379, 5.0, "stsb"), "file")
    with pytest.raises(DataError, match=r"expected scores of 0 to 5, got 5\.1 for row 0"):
        check_test_rows(of(1_379, 5.1, "stsb"), "file")
