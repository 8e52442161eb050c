"""Texts of several requests, read by the model together: whatever waits while it reads goes next."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy.typing as npt

from wellread_hf.serving.onnx_model import OnnxModel

Array = npt.NDArray[Any]


class Batches:
    """A queue of rows before one model.

    Nothing waits for a batch to fill: under little load each row goes at once, and under much load batches
    grow by themselves.

    Args:
        model: The model.
        size: Most rows at once.

    Attributes:
        waiting: Rows that wait, or are being read.
        count: Batches so far.
    """

    def __init__(self, model: OnnxModel, size: int) -> None:
        self.waiting = self.count = 0
        self._model, self._size = model, size
        self._rows: deque[tuple[Any, asyncio.Future[Array]]] = deque()
        self._given = asyncio.Event()
        # One: the model has threads of its own.
        self._thread = ThreadPoolExecutor(1)

    async def answer(self, rows: Sequence[Any]) -> list[Array]:
        """Returns the logits [outputs] of each encoded row; of a classifier of words [tokens, outputs].

        Raises:
            WellreadError: The model cannot answer one of them.
        """
        futures = [asyncio.get_running_loop().create_future() for _ in rows]
        self._rows.extend(zip(rows, futures, strict=True))
        self.waiting += len(rows)
        self._given.set()
        found: list[Array] = await asyncio.gather(*futures)
        return found

    async def work(self) -> None:
        """Reads what waits, until it is cancelled."""
        while True:
            await self._given.wait()
            # Those whose client has gone are left out.
            taken = [self._rows.popleft() for _ in range(min(self._size, len(self._rows)))]
            if not self._rows:
                self._given.clear()
            batch = [(row, future) for row, future in taken if not future.done()]
            for (_, future), found in zip(batch, await self._read([row for row, _ in batch]), strict=True):
                if future.done():
                    continue
                if isinstance(found, Exception):
                    future.set_exception(found)
                else:
                    future.set_result(found)
            self.waiting -= len(taken)

    async def _read(self, rows: list[Any]) -> Sequence[Array | Exception]:
        self.count += bool(rows)
        run = asyncio.get_running_loop().run_in_executor
        try:
            return list(await run(self._thread, self._model.run, rows, self._size))
        # Whatever it is, it is of one request; raised here it would end the queue for all later ones.
        except Exception as error:
            if len(rows) == 1:
                return [error]
        # One of them is at fault, and the others get their answers.
        return [found for row in rows for found in await self._read([row])]
