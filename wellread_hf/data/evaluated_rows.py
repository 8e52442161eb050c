"""Rows with what a classifier said of them: `predictions.parquet` of an evaluation."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import StoreError, library_errors_as
from wellread_hf.store.records import write_atomically

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, slots=True)
class EvaluatedRows:
    """Rows, their labels, and a classifier's logits in the order of the task's classes.

    Attributes:
        texts: One or two texts a row.
        labels: Class numbers [n], indicators of independent classes [n, classes], or values [n].
        logits: [n, outputs] in fp32.
        tokens: Tokens of each row as the classifier read it [n].
    """

    texts: Sequence[tuple[str, ...]]
    labels: npt.NDArray[Any]
    logits: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]

    @property
    def is_regression(self) -> bool:
        """Whether the labels are values: then the logits are, too, and there are no probabilities."""
        return self.logits.shape[1] == 1 and self.labels.ndim == 1

    def write(self, folder: Path) -> None:
        """Writes the columns `text`, `text_b` (null without a second text), `label`, `logits`, `tokens`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(
            {
                "text": [row[0] for row in self.texts],
                "text_b": pa.array([row[1] if len(row) > 1 else None for row in self.texts], pa.string()),
                "label": self.labels.tolist(),
                "logits": pa.array(list(self.logits), pa.list_(pa.float32())),
                "tokens": self.tokens,
            }
        )
        content = io.BytesIO()
        pq.write_table(table, content, compression="zstd")
        write_atomically(folder / PREDICTIONS, content.getvalue())

    @classmethod
    def read(cls, folder: Path) -> "EvaluatedRows":
        """Reads what `write` wrote into the folder of an evaluation.

        Raises:
            StoreError: There is none, or it is damaged.
        """
        import pyarrow.parquet as pq

        path = folder / PREDICTIONS
        with library_errors_as(
            StoreError, f"{path} cannot be read as predictions", "delete its folder and evaluate again"
        ):
            columns = pq.read_table(path).to_pydict()
            pairs = zip(columns["text"], columns["text_b"], strict=True)
            return cls(
                [(first,) if second is None else (first, second) for first, second in pairs],
                np.array(columns["label"]),
                np.array(columns["logits"], np.float32),
                np.array(columns["tokens"]),
            )
