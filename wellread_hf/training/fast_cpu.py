"""Cheaper steps on a CPU; the results stay the same, but for the dropout that is drawn.

Four measures, each with a median gain of at least 1.05 in paired whole steps of pre-training or fine-tuning:
dropout from sixteen random bits a number, memory that is kept from step to step, gradients of the step's
words alone, and one array for head and loss. A trainer's `fast_cpu` switches all of them, and none outlasts
the training.
"""

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import get_total_norm

from wellread_hf.models.last_layer import replaced

_DRAWS = 1 << 16
# Below this many numbers, drawing a seed costs more than it saves.
_FEW = 1 << 14

# mallopt(3): the size from which an array is mapped by itself, and what may lie free at the heap's end.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
# mallopt takes a C int, so there is no higher threshold.
_LARGEST_INT = 2**31 - 1
# glibc's own thresholds cannot be read. In a process that has freed large arrays they have grown to these.
_GROWN_MMAP, _GROWN_TRIM = 32 << 20, 64 << 20


@contextmanager
def cheap_dropout(model: nn.Module) -> Iterator[None]:
    """While open, a model's `nn.Dropout` modules drop by `drop`; attention's own dropout stays torch's.

    A copy of the model made meanwhile keeps what is open.
    """
    with ExitStack() as stack:
        for module in model.modules():
            # What somebody has replaced already is left alone.
            if type(module) is nn.Dropout and not module.inplace and "forward" not in vars(module):
                stack.enter_context(replaced(module, partial(_dropout_forward, module)))
        yield


def _dropout_forward(module: nn.Dropout, values: Tensor) -> Tensor:
    return drop(values, module.p) if module.training and module.p else values


def drop(values: Tensor, rate: float) -> Tensor:
    """Sets a share of numbers to 0 and scales the others, so that their mean stays.

    The share is `rate` rounded to 1/65,536, and the scale is that share's. torch draws a double for each
    number, one after another. This draws one seed from torch's random state, so runs repeat and resume
    as before, and all bits from numpy's SFC64. Few numbers are left to torch.
    """
    if values.numel() < _FEW:
        return F.dropout(values, rate)
    dropped = round(rate * _DRAWS)
    # The scale below would divide by 0.
    if dropped == _DRAWS:
        return values * 0
    # From torch's state, so that a run depends on its seed alone, and resumes to the same bits.
    seed = int(torch.randint(2**63 - 1, ()))
    # A draw of 64 bits serves four numbers.
    draws = np.random.SFC64(seed).random_raw(-(-values.numel() // 4)).view(np.int16)[: values.numel()]
    kept = torch.from_numpy(draws).view(values.shape) >= dropped - _DRAWS // 2
    return values * kept.to(values.dtype).mul_(_DRAWS / (_DRAWS - dropped))


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """While open, this process keeps the memory that it frees, instead of returning it to the system.

    glibc maps arrays above 32 MB anew each time, and the kernel then clears every page at its first use: a
    third of a step's time with a vocabulary of 30,522. Peak memory stays what it is, for a step needs the
    same arrays as the one before. Other allocators are left as they are.
    """
    glibc: Any = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if not hasattr(glibc, "mallopt"):  # musl has none
        yield
        return

    def set_thresholds(mapped: int, trimmed: int) -> None:
        glibc.mallopt(_M_MMAP_THRESHOLD, mapped)
        glibc.mallopt(_M_TRIM_THRESHOLD, trimmed)

    set_thresholds(_LARGEST_INT, _LARGEST_INT)
    try:
        yield
    finally:
        set_thresholds(_GROWN_MMAP, _GROWN_TRIM)
        glibc.malloc_trim(0)


@contextmanager
def sparse_word_gradients(model: Any) -> Iterator[None]:
    """While open, the gradient of a model's word embeddings has rows for the words of the step alone.

    Where the head shares the weights, its own gradient is dense, and so is the sum. Optimizers want dense
    ones: `clip_gradients` comes before them. A model without word embeddings, or with some that torch has no
    sparse gradients for, is left alone. A copy made meanwhile keeps what is open.
    """
    try:
        words = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        words = None
    # In fp16 torch cannot add up sparse gradients of micro-batches.
    plain = type(words) is nn.Embedding and words.weight.dtype == torch.float32
    if not plain or words.sparse or words.scale_grad_by_freq:
        yield
        return
    words.sparse = True
    try:
        yield
    finally:
        words.sparse = False


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
    # The 1e-6 is torch's own.
    share = most / (norm + 1e-6)
    # Not `share < 1`: where the norm is not a number, no gradient is one afterwards, as in torch.
    if not share >= 1:
        torch._foreach_mul_(values, share)
    for parameter, gradient in gradients:
        if gradient.is_sparse:
            parameter.grad = gradient.to_dense()
    return norm


def gives_losses(model: Any) -> bool:
    """Returns whether `giving_losses` serves this model, here."""
    decoder = model.get_output_embeddings()
    return (
        type(decoder) is nn.Linear
        and type(model.get_input_embeddings()) is nn.Embedding
        and "forward" not in vars(decoder)
        and getattr(decoder, "bias", None) is not None
        and decoder.weight.device.type == "cpu"
        and decoder.weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


@contextmanager
def giving_losses(model: Any, labels: Tensor) -> Iterator[None]:
    """While open, the masked-LM logits of `model` are losses [B, K] in nats, inside `scoring_only`.

    The same numbers as `F.cross_entropy` of the logits, with a third of its memory: `VocabularyLoss`.

    Args:
        model: An unwrapped `AutoModelForMaskedLM` that `gives_losses`.
        labels: [B, K] the words at the scored positions.
    """
    decoder = model.get_output_embeddings()

    def losses(hidden: Tensor) -> Tensor:
        apply: Callable[..., Tensor] = VocabularyLoss.apply
        return apply(hidden.flatten(0, 1), decoder.weight, decoder.bias, labels.flatten()).view_as(labels)

    embeddings = model.get_input_embeddings()
    sparse = embeddings.sparse
    # The head's gradient of the tied weights is dense already; the words' own is added to their rows alone.
    embeddings.sparse = embeddings.weight is decoder.weight
    try:
        with replaced(decoder, losses):
            yield
    finally:
        embeddings.sparse = sparse


class VocabularyLoss(torch.autograd.Function):
    """Cross-entropy of a linear layer's outputs, with one array [N, V] from the product to the gradients.

    The plain way has four: outputs, their log-softmax, and the gradients of both. At 30,522 words writing
    and reading these takes a small student longer than the products do.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
        """Returns losses [N] of hidden states [N, H], with weight [V, H], bias [V] and labels [N]."""
        outputs = torch.addmm(bias, hidden, weight.t())
        labels = labels.unsqueeze(1)
        right = outputs.gather(1, labels)
        highest = outputs.amax(1, keepdim=True)
        # Into the same array: a second one is what this function is there to save.
        shares = torch.softmax(outputs, 1, out=outputs)
        ctx.save_for_backward(hidden, weight, shares, labels)
        # log Σ exp = highest - log(highest share), which is at least 1/V: nothing underflows.
        return (highest - shares.amax(1, keepdim=True).log_() - right).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Returns the gradients; those of the outputs are softmax - one-hot."""
        hidden, weight, shares, labels = ctx.saved_tensors
        # In place, which autograd notices: a second backward through the same graph is refused.
        differences = shares.scatter_add_(1, labels, -torch.ones_like(labels, dtype=shares.dtype))
        column = gradient.unsqueeze(1)
        return (
            (differences @ weight).mul_(column),
            differences.t() @ (hidden * column),
            torch.mv(differences.t(), gradient),
            None,
        )
