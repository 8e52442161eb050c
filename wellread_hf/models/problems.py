"""Kinds of problem that a classifier solves, as transformers names them in `problem_type`."""

from typing import Final, Literal

import torch
from torch import Tensor

Problem = Literal["regression", "single_label_classification", "multi_label_classification"]
REGRESSION: Final = "regression"
SINGLE_LABEL: Final = "single_label_classification"
MULTI_LABEL: Final = "multi_label_classification"
PROBLEMS: Final = (REGRESSION, SINGLE_LABEL, MULTI_LABEL)


def inferred_problem(outputs: int, labels: Tensor | None = None) -> Problem:
    """Returns what the heads of transformers do where a config has no `problem_type`.

    Args:
        outputs: Number of outputs, C.
        labels: Labels of some rows; without any, several outputs are classes of which a row has one.
    """
    if outputs == 1:
        return REGRESSION
    if labels is None or not (labels.is_floating_point() or labels.dtype == torch.bool):
        return SINGLE_LABEL
    return MULTI_LABEL
