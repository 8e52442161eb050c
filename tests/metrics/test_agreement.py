"""How often two models answer alike, and how far one scores below the other."""

import numpy as np
import pytest

from wellread_hf.metrics.agreement import agreement, score_drop

DRAW = np.random.default_rng(0)
LOGITS = DRAW.normal(size=(400, 3))


def test_the_same_answers_agree_whatever_their_logits() -> None:
    assert agreement(3 * LOGITS + 1, LOGITS, "classification") == 1
    assert agreement(3 * LOGITS, LOGITS, "multi-label") == 1
    # Values agree where they order rows alike.
    assert agreement(3 * LOGITS[:, :1] + 1, LOGITS[:, :1], "regression") == 1
    assert agreement(-LOGITS[:, :1], LOGITS[:, :1], "regression") == 0


def test_agreement_counts_rows_decisions_and_pairs_of_rows() -> None:
    other = LOGITS.copy()
    other[:40] = other[:40, [1, 2, 0]]
    assert agreement(other, LOGITS, "classification") == 0.9
    decisions = LOGITS.copy()
    decisions[:40, 0] *= -1
    assert agreement(decisions, LOGITS, "multi-label") == pytest.approx(1 - 40 / 1200)
    values = LOGITS[:6, :1]
    swapped = values.copy()
    first, second = np.argsort(values[:, 0])[:2]
    swapped[[first, second]] = values[[second, first]]
    assert agreement(swapped, values, "regression") == pytest.approx(1 - 1 / 15)


def test_a_drop_is_paired_and_its_interval_holds_it() -> None:
    labels = LOGITS.argmax(axis=1)
    worse = LOGITS.copy()
    worse[:20] = worse[:20, [1, 2, 0]]
    drop, (low, high) = score_drop(worse, LOGITS, labels, "accuracy", "classification")
    assert drop == pytest.approx(0.05)
    assert low < drop < high
    # Of 400 pairs of which 20 differ: half a width of 1.96 standard errors.
    assert high - drop == pytest.approx(1.96 * (0.05 * 0.95 / 400) ** 0.5, rel=0.3)
    none, interval = score_drop(LOGITS * 2, LOGITS, labels, "accuracy", "classification")
    assert (none, *interval) == (0, 0, 0)
