"""Packed windows as pairs of segments, for next-sentence prediction.

Source: Devlin et al. 2019, section 3.1, task 2. A row is [CLS] A [SEP] B [SEP], token types 0 and 1; in half
of the rows B is what follows A, in the others the text of another document.
"""

from typing import Any

import numpy as np

from wellread_hf.data.documents import SPECIAL_TOKENS, Windows
from wellread_hf.errors import DataError


class SentencePairs:
    """Packed windows as pairs of segments; which pair is a function of (seed, epoch, window) alone.

    A is a window's beginning, B its rest or the rest of another document's window, cut at the same place: so
    neither lengths nor places show which it is. The cut is drawn from the middle half. Held-out windows are
    paired with held-out ones, the others with the others.

    Args:
        windows: The packed corpus of a phase.
        tokenizer: Names [CLS] and [SEP].
        seed: Seed of all draws.

    Raises:
        DataError: Training or held-out windows are all of one document.
    """

    def __init__(self, windows: Windows, tokenizer: Any, seed: int) -> None:
        self.ids, self.documents = windows.ids, windows.documents
        self.train, self.held_out = windows.train, windows.held_out
        self.length = windows.length + SPECIAL_TOKENS
        self.first, self.last = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.seed = seed
        self._is_held_out = np.zeros(len(self.ids), dtype=bool)
        self._is_held_out[self.held_out] = True
        # Of each part its windows, and their documents' numbers, ascending.
        self._parts = [(part, np.asarray(self.documents[part])) for part in (self.train, self.held_out)]
        for (part, numbers), name in zip(self._parts, ("to train on", "held out"), strict=True):
            if len(np.unique(numbers)) < 2:
                raise DataError(
                    f"next-sentence prediction needs windows of at least two documents among those {name}, "
                    f"got {len(part)} of {len(np.unique(numbers))}; give more documents, or smaller "
                    "`block_lengths`"
                )

    def row(self, block: int, epoch: int) -> dict[str, Any]:
        """Returns `input_ids` and `token_type_ids` [length], and `next_sentence_label` (0: B follows A)."""
        # The masks of this row are drawn with the last number of the counter at 0.
        draw = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, block, 1]))
        width = self.ids.shape[1]
        # In the middle half, so that both parts have enough to mask.
        cut = int(draw.integers(width // 4, width - width // 4 + 1))
        stranger = int(draw.integers(2))
        follows = self.ids[self._stranger(block, draw) if stranger else block, cut:]
        ids = np.full(self.length, self.last, dtype=self.ids.dtype)
        ids[0], ids[1 : cut + 1], ids[cut + 2 : -1] = self.first, self.ids[block, :cut], follows
        return {
            "input_ids": ids,
            "token_type_ids": np.repeat([0, 1], [cut + 2, self.length - cut - 2]),
            "next_sentence_label": stranger,
        }

    def _stranger(self, block: int, draw: np.random.Generator) -> int:
        """Draws a window of another document, each with the same probability."""
        # Of the same part, or held-out text would be trained on.
        part, numbers = self._parts[int(self._is_held_out[block])]
        start, end = (
            int(np.searchsorted(numbers, self.documents[block], side)) for side in ("left", "right")
        )
        # Windows of one document lie side by side, so one draw that skips them is enough.
        index = int(draw.integers(len(part) - (end - start)))
        return int(part[index if index < start else index + end - start])
