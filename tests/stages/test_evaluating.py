"""What an evaluation stores: the scores of training again, plain transformers' logits, errors of the rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from wellread_hf import stages
from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.errors import LabelError
from wellread_hf.models.load import new_classifier
from wellread_hf.settings import Optim, Running, Start, Task, Tuning
from wellread_hf.stages.presets import SMOKE_TASK
from wellread_hf.store.graph import carry_out
from wellread_hf.store.stage import Stage
from wellread_hf.students import Student

TUNING = Tuning(epochs=1, evaluations=1, max_length=12, optim=Optim(learning_rate=1e-3, batch_size=8))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, Stage]:
    running = Running(runs=tmp_path_factory.mktemp("evaluate"))
    start = Start(student="2-128", tokenizer="toy:tokenizer@smoke")
    student = stages.finetune(start, SMOKE_TASK, TUNING, running)
    evaluation = stages.evaluate(student, SMOKE_TASK, None, running)
    carry_out([evaluation])
    return student, evaluation


def test_scores_are_those_that_training_measured(made: tuple[Stage, Stage]) -> None:
    student, evaluation = made
    outcome, trained = evaluation.record.outcome, student.record.outcome
    assert outcome["scores"] == pytest.approx(trained["validation"])
    assert outcome["rows"] == trained["validation_rows"]
    assert (outcome["kind"], outcome["metric"]) == ("classification", trained["metric"])
    # Cut where training did.
    assert outcome["max_length"] == 12


def test_logits_are_those_of_plain_transformers(made: tuple[Stage, Stage]) -> None:
    student, evaluation = made
    rows = EvaluatedRows.read(evaluation.folder)
    tokenizer = AutoTokenizer.from_pretrained(student.folder)
    inputs = tokenizer([text for (text,) in rows.texts], truncation=True, padding=True, return_tensors="pt")
    model = AutoModelForSequenceClassification.from_pretrained(student.folder)
    with torch.inference_mode():
        np.testing.assert_allclose(rows.logits, model(**inputs).logits.numpy(), atol=1e-5)
    assert rows.tokens.tolist() == inputs["attention_mask"].sum(1).tolist()


def test_the_error_is_that_of_a_share(made: tuple[Stage, Stage]) -> None:
    outcome = made[1].record.outcome
    share = outcome["scores"]["accuracy"]
    assert outcome["standard_error"] == pytest.approx((share * (1 - share) / outcome["rows"]) ** 0.5, rel=0.4)
    assert np.mean(outcome["without"]) == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize(("labels", "kind"), [(None, "regression"), ([["a"], ["a", "b"]], "multi-label")])
def test_every_kind_of_task(tmp_path: Path, toy_tokenizer: Any, labels: Any, kind: str) -> None:
    import json

    pairs = [("one text", "and another"), ("its second column", "too")] * 4
    given = labels or [0.5, 1.5]
    lines = [
        json.dumps({"one": one, "two": two, "label": given[number % 2]})
        for number, (one, two) in enumerate(pairs)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    several = kind == "multi-label"
    task = Task(
        name="mine",
        data=str(tmp_path / "rows.jsonl"),
        validation=str(tmp_path / "rows.jsonl"),
        columns=("one", "two"),
        regression=not several,
        multi_label=several,
    )
    names = ("b", "a") if several else ()
    model = new_classifier(Student(2, 128), len(toy_tokenizer), names, 0, several)
    model.save_pretrained(tmp_path / "model")
    toy_tokenizer.save_pretrained(tmp_path / "model")
    stage = stages.evaluate(str(tmp_path / "model"), task, 16, Running(runs=tmp_path / "runs"))
    carry_out([stage])
    found = EvaluatedRows.read(stage.folder)
    assert stage.record.outcome["kind"] == kind
    assert found.texts == pairs
    assert found.labels.tolist() == ([[1, 0], [1, 1]] * 4 if several else given * 4)
    # In the task's order, whatever the model's is.
    assert stage.record.outcome["order"] == ([1, 0] if several else [0])
    assert found.logits.shape == (8, 2 if several else 1)


def test_a_model_of_another_task_is_refused(tmp_path: Path, toy_tokenizer: Any) -> None:
    new_classifier(Student(2, 128), len(toy_tokenizer), ("a", "b"), 0).save_pretrained(tmp_path / "model")
    toy_tokenizer.save_pretrained(tmp_path / "model")
    stage = stages.evaluate(str(tmp_path / "model"), SMOKE_TASK, None, Running(runs=tmp_path / "runs"))
    with pytest.raises(LabelError, match="the model"):
        carry_out([stage])
