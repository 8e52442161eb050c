"""From a finished classifier to its logits on the task's validation rows, and its scores there.

Whatever asks how good a model is reads this: the export's gate, calibration, `wellread pick`, reports, cards.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wellread_hf.settings import Running, Task
from wellread_hf.stages.inputs import FoundTask, find, reading_version
from wellread_hf.store.stage import Place, Stage, short_name
from wellread_hf.tasks import TaskFacts

if TYPE_CHECKING:
    from wellread_hf.metrics.agreement import AnswerKind


def evaluate(model: Place, task: Task, max_length: int | None, running: Running) -> Stage:
    """Lets a finished classifier predict a task's validation rows, and scores it there.

    Writes `predictions.parquet` (`EvaluatedRows`): logits in fp32, in the order of the task's classes. The
    outcome has `task`, `kind`, `labels`, `order` (which of the model's outputs is each class), `rows`, and

    - `scores`, 0 to 1, by metric; `metric`, the one that counts;
    - `per_class`, of classes: rows, precision, recall and F1 of each (`metrics/per_class.py`);
    - `standard_error` of that score from row to row, 0 to 1, and `without`, the score without each of 50
      groups of rows, the same groups for every model on these rows: from two models' the error of their
      difference follows (`metrics/jackknife.py`). One row alone has neither;
    - `operations`, additions and multiplications of a row of median length;
    - `calibration`, of classes: temperature and errors of the probabilities (`metrics/calibration.py`); of
      words those that the model sees.

    Args:
        model: Where the classifier lies.
        task: The task that it was trained for.
        max_length: Tokens a row; None: what it was saved with.
        running: Where it goes.
    """
    model_at = find(model, "model", "model", running)
    # However many rows it was trained on, validation rows are the same.
    found_task = FoundTask(task, running)

    def work(stage: Stage) -> Mapping[str, Any]:
        import numpy as np
        from torch.utils.flop_counter import FlopCounterMode

        from wellread_hf.data.evaluated_rows import EvaluatedRows
        from wellread_hf.labelling.teacher_classes import teacher_order
        from wellread_hf.metrics.calibration import calibration
        from wellread_hf.metrics.jackknife import row_error, scored
        from wellread_hf.metrics.per_word import words_seen
        from wellread_hf.metrics.scores import per_class, predictions_from, scores
        from wellread_hf.models.infer import check_reads
        from wellread_hf.models.predict import load_finished, predict

        loaded = found_task.load()
        facts, rows = loaded.facts, loaded.validation
        classifier, encoder = load_finished(model_at, max_length)
        who = f"the model {model_at.name}"
        order = teacher_order(classifier.config, facts.labels, (), who, facts.multi_label, facts.tagging)
        check_reads(classifier, rows.texts[:2], encoder, model_at)
        logits, tokens = predict(classifier, encoder, rows.texts, running.runs)
        logits = logits[:, order]
        found = scores(facts.metrics, logits, rows.labels)
        EvaluatedRows(rows.texts, rows.labels, logits, tokens).write(stage.folder)
        median = int(np.argsort(tokens)[len(tokens) // 2])
        with FlopCounterMode(display=False) as counted:
            predict(classifier, encoder, rows.texts[median : median + 1])
        spread = {}
        if len(rows.texts) > 1:
            predictions = predictions_from(logits, facts.multi_label)
            without = scored(predictions, rows.labels, facts.metrics[0])[1:]
            spread = {"standard_error": row_error(without)[0] / 100, "without": (without / 100).tolist()}
        return {
            "task": task.name,
            "kind": kind_of(facts),
            "labels": facts.labels,
            "order": order,
            "metric": facts.metrics[0],
            "scores": found,
            **per_class(logits, rows.labels, facts.labels),
            **spread,
            "calibration": calibration(
                *(words_seen(logits, rows.labels) if facts.tagging else (logits, rows.labels))
            ),
            "rows": len(rows.texts),
            "max_length": encoder.max_length,
            "operations": counted.get_total_flops(),
        }

    return Stage(
        kind="evaluate",
        name=short_name(model),
        root=running.runs,
        identity={
            "model": model_at.fingerprint,
            "task": found_task.identity(uses_labels=False),
            "max_length": max_length,
        },
        inputs=[model_at, *found_task.locations],
        work=work,
        check=found_task.check,
        solo=True,
        version=found_task.version + reading_version(model_at),
    )


def kind_of(facts: TaskFacts) -> "AnswerKind":
    """Names the kind of a task's classifiers."""
    if not facts.labels:
        return "regression"
    if facts.tagging:
        return "tagging"
    return "multi-label" if facts.multi_label else "classification"
