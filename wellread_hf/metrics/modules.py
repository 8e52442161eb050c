"""The package's `evaluate` modules: loaded, and tried, without a network."""

from pathlib import Path
from typing import Any

import numpy as np

from wellread_hf.errors import SourceError
from wellread_hf.metrics.scores import scores_of
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS

GLUE_METRIC = Path(__file__).parent / "glue_metric"


def load_glue_metric(name: str) -> Any:
    """Loads the `evaluate` module of one of `GLUE_SETS`, from this package alone.

    Raises:
        SourceError: It cannot be loaded, for want of a library or of a cache that can be written.
    """
    import evaluate

    try:
        return evaluate.load(str(GLUE_METRIC), name, keep_in_memory=True)
    except (ImportError, OSError, ValueError) as error:
        raise SourceError(
            f"the metric of {name} cannot be loaded ({' '.join(str(error).split())}); install what is "
            "missing, and let HF_MODULES_CACHE name a folder that can be written"
        ) from error


def try_glue_metric(name: str) -> None:
    """Loads a module and lets it score a few rows; what it needs is there when training is over.

    Raises:
        SourceError: It cannot be loaded, or scores otherwise than the package.
    """
    predictions, labels = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    if not GLUE_TASKS[GLUE_SETS[name].task].labels:
        predictions, labels = np.array([0.5, 4.0, 3.0, 1.0]), np.array([0.0, 5.0, 2.0, 2.0])
    expected = scores_of(GLUE_SETS[name].metrics, predictions, labels)
    found = load_glue_metric(name).compute(predictions=predictions, references=labels)
    if found != expected:
        raise SourceError(
            f"the metric of {name} gives {found} where {expected} is right; evaluate has loaded another "
            f"version's module, delete its cache (HF_MODULES_CACHE) and run again"
        )
