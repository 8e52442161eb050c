"""Predictions of a study's models for every row that they are scored on: the basis of its verdicts."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wellread_hf.experiments.study.planning import PlannedStudy
from wellread_hf.settings import Running
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.store.progress import bar
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage

Array = npt.NDArray[Any]
_LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of many models on the same rows.

    Attributes:
        labels: The truth [n].
        models: Predictions [n] by the name of a model's folder.
    """

    labels: Array
    models: Mapping[str, Array]

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Reads what `write` wrote."""
        # A pickle could run code.
        with np.load(path, allow_pickle=False) as arrays:
            models = {name: arrays[name] for name in arrays.files}
        return cls(models.pop(_LABELS), models)

    def write(self, path: Path) -> None:
        """Writes an `.npz` of `labels` and an array a model."""
        content = io.BytesIO()
        arrays: dict[str, Any] = {_LABELS: self.labels, **self.models}
        np.savez_compressed(content, **arrays)
        write_atomically(path, content.getvalue())


def split_of(planned: PlannedStudy) -> str:
    """Names the rows that a study's models are scored on: test rows where these have labels."""
    return "test" if "test" in planned.runs[0].stage.record.outcome else "validation"


def predict(planned: PlannedStudy) -> Predictions:
    """Lets the finished models of a study predict the rows that they are scored on."""
    running = planned.settings.running
    loaded = FoundTask(planned.settings.task, running).load()
    rows = loaded.test if split_of(planned) == "test" and loaded.test is not None else loaded.validation
    stages = {run.stage.folder.name: run.stage for run in planned.runs}
    models = {}
    with bar("predicting", "models", len(stages)) as shown:
        for name, stage in stages.items():
            models[name] = _predictions(stage, rows.texts, running)
            shown.update()
    return Predictions(rows.labels, models)


def _predictions(stage: Stage, texts: list[tuple[str, ...]], running: Running) -> Array:
    from wellread_hf.metrics.scores import predictions_from
    from wellread_hf.models.predict import load_finished
    from wellread_hf.models.predict import predict as logits_of

    model, encoder = load_finished(stage.at(field="weights"), stage.record.settings["tuning"]["max_length"])
    return np.asarray(predictions_from(logits_of(model, encoder, texts, running.runs)[0]))
