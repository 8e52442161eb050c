"""The masked-LM collator: which tokens are predicted, and what is shown in their place.

Source: Devlin et al. 2019, section 3.1 (15 %, of these 80 % [MASK], 10 % a random word, 10 % unchanged).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from wellread_hf.data.packing import masked_positions_per_block
from wellread_hf.errors import DataError, TokenizerError

_MASKED, _RANDOM = 0.8, 0.9
# What an example has that decides its masks.
_BLOCK = ("input_ids", "epoch", "block")


class MlmCollator:
    """Masks exactly round(0.15 · T) positions of every block, so that shapes are static.

    What is masked in a block depends on (seed, epoch, block) alone: not on the batch it comes in,
    on workers, processes or a resume. Special tokens (unknown words among them) are never masked
    and never the random word.

    Called with a list of `{"input_ids": [T], "epoch": int, "block": int}`, and whatever else an example has,
    which is stacked as it is; returns
        input_ids: [B, T] the blocks with their masks;
        positions: [B, K] the masked positions of each row, ascending;
        labels: [B, K] the original tokens at these positions.

    Args:
        tokenizer: A fast tokenizer with a mask token.
        mask_share: Share of positions to predict.
        whole_word: Choose whole words, all pieces together, as long as they fit into K; the last
            one may be cut so that K is met exactly. The 80/10/10 draw stays a draw per token.
        seed: Seed of all draws.

    Raises:
        TokenizerError: No mask token, or `whole_word` and the pieces do not show where words start.
        DataError: (when called) a block has fewer than K ordinary tokens.
    """

    def __init__(
        self, tokenizer: Any, mask_share: float = 0.15, whole_word: bool = False, seed: int = 0
    ) -> None:
        if tokenizer.mask_token_id is None:
            raise TokenizerError(
                f"expected a tokenizer with a mask token, got {type(tokenizer).__name__} without one; "
                "take a BERT-like tokenizer or train one with wellread tokenizer"
            )
        self.mask_share = mask_share
        self.seed = seed
        self.mask_id: int = tokenizer.mask_token_id
        special = np.zeros(len(tokenizer), dtype=bool)
        special[tokenizer.all_special_ids] = True
        self._special = special
        # Random words are words alone; transformers' own collator may draw special tokens.
        self._words = np.flatnonzero(~special)
        self._continues = _continues_word(tokenizer) if whole_word else None

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Makes a masked batch of blocks."""
        # Packed ids have 16 or 32 bits, which torch's cross-entropy refuses as class numbers.
        original = np.stack([np.asarray(example["input_ids"], dtype=np.int64) for example in examples])
        rows, length = original.shape
        count = masked_positions_per_block(length, self.mask_share)
        shown = original.copy()
        positions = np.empty((rows, count), dtype=np.int64)
        for row, example in enumerate(examples):
            draw = self._generator(int(example["epoch"]), int(example["block"]))
            positions[row] = chosen = self._choose(original[row], count, draw)
            fate = draw.random(count)
            words = self._words[draw.integers(len(self._words), size=count)]
            shown[row, chosen] = np.select(
                [fate < _MASKED, fate < _RANDOM], [self.mask_id, words], original[row, chosen]
            )
        others = {
            name: torch.from_numpy(np.array([example[name] for example in examples], dtype=np.int64))
            for name in examples[0]
            if name not in _BLOCK
        }
        return {
            "input_ids": torch.from_numpy(shown),
            "positions": torch.from_numpy(positions),
            "labels": torch.from_numpy(np.take_along_axis(original, positions, axis=1)),
            **others,
        }

    def _generator(self, epoch: int, block: int) -> np.random.Generator:
        # A counter-based generator: one stream for every (seed, epoch, block), none depends on another.
        # The last number of the counter keeps these draws apart from those of sentence pairs.
        return np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, block, 0]))

    def _choose(
        self, ids: npt.NDArray[np.int64], count: int, draw: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        ordinary = np.flatnonzero(~self._special[ids])
        if len(ordinary) < count:
            raise DataError(
                f"expected at least {count} ordinary tokens in a block of {len(ids)}, got {len(ordinary)}; "
                "pack the corpus with wellread_hf, which leaves such blocks out"
            )
        if self._continues is None:
            return np.sort(draw.permutation(ordinary)[:count])
        # A word is a first piece and the pieces that continue it without a gap.
        starts = ~self._continues[ids[ordinary]] | (np.diff(ordinary, prepend=-2) > 1)
        words = np.split(ordinary, np.flatnonzero(starts)[1:])
        chosen: list[int] = []
        for index in draw.permutation(len(words)):
            if len(chosen) + len(words[index]) <= count:
                chosen.extend(words[index])
        if len(chosen) < count:
            # Only words longer than the gap are left: cut one.
            left = np.setdiff1d(ordinary, chosen)
            chosen.extend(left[: count - len(chosen)])
        return np.sort(np.array(chosen, dtype=np.int64))


def _continues_word(tokenizer: Any) -> npt.NDArray[np.bool_]:
    """Returns for every id whether its piece continues a word: `##ing`, or no leading space mark."""
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    if any(piece.startswith("##") for piece in pieces):
        return np.array([piece.startswith("##") for piece in pieces])
    if any(piece[:1] in "Ġ▁" for piece in pieces if piece):
        return np.array([piece[:1] not in ("Ġ", "▁") for piece in pieces])
    raise TokenizerError(
        "expected pieces that show where words start (## as in WordPiece, or a leading Ġ or ▁), found "
        "none; leave out `whole_word`"
    )
