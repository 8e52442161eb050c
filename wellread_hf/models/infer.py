"""Logits (and [CLS] states) of a classifier for many rows, in batches of rows of like length."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wellread_hf.errors import SourceError, library_errors_as
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.models.encode import EncodedRows, PadCollator, RowEncoder, encode
from wellread_hf.models.last_layer import first_position_only
from wellread_hf.store.progress import bar
from wellread_hf.store.stage import Location

# As a labelling pass has it by default.
_BATCH_TOKENS = 8192
# A CPU is faster with less: activations stay in its caches, and small batches pad less (docs/performance.md).
_CPU_BATCH_TOKENS = 2048
# A batch ends before more than a sixteenth of the most tokens is padding: among few rows lengths fall fast.
_PADDING = 16


def batches_by_length(
    rows: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], batch_tokens: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Cuts `rows`, longest first, into batches of at most `batch_tokens` tokens, few of them padding."""
    start = 0
    while start < len(rows):
        # The rows come longest first, so the first one decides the padded width.
        width = int(lengths[rows[start]])
        count = max(1, batch_tokens // width)
        padding = np.cumsum(width - lengths[rows[start : start + count]])
        count = int(np.searchsorted(padding, batch_tokens // _PADDING, side="right"))
        yield rows[start : start + count]
        start += count


def tokens_a_batch(model: Any, batch_tokens: int) -> int:
    """Returns the most tokens of a batch: on a CPU no more than 2,048."""
    return min(batch_tokens, _CPU_BATCH_TOKENS) if model.device.type == "cpu" else batch_tokens


def longest_first(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the row indices by falling length, equal ones in their order."""
    return np.argsort(-lengths, kind="stable")


def cls_states(outputs: Any, layers: Sequence[int]) -> Tensor:
    """Returns the first token's states [B, k, H] after `layers`, counted from 1.

    Args:
        outputs: Of a model that was run with `output_hidden_states`.
        layers: k of the model's layers.
    """
    return torch.stack([outputs.hidden_states[layer][:, 0] for layer in layers], dim=1)


@torch.inference_mode()
def logits_and_states_of(
    model: Any,
    encoded: EncodedRows,
    rows: npt.NDArray[np.int64],
    batch_tokens: int,
    shown: Any,
    layers: Sequence[int] = (),
) -> tuple[Any, npt.NDArray[np.float16] | None]:
    """Runs a classifier over some rows.

    Args:
        model: The classifier; put into evaluation mode.
        encoded: All rows, tokenised for this model.
        rows: Which of them, longest first.
        batch_tokens: Tokens a batch, padding included; on a CPU no more than 2,048.
        shown: A progress bar that counts rows.
        layers: Layers whose [CLS] states are wanted, counted from 1.

    Returns:
        Logits [len(rows), classes] in fp32 (of a model that classifies words a `PerWord`) and, if there are
        layers, states [len(rows), k, H] in fp16, in the order of `rows`.

    Raises:
        NotFiniteError: A logit of a word is NaN or infinite.
    """
    model.eval()
    collate = PadCollator(encoded.pad_id, encoded.pad_left)
    batch_tokens = tokens_a_batch(model, batch_tokens)
    # Only where it is wanted: not every classifier takes the argument.
    more = {"output_hidden_states": True} if layers else {}
    logits: list[Any] = []
    states = []
    with first_position_only(model):
        for batch in batches_by_length(rows, encoded.lengths, batch_tokens):
            inputs = collate([encoded.row(int(index)) for index in batch])
            outputs = model(**{name: value.to(model.device) for name, value in inputs.items()}, **more)
            found = outputs.logits.float().cpu().numpy()
            logits.append(found if encoded.words is None else encoded.words.answers(found, batch))
            if layers:
                # fp16 is enough, since states are normalised before they are compared.
                states.append(cls_states(outputs, layers).half().cpu().numpy())
            shown.update(len(batch))
    joined: Any = np.concatenate(logits) if encoded.words is None else PerWord.joined(logits)
    return joined, np.concatenate(states) if layers else None


def check_reads(model: Any, texts: Sequence[tuple[str, ...]], encoder: RowEncoder, at: Location) -> None:
    """Lets a classifier read a few rows, so that what it cannot do shows before anything long starts.

    Args:
        model: The classifier; put into evaluation mode.
        texts: One or two texts a row.
        encoder: How it reads them.
        at: Where it was loaded from.

    Raises:
        SourceError: It fails, or does not give a row of logits for each row.
    """
    with library_errors_as(SourceError, f"{at}: expected a classifier of texts, and it cannot read one"):
        found = logits_in_order(model, encode(texts, encoder)).shape
    if found != (len(texts), model.config.num_labels):
        raise SourceError(
            f"{at}: expected logits of shape {(len(texts), model.config.num_labels)}, rows and classes, got "
            f"{found}; take a sequence classifier"
        )


def logits_in_order(model: Any, encoded: EncodedRows) -> Any:
    """Returns the logits [rows, classes] of all rows in their own order; those of words as a `PerWord`."""
    order = longest_first(encoded.lengths)
    with bar("scoring", "rows", len(order)) as shown:
        found, _ = logits_and_states_of(model, encoded, order, _BATCH_TOKENS, shown)
    return found[np.argsort(order)]
