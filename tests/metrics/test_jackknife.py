"""The jackknife over rows beside a formula and a bootstrap."""

from math import sqrt

import numpy as np
import pytest

from wellread_hf.metrics.jackknife import row_error, scored


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    labels = np.zeros(1_000, dtype=np.int64)
    predictions = (np.random.default_rng(0).random(1_000) < 0.2).astype(np.int64)
    found = scored(predictions, labels, "accuracy")
    assert found[0] == 100 * (predictions == 0).mean()
    error, freedom = row_error(found[1:])
    # 50 groups estimate a standard deviation to a tenth.
    assert error == pytest.approx(100 * sqrt(0.2 * 0.8 / 1_000), rel=0.2)
    assert freedom == 49
    # As many groups as rows: exactly s / sqrt(n).
    few = scored(predictions[:40], labels[:40], "accuracy")
    assert row_error(few[1:])[0] == pytest.approx(100 * predictions[:40].std(ddof=1) / sqrt(40))


@pytest.mark.parametrize("metric", ["f1", "matthews_correlation", "pearson", "spearman"])
def test_what_is_no_mean_over_rows_has_the_error_that_a_bootstrap_finds(metric: str) -> None:
    from wellread_hf.metrics.glue_metric.glue_metric import METRICS

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600) if metric in ("f1", "matthews_correlation") else rng.normal(0, 1, 600)
    noise = rng.random((2, 600)) < 0.2
    one, two = (np.where(each, labels.max() - labels, labels) for each in noise)
    apart = scored(one, labels, metric) - scored(two, labels, metric)
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, 600, 600)
        ours, theirs = (METRICS[metric](each[rows], labels[rows]) for each in (one, two))
        drawn.append(100 * (ours - theirs))
    assert row_error(apart[1:])[0] == pytest.approx(np.std(drawn), rel=0.3)
