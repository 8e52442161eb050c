"""The order of a run: epochs of permutations, rows of like length together, one function of the seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.data.order import length_grouped, shuffled, whole_run

LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=300).map(np.array)
QUICK = settings(derandomize=True, deadline=None, max_examples=20)


def padded_tokens(lengths, order, batch_size):
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return sum(int(lengths[batch].max()) * len(batch) for batch in batches)


@QUICK
@given(rows=st.integers(1, 500), seed=st.integers(0, 2**40), epoch=st.integers(0, 100))
def test_shuffled_is_a_permutation(rows, seed, epoch):
    order = shuffled(rows, seed, epoch)
    assert np.array_equal(np.sort(order), np.arange(rows))
    assert np.array_equal(order, shuffled(rows, seed, epoch))


@QUICK
@given(lengths=LENGTHS, batch_size=st.integers(1, 40), seed=st.integers(0, 1_000), epoch=st.integers(0, 5))
def test_length_grouped_is_a_permutation_sorted_within_every_batch(lengths, batch_size, seed, epoch):
    order = length_grouped(lengths, batch_size, seed, epoch)
    assert np.array_equal(np.sort(order), np.arange(len(lengths)))
    for start in range(0, len(order), batch_size):
        assert (np.diff(lengths[order[start : start + batch_size]]) <= 0).all()


@QUICK
@given(lengths=LENGTHS, batch_size=st.integers(1, 40), steps=st.integers(1, 60), seed=st.integers(0, 1_000))
def test_a_run_is_epochs_of_permutations(lengths, batch_size, steps, seed):
    order = whole_run(lengths, batch_size, steps, seed)
    assert len(order) == steps * batch_size
    for epoch, start in enumerate(range(0, len(order), len(lengths))):
        part = order[start : start + len(lengths)]
        assert len(set(part.tolist())) == len(part)
        if epoch == 0:
            assert np.array_equal(part, length_grouped(lengths, batch_size, seed, 0)[: len(part)])


@QUICK
@given(lengths=LENGTHS, batch_size=st.integers(1, 40), steps=st.integers(1, 60), seed=st.integers(0, 1_000))
def test_a_longer_run_begins_like_a_shorter_one(lengths, batch_size, steps, seed):
    short, long = whole_run(lengths, batch_size, steps, seed), whole_run(lengths, batch_size, 2 * steps, seed)
    assert np.array_equal(long[: len(short)], short)


def test_the_order_follows_seed_and_epoch_alone():
    lengths = np.random.default_rng(0).integers(1, 100, 500)
    first = whole_run(lengths, 8, 300, 1)
    np.random.default_rng(5).random(10)
    assert np.array_equal(first, whole_run(lengths, 8, 300, 1))
    assert not np.array_equal(first, whole_run(lengths, 8, 300, 2))
    assert not np.array_equal(first[:500], first[500:1_000])
    assert not np.array_equal(shuffled(500, 0, 1), shuffled(500, 1, 0))


def test_rows_of_a_batch_are_of_like_length():
    lengths = np.random.default_rng(0).integers(5, 128, 4_000)
    random = padded_tokens(lengths, shuffled(4_000, 0, 0), 32)
    grouped = padded_tokens(lengths, length_grouped(lengths, 32, 0, 0), 32)
    # The least that any order could need, and a good part of the way from random to there.
    least = padded_tokens(lengths, np.argsort(-lengths, kind="stable"), 32)
    assert grouped < 1.05 * least < random / 1.7


def test_every_epochs_batches_are_of_like_length():
    # 4,001 rows are no whole number of batches: without care, all batches after the first epoch would be
    # halves of two, and a third of their tokens padding.
    lengths = np.random.default_rng(0).integers(5, 128, 4_001)
    order = whole_run(lengths, 32, 500, 0)
    for start in (0, 4_000, 8_000, 12_000):
        part = order[start : start + 4_000]
        assert padded_tokens(lengths, part, 32) < 1.05 * lengths[part].sum()


def test_batches_come_in_random_order_of_length():
    lengths = np.random.default_rng(0).integers(5, 128, 4_000)
    order = length_grouped(lengths, 32, 0, 0)
    longest = lengths[order[::32]]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


def test_a_short_batch_comes_last():
    lengths = np.arange(1, 11)
    order = length_grouped(lengths, 4, 0, 0)
    # Sorted: 10 9 8 7 | 6 5 4 3 | 2 1.
    assert lengths[order[-2:]].tolist() == [2, 1]


@pytest.mark.parametrize("rows", [1_000, 67_349])
def test_every_row_comes_once_an_epoch_whatever_the_size(rows):
    lengths = np.random.default_rng(1).integers(3, 60, rows)
    steps = -(-3 * rows // 32)
    counts = np.bincount(whole_run(lengths, 32, steps, 0)[: 3 * rows], minlength=rows)
    assert (counts == 3).all()


def test_the_order_is_pinned():
    assert shuffled(8, 0, 0).tolist() == [2, 4, 3, 6, 5, 0, 1, 7]
    assert whole_run(np.array([3, 1, 4, 1, 5]), 2, 4, 0).tolist() == [4, 2, 0, 3, 1, 3, 0, 1]
