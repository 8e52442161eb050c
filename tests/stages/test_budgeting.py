"""Budgets: what fits, and sizes that are predicted from others."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.errors import NothingFitsError
from wellread_hf.settings import Budget
from wellread_hf.stages.budgeting import QUICK, _predicted, cost, fitting
from wellread_hf.students import STUDENTS, Student


def _outcome(costs: dict[tuple[str, str], tuple[float | None, float]]) -> dict[str, Any]:
    return {
        "candidates": [
            {"model": name, "format": form, "bytes": 1e6 * mb, "latency": [{"p50_ms": ms}]}
            for (name, form), (ms, mb) in costs.items()
        ]
    }


COSTS = {
    ("bert-2-128", "torch"): (3.0, 17.6),
    ("bert-2-128", "onnx-int8"): (0.4, 4.5),
    ("bert-4-256", "onnx-int8"): (1.5, 11.3),
    ("bert-12-768", "onnx-int8"): (None, 110.0),
}


def test_a_size_fits_where_one_of_its_formats_keeps_to_both_limits() -> None:
    outcome = _outcome(COSTS)
    assert fitting(outcome, Budget(max_ms=2, max_mb=20)) == {
        "bert-2-128": ["onnx-int8"],
        "bert-4-256": ["onnx-int8"],
    }
    assert fitting(outcome, Budget(max_ms=3))["bert-2-128"] == ["torch", "onnx-int8"]
    assert fitting(outcome, Budget(max_mb=200), ["torch"]) == {"bert-2-128": ["torch"]}
    # Unknown milliseconds keep to no limit, and do not matter where there is none.
    assert "bert-12-768" not in fitting(outcome, Budget(max_ms=1e6))
    assert "bert-12-768" in fitting(outcome, Budget(max_mb=200))


def test_where_nothing_fits_the_nearest_is_named() -> None:
    with pytest.raises(NothingFitsError, match=r"`max_ms` 0.3.*bert-2-128, onnx-int8, with 0.40 ms") as none:
        fitting(_outcome(COSTS), Budget(max_ms=0.3, max_mb=20))
    assert none.value.status == 3


# The first example imports the solver.
@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(0.01, 10), min_size=5, max_size=5))
def test_costs_that_follow_the_model_are_predicted_for_all_24_from_eight(weights: list[float]) -> None:
    def true(each: Student) -> float:
        terms = [1, each.hidden, each.layers, each.layers * each.hidden, each.layers * each.hidden**2]
        return float(np.dot(weights, np.divide(terms, [1, 768, 12, 12 * 768, 12 * 768**2])))

    known = {each: true(each) for each in QUICK}
    assert [cost(known, each) for each in STUDENTS] == pytest.approx([*map(true, STUDENTS)], rel=1e-3)


def test_one_size_measured_on_a_busy_machine_predicts_without_an_error_of_its_own() -> None:
    point = {"threads": 1, "batch": 1, "length": 64, "p50_ms": None}
    known = [{"model": each.name, "format": "torch", "bytes": 1_000, "latency": [point]} for each in QUICK]
    known[0] = known[0] | {"latency": [point | {"p50_ms": 2.0}]}
    outcome = _predicted(known, [STUDENTS[1]])
    assert outcome["left_out_error"] is None
    assert outcome["candidates"][-1]["latency"][0]["p50_ms"] > 0
