"""What a finished classifier says of rows: the one way to predict, for scores, tables and checks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.models.encode import RowEncoder, encode, row_encoder
from wellread_hf.models.encode_once import encode_once
from wellread_hf.models.infer import logits_in_order
from wellread_hf.models.load import load_classifier, load_tokenizer, positions_of
from wellread_hf.store.graph import processes
from wellread_hf.store.stage import Location

# Longer than nearly all rows; for a model without a limit of its own.
_LONGEST = 512


def load_finished(at: Location, max_length: int | None = None) -> tuple[Any, RowEncoder]:
    """Loads a finished classifier in fp32, on this process's device, and how it reads rows.

    Args:
        at: Where it lies.
        max_length: Tokens a row; None: its tokenizer's, at most its positions.

    Raises:
        WellreadError: As from `load_classifier`, `load_tokenizer` and `row_encoder`.
    """
    tokenizer = load_tokenizer(at)
    model = load_classifier(at).to(processes().device)
    return model, row_encoder(model, tokenizer, max_length or length_of(model, tokenizer))


def length_of(model: Any, tokenizer: Any) -> int:
    """Returns the tokens a row that a classifier was saved for, at most its positions."""
    # Without a length a tokenizer says 1e30, and a model without positions says nothing.
    own = int(tokenizer.model_max_length)
    return min(own if own <= (limit := positions_of(model) or _LONGEST) else limit, limit)


def predict(
    model: Any, encoder: RowEncoder, texts: Sequence[tuple[str, ...]], runs: Path | None = None
) -> tuple[Any, npt.NDArray[np.int64]]:
    """Predicts rows.

    Args:
        model: The classifier; put into evaluation mode.
        encoder: How it reads them.
        texts: One or two texts a row.
        runs: Folder of all stages, which remembers tokenised rows; None remembers nothing.

    Returns:
        Logits [rows, outputs] in fp32 (of words a `PerWord`) and tokens [rows], in the order of the rows.
    """
    encoded = encode(texts, encoder) if runs is None else encode_once(texts, encoder, runs)
    return logits_in_order(model, encoded), encoded.lengths
