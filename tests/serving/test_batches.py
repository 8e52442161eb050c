"""Rows of several requests share batches, and each request gets its own answer or its own error."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from wellread_hf.serving.batches import Batches


class Doubles:
    """Stands for a model: twice each row; it waits to be let go, and fails on rows below zero."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.sizes: list[int] = []

    def run(self, rows: list[int], batch_size: int) -> Any:
        self.go.wait(10)
        self.sizes.append(len(rows))
        if min(rows) < 0:
            raise RuntimeError(f"cannot read {min(rows)}")
        return np.array([[2 * row] for row in rows])


async def _asked(batches: Batches, model: Doubles, requests: list[list[int]]) -> list[Any]:
    working = asyncio.create_task(batches.work())
    waiting = [asyncio.create_task(batches.answer(rows)) for rows in requests]
    # All are in the queue before the first batch is read.
    await asyncio.sleep(0.05)
    model.go.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    working.cancel()
    return list(found)


def test_what_waits_while_the_model_reads_goes_next_in_batches_of_at_most_the_size() -> None:
    model = Doubles()
    batches = Batches(model, 4)  # type: ignore[arg-type]  # a stand-in
    requests = [[1], [2, 3], [4, 5, 6], [7], [8], [9, 10]]
    found = asyncio.run(_asked(batches, model, requests))
    for rows, answer in zip(requests, found, strict=True):
        assert np.ravel(answer).tolist() == [2 * row for row in rows]
    assert max(model.sizes) == 4
    assert sum(model.sizes) == 10
    assert batches.count == len(model.sizes) < len(requests)
    assert batches.waiting == 0


def test_an_error_is_that_of_its_own_request_and_the_queue_goes_on() -> None:
    model = Doubles()
    batches = Batches(model, 8)  # type: ignore[arg-type]  # a stand-in
    good, bad, other = asyncio.run(_asked(batches, model, [[1, 2], [3, -4], [5]]))
    assert np.ravel(good).tolist() == [2, 4]
    assert np.ravel(other).tolist() == [10]
    with pytest.raises(RuntimeError, match="cannot read -4"):
        raise bad
