"""From a classifier to its predictions of GLUE's dev and test rows, and its scores on dev."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from wellread_hf.settings import Running, Task
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.store.records import digest, file_digest, write_atomically
from wellread_hf.store.stage import Stage
from wellread_hf.tasks import GLUE_SETS, sets_of

# What the arithmetic of the metrics is done by.
_SCORERS = ("evaluate", "scikit-learn", "scipy")


def predict(model: Stage, task: Task, max_length: int, running: Running) -> Stage:
    """Lets a finished classifier predict all that GLUE asks of it, and scores what has labels.

    Writes `predictions-SET-dev.tsv` and `predictions-SET-test.tsv` for each set of the task (MNLI's are
    matched, mismatched and AX), in the form of GLUE's server. The outcome has the scores as `dev`, 0 to
    1, by set and metric, and rows and SHA-256 of the files.

    Args:
        model: A stage that makes a classifier of the task.
        task: One of GLUE's.
        max_length: Tokens a row, as in training.
        running: Where it goes.
    """
    # The setting by which a user would name this model.
    model_at = model.at(field="weights")
    found_task = FoundTask(task, running)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.glue_rows import load_glue_rows
        from wellread_hf.data.predictions import file_name, predictions_of, within_scale
        from wellread_hf.metrics.scores import predictions_from, scores
        from wellread_hf.models.predict import load_finished, predict

        classifier, encoder = load_finished(model_at, max_length)
        dev: dict[str, Mapping[str, float]] = {}
        files: dict[str, Mapping[str, Any]] = {}
        for name, rows in sets_of(task.name).items():
            for kind, split in (("dev", rows.dev), ("test", rows.test)):
                # AX has no labelled rows.
                if split is None:
                    continue
                found = load_glue_rows(name, split, found_task.locations[0])
                logits, _ = predict(classifier, encoder, found.texts, running.runs)
                values = predictions_from(logits)
                if found.labels is None:
                    values = within_scale(values, name)
                else:
                    dev[name] = scores(rows.metrics, logits, found.labels)
                path = stage.folder / file_name(name, kind)
                write_atomically(path, predictions_of(name, found.index, values).text)
                files[path.name] = {"rows": len(found.texts), "sha256": file_digest(path)}
        # The hashes let a submission show that its rows are these predictions.
        return {"task": task.name, "dev": dev, "files": files}

    return Stage(
        kind="predict",
        name=model.name,
        root=running.runs,
        identity={
            "model": model_at.fingerprint,
            "task": found_task.identity(),
            "max_length": max_length,
        },
        inputs=[model_at, *found_task.locations],
        work=work,
        solo=True,
    )


def check_glue(tasks: Sequence[Task], running: Running) -> Stage:
    """Checks what is needed after training: every row of every split, every metric.

    Put it before the training stages; a split without its column, or a metric that does not load,
    would otherwise show only after hours.
    """
    found_tasks = [FoundTask(task, running) for task in tasks]

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.glue_rows import load_glue_rows
        from wellread_hf.metrics.scores import scores_of

        counts: dict[str, int] = {}
        for found in found_tasks:
            for rows in sets_of(found.task.name).values():
                # Imports all that scoring needs.
                scores_of(rows.metrics, np.array([0, 1]), np.array([0, 1]))
        for found in found_tasks:
            counts[f"{found.task.name} train"] = len(found.load().train.texts)
            for name, rows in sets_of(found.task.name).items():
                for split in filter(None, (rows.dev, rows.test)):
                    counts[f"{name} {split}"] = len(load_glue_rows(name, split, found.locations[0]).texts)
        return {"rows": counts}

    return Stage(
        kind="check",
        name="glue",
        root=running.runs,
        identity={
            "tasks": [found.identity() for found in found_tasks],
            # A change of our own tables of sets is looked at again.
            "sets": digest(GLUE_SETS),
            "versions": {name: version(name) for name in _SCORERS},
        },
        inputs=[location for found in found_tasks for location in found.locations],
        work=work,
        solo=True,
    )
