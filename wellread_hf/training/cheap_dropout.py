"""Dropout on a CPU with sixteen random bits a number, for half of what torch's takes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wellread_hf.models.masked_lm import replaced

_DRAWS = 1 << 16
# Below this many numbers, drawing a seed costs more than it saves.
_FEW = 1 << 14


@contextmanager
def cheap_dropout(model: nn.Module) -> Iterator[None]:
    """While open, a model's `nn.Dropout` modules drop by `drop`; attention's own dropout stays torch's.

    A copy of the model made meanwhile keeps what is open.
    """
    with ExitStack() as stack:
        for module in model.modules():
            if type(module) is nn.Dropout and not module.inplace and "forward" not in vars(module):
                stack.enter_context(replaced(module, partial(_forward, module)))
        yield


def drop(values: Tensor, rate: float) -> Tensor:
    """Sets a share of numbers to 0 and scales the others, so that their mean stays.

    The share is `rate` rounded to 1/65,536, and the scale is that share's. torch draws a double for each
    number, one after another. This draws one seed from torch's random state, so runs repeat and resume as
    ever, and all bits from numpy's SFC64. Few numbers are left to torch.
    """
    if values.numel() < _FEW:
        return F.dropout(values, rate)
    dropped = round(rate * _DRAWS)
    if dropped == _DRAWS:
        return values * 0
    seed = int(torch.randint(2**63 - 1, ()))
    draws = np.random.SFC64(seed).random_raw(-(-values.numel() // 4)).view(np.int16)[: values.numel()]
    kept = torch.from_numpy(draws).view(values.shape) >= dropped - _DRAWS // 2
    return values * kept.to(values.dtype).mul_(_DRAWS / (_DRAWS - dropped))


def _forward(module: nn.Dropout, values: Tensor) -> Tensor:
    return drop(values, module.p) if module.training and module.p else values
