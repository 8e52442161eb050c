"""The average of the release's table, and what a mean of some tasks may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellread_hf.errors import DataError, UnknownNameError
from wellread_hf.metrics.average import average, mean_and_spread, set_score
from wellread_hf.results.paper import GLUE_TEST, TEST_COLUMNS
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS


def row_of(cells):
    """A row of the release's table as scores by set and metric."""
    shown = dict(zip(TEST_COLUMNS, cells, strict=True))
    return {
        name: dict(zip(rows.metrics, map(float, shown[rows.title].split("/")), strict=True))
        for name, rows in GLUE_SETS.items()
    }


ROWS = [row_of(cells) for cells in GLUE_TEST.values()]


@pytest.mark.parametrize(("row", "score"), list(zip(ROWS, [64.2, 65.8, 71.2, 73.5], strict=True)))
def test_the_rows_of_the_release_give_its_scores(row, score):
    found = average(row)
    assert found.value == pytest.approx(score, abs=0.1)
    assert found.complete
    assert found.name("test") == "GLUE score"
    assert found.name("dev") == "GLUE score, dev"
    assert "ax" not in found.sets


@given(st.sets(st.sampled_from([name for name in GLUE_SETS if name != "ax"]), min_size=1, max_size=9))
def test_some_tasks_never_make_a_glue_score_and_are_named(names):
    found = average({name: ROWS[0][name] for name in names})
    assert not found.complete
    for split in ("dev", "test"):
        name = found.name(split)
        assert "GLUE score" not in name
        assert name.endswith(", dev") == (split == "dev")
        titles = {GLUE_SETS[name].title for name in names}
        assert set(name.removeprefix("mean of ").partition(" (")[0].split(", ")) == titles
    tasks = {GLUE_SETS[name].task for name in names}
    assert f"({len(tasks)} of GLUE's 9 tasks)" in found.name("test")


def test_ax_changes_nothing_and_is_no_average_alone():
    row = dict(ROWS[1])
    ax = {"ax": row.pop("ax")}
    assert average(row) == average(ROWS[1])
    with pytest.raises(DataError, match="at least one of GLUE's tasks"):
        average(ax)
    with pytest.raises(DataError):
        average({})


def test_two_metrics_count_as_one_task_and_mnli_too():
    assert set_score("mrpc", {"f1": 80.0, "accuracy": 70.0}) == 75.0
    scores = {"sst2": {"accuracy": 90.0}, "mnli": {"accuracy": 70.0}, "mnli_mismatched": {"accuracy": 72.0}}
    assert average(scores).value == pytest.approx((90 + 71) / 2)
    with pytest.raises(DataError, match="mrpc: expected scores of f1 and accuracy, got f1"):
        set_score("mrpc", {"f1": 80.0})
    with pytest.raises(UnknownNameError, match="'sst-2'; the nearest is sst2"):
        average({"sst-2": {"accuracy": 90.0}})


def test_mean_and_spread_is_that_of_a_sample():
    assert mean_and_spread([50.0, 60.0]) == "55.0 ± 7.1"
    assert mean_and_spread([50.04]) == "50.0"


def test_glue_has_nine_tasks_and_eleven_files():
    assert len(GLUE_TASKS) == 9
    assert [rows.title for rows in GLUE_SETS.values()] == list(TEST_COLUMNS[1:])
