"""Latencies of candidates in turn: what load does to them, and what it does not."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellread_hf.serving.timing import Timings, in_turn


def _timings(load, noise=0.0, seed=0):
    """A reference of 2 ms and a candidate of 0.5 ms, both slowed down by the load of each turn."""
    draw = np.random.default_rng(seed)
    load = np.asarray(load)[:, None]

    def calls(seconds):
        return seconds * load * np.exp(noise * draw.normal(size=(len(load), 10)))

    return Timings({"torch": calls(2e-3), "int8": calls(5e-4)})


@given(st.lists(st.floats(0.5, 20), min_size=8, max_size=40))
def test_load_that_slows_down_both_leaves_the_ratio_as_it_is(load) -> None:
    ratio = _timings(load).ratio("int8", "torch")
    assert [ratio.value, ratio.low, ratio.high] == pytest.approx([4, 4, 4])


def test_under_noise_and_load_the_ratio_is_within_five_percent_of_the_true_one() -> None:
    draw = np.random.default_rng(1)
    ratios = [
        _timings(draw.choice([1, 1.3, 3], size=40), noise=0.2, seed=seed).ratio("int8", "torch")
        for seed in range(20)
    ]
    assert all(3.8 < ratio.value < 4.2 for ratio in ratios)
    # A 95 % interval misses one time in twenty.
    assert sum(ratio.low <= 4 <= ratio.high for ratio in ratios) >= 18


def test_absolute_times_count_only_where_the_reference_stayed_within_a_fifth() -> None:
    assert _timings([1] * 40).steady("torch")
    assert _timings(np.linspace(1, 1.15, 40)).steady("torch")
    assert not _timings([1] * 20 + [1.3] * 20).steady("torch")
    # In either direction; a short disturbance in between does not count.
    assert not _timings([1.3] * 20 + [1] * 20).steady("torch")
    assert _timings([1] * 18 + [5] * 4 + [1] * 18).steady("torch")


@pytest.mark.parametrize(("calls", "known"), [(10, [50]), (50, [50, 95]), (100, [50, 95, 99])])
def test_a_quantile_is_given_where_there_are_calls_beyond_it(calls, known) -> None:
    found = Timings({"torch": np.full((calls // 10, 10), 3e-3)}).milliseconds("torch")
    assert found == {percent: pytest.approx(3) if percent in known else None for percent in (50, 95, 99)}


def test_candidates_take_turns_and_go_through_their_rows_in_step() -> None:
    seen, rows = [], {name: itertools.count() for name in ("torch", "fp32", "int8")}
    timings = in_turn(
        {name: lambda name=name: seen.append((name, next(rows[name]))) for name in rows}, seconds=0.01
    )
    turns = [name for name, _ in itertools.groupby(seen, key=lambda call: call[0])]
    # Two rounds of single calls come first.
    assert turns == list(rows) * (len(timings.seconds["torch"]) + 2)
    counts = {name: [row for called, row in seen if called == name] for name in rows}
    assert counts["torch"] == counts["fp32"] == counts["int8"] == [*range(len(counts["torch"]))]


def test_a_slow_candidate_still_has_turns_enough_for_an_interval() -> None:
    timings = in_turn({"slow": lambda: sum(range(100_000))}, seconds=0)
    assert timings.seconds["slow"].shape == (8, 1)


def test_what_a_call_waits_for_a_processor_is_not_counted() -> None:
    # To the clock of the wall, sleeping is like waiting.
    timings = in_turn({"waits": lambda: time.sleep(0.02)}, seconds=0)
    assert timings.seconds["waits"].max() < 0.01
