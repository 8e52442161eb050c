"""Texts as ids, kept flat: one array for all rows, cut by offsets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wellread_hf.errors import TokenizerError
from wellread_hf.progress import bar

# Rows tokenised in one call.
_BATCH = 8_192


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Tokenised rows.

    Attributes:
        ids: [all tokens] ids of all rows, one after another, special tokens included.
        segments: [all tokens] token types, or None where the model knows none.
        offsets: [rows + 1] where each row starts in `ids`.
        pad_id: Id that fills short rows.
    """

    ids: npt.NDArray[np.int32]
    segments: npt.NDArray[np.int8] | None
    offsets: npt.NDArray[np.int64]
    pad_id: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def row(self, index: int) -> dict[str, Any]:
        """Returns `input_ids` [T] and, where the model knows them, `token_type_ids` [T] of one row."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        row = {"input_ids": self.ids[span]}
        return row if self.segments is None else {**row, "token_type_ids": self.segments[span]}


def encode(texts: Sequence[tuple[str, ...]], tokenizer: Any, max_length: int) -> EncodedRows:
    """Tokenises rows of one or two texts; what is over `max_length` tokens is cut, the longer text first.

    Raises:
        TokenizerError: The tokenizer has no padding token, so rows cannot share a batch.
    """
    if tokenizer.pad_token_id is None:
        raise TokenizerError(
            f"expected a tokenizer with a padding token, got {type(tokenizer).__name__} without one; set its "
            "pad_token and save it again"
        )
    lengths: list[int] = []
    ids: list[npt.NDArray[np.int32]] = []
    segments: list[npt.NDArray[np.int8]] = []
    has_segments = "token_type_ids" in tokenizer.model_input_names
    with bar("tokenising", "rows", len(texts)) as shown:
        for start in range(0, len(texts), _BATCH):
            columns = [list(column) for column in zip(*texts[start : start + _BATCH], strict=True)]
            batch = tokenizer(*columns, truncation=True, max_length=max_length, return_attention_mask=False)
            lengths.extend(map(len, batch["input_ids"]))
            ids.append(np.fromiter(chain.from_iterable(batch["input_ids"]), dtype=np.int32))
            if has_segments:
                segments.append(np.fromiter(chain.from_iterable(batch["token_type_ids"]), dtype=np.int8))
            shown.update(len(columns[0]))
    return EncodedRows(
        ids=np.concatenate(ids),
        segments=np.concatenate(segments) if has_segments else None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        pad_id=tokenizer.pad_token_id,
    )


class PadCollator:
    """Pads rows to the longest of the batch.

    Called with rows as `EncodedRows.row` gives them, plus targets; returns `input_ids`,
    `attention_mask` and `token_type_ids` [B, T], and each target stacked.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Makes a batch of rows."""
        lengths = np.array([len(row["input_ids"]) for row in rows])
        batch = {"attention_mask": np.arange(lengths.max()) < lengths[:, None]}
        for name in rows[0]:
            if name in ("input_ids", "token_type_ids"):
                padded = np.full(
                    (len(rows), lengths.max()), self.pad_id if name == "input_ids" else 0, dtype=np.int64
                )
                padded[batch["attention_mask"]] = np.concatenate([row[name] for row in rows])
                batch[name] = padded
            else:
                batch[name] = np.stack([row[name] for row in rows])
        batch["attention_mask"] = batch["attention_mask"].astype(np.int64)
        return {name: torch.from_numpy(values) for name, values in batch.items()}
