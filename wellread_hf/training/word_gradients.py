"""Gradients of word embeddings on a CPU: a step's few hundred words are scaled, not all 30,522."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm


@contextmanager
def sparse_word_gradients(model: Any) -> Iterator[None]:
    """While open, the gradient of a model's word embeddings has rows for the words of the step alone.

    Where the head shares the weights, its own gradient is dense, and so is the sum. Optimizers want dense
    ones: `clip_gradients` comes before them. A model without word embeddings, or with some that torch has no
    sparse gradients for, is left alone. A copy made meanwhile keeps what is open.
    """
    words = _words(model)
    if type(words) is not nn.Embedding or not _sparse_will_do(words):
        yield
        return
    words.sparse = True
    try:
        yield
    finally:
        words.sparse = False


def _words(model: Any) -> Any:
    try:
        return model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None


def _sparse_will_do(words: nn.Embedding) -> bool:
    # In fp16 torch cannot add up sparse gradients of micro-batches.
    in_fp32 = words.weight.dtype == torch.float32
    return in_fp32 and not words.sparse and not words.scale_grad_by_freq


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> Tensor:
    """Does what `torch.nn.utils.clip_grad_norm_` does, and leaves all gradients dense.

    Args:
        parameters: Their gradients are changed; sparse ones are read and scaled where they have rows.
        most: The norm that gradients may have together.

    Returns:
        The norm they had.
    """
    gradients, values = [], []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None:
            if gradient.is_sparse:
                gradient = gradient.coalesce()
            gradients.append((parameter, gradient))
            values.append(gradient.values() if gradient.is_sparse else gradient)
    norm = get_total_norm(values)
    share = most / (norm + 1e-6)
    # Not `share < 1`: where the norm is not a number, no gradient is one afterwards, as in torch.
    if not share >= 1:
        torch._foreach_mul_(values, share)
    for parameter, gradient in gradients:
        if gradient.is_sparse:
            parameter.grad = gradient.to_dense()
    return norm
