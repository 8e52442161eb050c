"""Log-probabilities of a few continuations of many prompts, by a causal language model.

What all prompts begin with is read once: its keys and values are handed to every batch. Prompts of a batch
are of like length; one pass gives the first token of all continuations, and a second short one on the
batch's own keys and values the others.

A model that keeps something else than keys and values of all its tokens (a recurrent state, or a sliding
window that is shorter than the prompts), or whose positions depend on the length of the whole text, reads
each prompt whole.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wellread_hf.models.infer import batches_by_length, tokens_a_batch

# Memory that keys, values and logits of a batch may take, in bytes.
_MEMORY = 1 << 30
# Rotary positions that change with the length of the text, so that a beginning read alone is another one.
_BY_LENGTH = ("dynamic", "longrope")

Ids = npt.NDArray[np.int32]


class Continuations:
    """Scores continuations of prompts.

    Args:
        model: A causal language model, on its device; put into evaluation mode.
        tokens: Of each continuation, one or more.
        batch_tokens: Tokens a batch, padding included and the shared beginning not.
    """

    def __init__(self, model: Any, tokens: Sequence[Sequence[int]], batch_tokens: int) -> None:
        self.model = model.eval()
        self.first = torch.tensor([each[0] for each in tokens], device=model.device)
        self.tokens = [list(each) for each in tokens]
        # Those that one pass does not score whole.
        self.longer = [number for number, each in enumerate(tokens) if len(each) > 1]
        self.batch_tokens = tokens_a_batch(model, batch_tokens)
        known = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in known
        self._keeps_some = "logits_to_keep" in known
        self._bytes, self.window = self._kept()

    def reuses(self, tokens: int) -> bool:
        """Returns whether what prompts of at most so many tokens begin with is read once."""
        return self._bytes > 0 and (self.window is None or tokens < self.window)

    @torch.inference_mode()
    def scores(self, prefix: Ids, prompts: Sequence[Ids], shown: Any) -> npt.NDArray[np.float32]:
        """Returns the sums [n, C] of the continuations' log-probabilities after each prompt.

        Args:
            prefix: [P] what all prompts begin with; may be empty.
            prompts: The rest of each prompt, one token or more, longest first.
            shown: A progress bar that counts rows.
        """
        lengths = np.array([len(prompt) for prompt in prompts])
        reuses = self.reuses(len(prefix) + int(lengths[0]) + max(map(len, self.tokens)))
        cache = self._read(prefix[None], None, 1)[1] if reuses and len(prefix) else None
        found = []
        for batch in self._batches(lengths, len(prefix), reuses):
            rows = [prompts[index] for index in batch]
            if reuses:
                found.append(self._after(cache, len(prefix), rows))
            else:
                found.append(self._whole(np.stack([np.concatenate([prefix, row]) for row in rows])))
            shown.update(len(batch))
        return torch.cat(found).cpu().numpy()

    def _batches(
        self, lengths: npt.NDArray[np.int64], before: int, reuses: bool
    ) -> Iterator[npt.NDArray[np.int64]]:
        most = max(map(len, self.tokens)) - 1
        # Each continuation of several tokens gets a copy of its prompt's keys and values.
        copies = max(1, len(self.longer))
        words = self.model.config.get_text_config().vocab_size
        for batch in batches_by_length(np.arange(len(lengths)), lengths, self.batch_tokens):
            tokens = before + int(lengths[batch[0]]) + most
            each = copies * (self._bytes * tokens + 4 * words * (most + 1))
            # Without positions of its own padding would move a row's words; a state would read it, too.
            alike = np.split(batch, np.flatnonzero(np.diff(lengths[batch])) + 1)
            for some in [batch] if reuses and self._takes_positions else alike:
                count = max(1, _MEMORY // each)
                if not reuses:
                    count = min(count, max(1, self.batch_tokens // tokens))
                yield from (some[start : start + count] for start in range(0, len(some), count))

    def _after(self, cache: Any, before: int, rows: Sequence[Ids]) -> Tensor:
        """Returns the scores [B, C] of a batch of prompts that go on from the cache's `before` tokens."""
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        ids = np.zeros((len(rows), width), dtype=np.int64)
        for row, given in zip(ids, rows, strict=True):
            # On the left, so that the last position is each prompt's last token.
            row[width - len(given) :] = given
        there = torch.arange(width) >= (width - lengths)[:, None]
        mask = torch.cat([there.new_ones(len(rows), before), there], dim=1).long()
        positions = (before + torch.arange(width) - (width - lengths)[:, None]).clamp(min=0)
        logits, own = self._read(ids, _repeated(cache, len(rows)), 1, mask, positions)
        scores = _log_probabilities(logits[:, -1], self.first.expand(len(rows), -1))
        if self.longer:
            scores[:, self.longer] += self._rest(own, mask, before + lengths)
        return scores

    def _rest(self, cache: Any, mask: Tensor, lengths: Tensor) -> Tensor:
        """Returns the log-probabilities [B, k] of what follows the first token, of the longer ones."""
        rows, count = len(mask), len(self.longer)
        given, wanted, counts = self._padded()
        width = given.shape[1]
        cache.batch_repeat_interleave(count)
        mask = torch.cat([mask.repeat_interleave(count, 0), mask.new_ones(rows * count, width)], dim=1)
        positions = lengths.repeat_interleave(count)[:, None] + torch.arange(width)
        logits, _ = self._read(given.repeat(rows, 1), cache, width, mask, positions)
        found = _log_probabilities(logits, wanted.repeat(rows, 1)[..., None].to(logits.device))[..., 0]
        return (found * counts.repeat(rows, 1).to(found.device)).sum(dim=1).view(rows, count)

    def _padded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what is read and wanted of the longer ones, and which of it counts, [k, T - 1] each."""
        longer = [self.tokens[number] for number in self.longer]
        width = max(map(len, longer)) - 1
        given, wanted, counts = (torch.zeros(len(longer), width, dtype=torch.int64) for _ in range(3))
        for row, each in enumerate(longer):
            end = len(each) - 1
            given[row, :end], wanted[row, :end] = torch.tensor(each[:-1]), torch.tensor(each[1:])
            counts[row, :end] = 1
        return given, wanted, counts

    def _whole(self, prompts: Ids) -> Tensor:
        """Returns the scores [B, C] of whole prompts [B, T], read anew for each longer continuation."""
        logits, _ = self._read(prompts, None, 1, cached=False)
        scores = _log_probabilities(logits[:, -1], self.first.expand(len(prompts), -1))
        for number in self.longer:
            after = np.broadcast_to(np.array(self.tokens[number]), (len(prompts), len(self.tokens[number])))
            read = np.concatenate([prompts, after[:, :-1]], axis=1)
            logits, _ = self._read(read, None, after.shape[1], cached=False)
            wanted = torch.from_numpy(after.copy())[..., None].to(logits.device)
            scores[:, number] = _log_probabilities(logits, wanted).sum(dim=(1, 2))
        return scores

    def _read(
        self,
        ids: Any,
        cache: Any,
        last: int,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cached: bool = True,
    ) -> tuple[Tensor, Any]:
        """Returns the logits [B, last, V] of the last positions, and the keys and values of all."""
        device = self.model.device
        more: dict[str, Any] = {"logits_to_keep": last} if self._keeps_some else {}
        if mask is not None and self._takes_positions and positions is not None:
            more |= {"attention_mask": mask.to(device), "position_ids": positions.to(device)}
        if cache is not None:
            more["past_key_values"] = cache
        given = torch.as_tensor(ids, dtype=torch.int64, device=device)
        outputs = self.model(input_ids=given, use_cache=cached, **more)
        return outputs.logits[:, -last:].float(), getattr(outputs, "past_key_values", None)

    @torch.inference_mode()
    def _kept(self) -> tuple[int, int | None]:
        """Returns the bytes of a token's keys and values (0: it keeps something else), and its window."""
        from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

        config = self.model.config.get_text_config()
        if any(f"'{kind}'" in str(getattr(config, "rope_parameters", "")) for kind in _BY_LENGTH):
            return 0, None
        cache = self._read(self.first[None, :1].cpu(), None, 1)[1]
        layers: Sequence[Any] = cache.layers if type(cache) is DynamicCache else ()
        kinds = {type(layer) for layer in layers}
        if not kinds or not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
            return 0, None
        # Layers that share others' keys and values keep none.
        if any(layer.get_seq_length() != 1 for layer in layers):
            return 0, None
        windows = [layer.sliding_window for layer in layers if layer.is_sliding]
        kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
        return int(kept), min(windows, default=None)


def _repeated(cache: Any, rows: int) -> Any:
    """Returns a cache of one row as one of several, which share its keys and values: they only grow."""
    if cache is None:
        return None
    several = copy.copy(cache)
    several.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in several.layers:
        layer.keys, layer.values = (kept.expand(rows, *kept.shape[1:]) for kept in (layer.keys, layer.values))
    return several


def _log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Returns the log-probabilities [..., k] of tokens [..., k] under logits [..., V]."""
    return logits.gather(-1, tokens) - logits.logsumexp(-1, keepdim=True)
