"""GLUE's metrics as an `evaluate` module: no network, the package's own arithmetic.

`evaluate.load(FOLDER_OF_THIS_FILE, "mrpc").compute(predictions=[1, 0], references=[1, 1])`; the configuration
is one of GLUE's tasks, `mnli_mismatched` or `ax`. `evaluate` reads the imports below as text and runs a
copy of this file from its cache, so they are absolute and stand one a line.
"""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from wellread_hf.errors import UnknownNameError, nearest
from wellread_hf.metrics.scores import scores_of
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS


class GlueMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """Scores class numbers, or values in regression (`stsb`), 0 to 1 (correlations -1 to 1)."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in GLUE_SETS:
            raise UnknownNameError(
                f"expected a configuration among {', '.join(GLUE_SETS)}, got {self.config_name!r}; the "
                f"nearest is {nearest(str(self.config_name), GLUE_SETS, 1)}"
            )
        rows = GLUE_SETS[self.config_name]
        kind = datasets.Value("int64" if GLUE_TASKS[rows.task].labels else "float64")
        return evaluate.MetricInfo(
            description=f"{', '.join(rows.metrics)} as GLUE defines them for {rows.title}",
            citation="Wang et al. 2019, GLUE",
            inputs_description="predictions and references: class numbers, or values in regression",
            features=datasets.Features({"predictions": kind, "references": kind}),
        )

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        metrics = GLUE_SETS[str(self.config_name)].metrics
        return scores_of(metrics, np.asarray(predictions), np.asarray(references))
