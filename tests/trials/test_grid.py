"""The choice on dev, against the same in pandas."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import trial

from wellread_hf.results.trials import Trial, best_points, points

GRID = ["student", "method", "task", "learning_rate", "batch_size", "seed"]


def _trial(key: tuple[object, ...], state: str, sixteenths: int) -> Trial:
    # Sixteenths have exact sums, so that ties are ties however they are added up.
    score = None if state == "failed" else sixteenths / 16
    return trial(hash(key), **dict(zip(GRID, key, strict=True)), state=state, score=score)


trials = st.lists(
    st.builds(
        _trial,
        st.tuples(
            st.sampled_from(["bert-2-128", "bert-4-256"]),
            st.sampled_from(["pf", "pd"]),
            st.sampled_from(["sst2", "rte"]),
            st.sampled_from([1e-4, 3e-4]),
            st.sampled_from([8, 32]),
            st.integers(0, 2),
        ),
        st.sampled_from(["done", "done", "done", "failed", "stopped"]),
        st.integers(0, 3),
    ),
    max_size=60,
    unique_by=lambda row: row.digest,
)


@settings(derandomize=True, deadline=None)
@given(trials, st.sets(st.integers(0, 2), min_size=1).map(sorted))
def test_the_best_points_are_those_that_pandas_finds(rows: list[Trial], seeds: list[int]) -> None:
    table = pd.DataFrame([[*(getattr(row, name) for name in GRID), row.score, row.state] for row in rows],
                         columns=[*GRID, "score", "state"])  # fmt: skip
    done = table[(table.state == "done") & table.seed.isin(seeds)]
    means = done.groupby(GRID[:-1]).score.agg(["mean", "count"]).reset_index()
    whole = means[means["count"] == len(seeds)]
    order = whole.sort_values(["mean", "learning_rate", "batch_size"], ascending=[False, True, True])
    expected = {
        (row.student, row.method, row.task): (row.learning_rate, row.batch_size, row.mean)
        for row in order.drop_duplicates(["student", "method", "task"]).itertuples()
    }
    best = best_points(rows, seeds)
    assert {key: (p.learning_rate, p.batch_size, p.mean) for key, p in best.items()} == expected
    for point in best.values():
        assert [run.seed for run in point.trials] == seeds


@settings(derandomize=True, deadline=None)
@given(trials)
def test_every_trial_is_in_one_point(rows: list[Trial]) -> None:
    found = points(rows)
    assert sorted(run.digest for point in found for run in point.trials) == sorted(r.digest for r in rows)
    for point in found:
        assert [run.seed for run in point.trials] == sorted({run.seed for run in point.trials})


def test_mean_and_spread_are_of_what_is_done() -> None:
    runs = [trial(seed, seed=seed, score=score) for seed, score in enumerate((0.80, 0.82, 0.86, 0.88))]
    (point,) = points([*runs, trial(9, seed=9, state="stopped", score=0.1)])
    assert point.mean == pytest.approx(0.84)
    # Squared distances 16 + 4 + 4 + 16 = 40; 40 / 3 = 13.33; its root 3.65.
    assert point.spread == pytest.approx(0.0365, abs=5e-5)
    (lone,) = points([trial(state="failed", score=None)])
    assert (lone.scores, lone.spread) == ((), None)
    with pytest.raises(ValueError, match="at least one data point"):
        _ = lone.mean


def test_without_seeds_nothing_is_chosen() -> None:
    assert best_points([trial()], []) == {}
