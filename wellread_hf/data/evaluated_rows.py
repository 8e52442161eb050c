"""Rows with what a classifier said of them: `predictions.parquet` of an evaluation."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.errors import StoreError, library_errors_as
from wellread_hf.metrics.per_word import PerWord, words_seen
from wellread_hf.store.records import write_atomically

PREDICTIONS = "predictions.parquet"
# The column of words, and where the file names their classes.
_WORDS, _CLASSES = "words", "classes"


@dataclass(frozen=True, slots=True)
class EvaluatedRows:
    """Rows, their labels, and a classifier's logits in the order of the task's classes.

    Attributes:
        texts: One or two texts a row, or its words.
        labels: Class numbers [n], indicators of independent classes [n, classes], or values [n]; of words a
            `PerWord`, as the logits are then.
        logits: [n, outputs] in fp32.
        tokens: Tokens of each row as the classifier read it [n].
    """

    texts: Sequence[tuple[str, ...]]
    labels: Any
    logits: Any
    tokens: npt.NDArray[np.int64]

    @property
    def is_regression(self) -> bool:
        """Whether the labels are values: then the logits are, too, and there are no probabilities."""
        return bool(self.logits.shape[1] == 1 and self.labels.ndim == 1)

    def write(self, folder: Path) -> None:
        """Writes the columns `text`, `text_b` (null without a second text), `label`, `logits`, `tokens`.

        Of words `words`, `label`, `logits` (NaN for a word that the model did not see) and `tokens`.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if isinstance(self.labels, PerWord):
            offsets = pa.array(self.labels.offsets, pa.int32())
            logits = pa.array(list(self.logits.values), pa.list_(pa.float32()))
            columns = {
                _WORDS: [list(row) for row in self.texts],
                "label": pa.ListArray.from_arrays(offsets, pa.array(self.labels.values)),
                "logits": pa.ListArray.from_arrays(offsets, logits),
            }
        else:
            columns = {
                "text": [row[0] for row in self.texts],
                "text_b": pa.array([row[1] if len(row) > 1 else None for row in self.texts], pa.string()),
                "label": self.labels.tolist(),
                "logits": pa.array(list(self.logits), pa.list_(pa.float32())),
            }
        table = pa.table(columns | {"tokens": self.tokens})
        if isinstance(self.labels, PerWord):
            table = table.replace_schema_metadata({_CLASSES: json.dumps(self.labels.names)})
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
            table = pq.read_table(path)
            if _WORDS in table.column_names:
                return cls._of_words(table)
            columns = table.to_pydict()
            pairs = zip(columns["text"], columns["text_b"], strict=True)
            return cls(
                [(first,) if second is None else (first, second) for first, second in pairs],
                np.array(columns["label"]),
                np.array(columns["logits"], np.float32),
                np.array(columns["tokens"]),
            )

    @classmethod
    def _of_words(cls, table: Any) -> "EvaluatedRows":
        texts = [tuple(row) for row in table[_WORDS].to_pylist()]
        names = tuple(json.loads(table.schema.metadata[_CLASSES.encode()]))
        labels, logits = (
            PerWord.of(np.array([*chain(*table[name].to_pylist())], kind), [*map(len, texts)], names)
            for name, kind in (("label", np.int64), ("logits", np.float32))
        )
        return cls(texts, labels, logits, np.array(table["tokens"]))

    @property
    def each_word(self) -> "EvaluatedRows":
        """The words that the model saw, each as a row; rows that have a class themselves are as they are."""
        if not isinstance(self.labels, PerWord):
            return self
        logits, labels = words_seen(self.logits, self.labels)
        seen = ~np.isnan(self.logits.values).any(axis=1)
        words = [*compress(chain(*self.texts), seen)]
        tokens = np.repeat(self.tokens, self.labels.counts)[seen]
        return EvaluatedRows([(word,) for word in words], labels, logits, tokens)
