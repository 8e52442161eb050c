"""Supervised runs: the best weights are kept, early stopping stops, and a resume changes nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import SPECIAL, random_rows, tiny_classifier, weights_of

from wellread_hf.metrics.scores import scores
from wellread_hf.models.encode import EncodedRows
from wellread_hf.models.infer import logits_in_order
from wellread_hf.settings import Objective, Optim, Running, Tuning
from wellread_hf.training.tuning import TargetRows, tune

RUN = "a" * 64
Data = tuple[EncodedRows, dict[str, np.ndarray]]


def _data(rows: int, seed: int, classes: int = 2) -> Data:
    """Rows whose second token is one of four words that show the label, up to one row in four."""
    encoded, draw = random_rows(rows, seed), np.random.default_rng(seed)
    words = draw.integers(0, 4, size=rows)
    encoded.ids[encoded.offsets[:-1] + 1] = len(SPECIAL) + words
    if classes == 1:
        return encoded, {"labels": (words / 2 - 0.75 + draw.normal(0, 0.2, rows)).astype(np.float32)}
    return encoded, {"labels": np.where(draw.random(rows) < 0.25, 1 - words // 2, words // 2)}


def _tune(
    folder: Path, model: Any, train: Data, validation: Data, settings: Tuning, **more: Any
) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    arguments: dict[str, Any] = {"metrics": ("accuracy",), "objective": None} | more
    return tune(
        model, train, validation, settings=settings, running=Running(), folder=folder, run=RUN, **arguments
    )


def _settings(**more: Any) -> Tuning:
    optim = Optim(learning_rate=5e-3, batch_size=16, precision="fp32")
    return Tuning(**({"epochs": 5, "evaluations": 10, "optim": optim} | more))


def _evaluations(folder: Path, metric: str = "accuracy") -> list[float]:
    log = json.loads((folder / "log.json").read_text())
    # The last one is of the weights that were kept.
    return [entry[f"eval_{metric}"] for entry in log if f"eval_{metric}" in entry][:-1]


def test_the_weights_with_the_best_score_are_kept(tmp_path: Path) -> None:
    model, validation = tiny_classifier(hidden_dropout_prob=0.1), _data(60, 1)
    # A learning rate at which the last evaluation is not the best one.
    settings = _settings(optim=Optim(learning_rate=1e-2, batch_size=16))
    outcome = _tune(tmp_path, model, _data(96, 0), validation, settings)
    seen = _evaluations(tmp_path)
    assert (len(seen), outcome["steps"]) == (10, 30)
    kept = scores(("accuracy",), logits_in_order(model, validation[0]), validation[1]["labels"])["accuracy"]
    assert kept == outcome["validation"]["accuracy"] == max(seen)
    assert kept > seen[-1], "the last weights are the best ones: the test shows nothing"


def test_early_stopping_stops_and_a_run_killed_after_it_ends_the_same(tmp_path: Path) -> None:
    def run() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        model = tiny_classifier(hidden_dropout_prob=0.1)
        settings = _settings(epochs=20, evaluations=60, patience=3)
        outcome = _tune(tmp_path / "run", model, _data(96, 0), _data(60, 1), settings)
        del outcome["seconds_training"]
        return outcome, weights_of(model)

    outcome, weights = run()
    seen = _evaluations(tmp_path / "run")
    assert outcome["steps"] < 120
    assert outcome["steps"] == 2 * len(seen)
    best = int(np.argmax(seen))
    assert len(seen) - best - 1 == 3
    # Its last checkpoint is there, its weights were never written: as if killed in between.
    again, same_weights = run()
    assert again == outcome
    assert all(np.array_equal(same_weights[name], weights[name]) for name in weights)


def test_a_best_checkpoint_that_is_damaged_is_never_silently_done_without(tmp_path: Path) -> None:
    def run(folder: str) -> dict[str, np.ndarray]:
        model = tiny_classifier(hidden_dropout_prob=0.1)
        settings = _settings(optim=Optim(learning_rate=1e-2, batch_size=16))
        _tune(tmp_path / folder, model, _data(96, 0), _data(60, 1), settings)
        return weights_of(model)

    weights = run("run")
    checkpoints = sorted((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name[11:]))
    assert len(checkpoints) == 2  # the best one and the last one
    (checkpoints[0] / "model.safetensors").write_bytes(b"cut off")
    again = run("run")
    assert all(np.array_equal(again[name], weights[name]) for name in weights)


def test_regression_learns_and_keeps_the_best_correlation(tmp_path: Path) -> None:
    model = tiny_classifier(num_labels=1, problem_type="regression")
    validation = _data(60, 1, classes=1)
    outcome = _tune(
        tmp_path,
        model,
        _data(160, 0, classes=1),
        validation,
        _settings(epochs=4),
        metrics=("pearson", "spearman"),
    )
    assert outcome["validation"]["pearson"] == pytest.approx(max(_evaluations(tmp_path, "pearson")))
    assert outcome["validation"]["pearson"] > 0.5
    found = logits_in_order(model, validation[0])[:, 0]
    expected = np.corrcoef(found, validation[1]["labels"])[0, 1]
    assert outcome["validation"]["pearson"] == pytest.approx(expected, abs=1e-5)


def test_distillation_passes_its_objective_on(tmp_path: Path) -> None:
    rows, targets = _data(64, 0)
    soft = {
        "teacher_logits": np.stack([-targets["labels"], targets["labels"]], axis=1).astype(np.float32) * 4 + 1
    }
    losses = []
    for number, objective in enumerate(
        (Objective(), Objective(temperature=2.0), Objective(hard_label_share=0.5))
    ):
        folder = tmp_path / str(number)
        both = soft | (targets if objective.hard_label_share else {})
        settings = _settings(epochs=1, evaluations=1)
        _tune(folder, tiny_classifier(), (rows, both), _data(60, 1), settings, objective=objective)
        losses.append(json.loads((folder / "log.json").read_text())[0]["loss"])
        shutil.rmtree(folder)
    assert len(set(losses)) == 3


def test_rows_come_with_their_own_targets() -> None:
    rows, targets = _data(20, 0)
    order = np.array([7, 3, 19])
    data = TargetRows(rows, targets, order)
    assert len(data) == 3
    for position, row in enumerate(order):
        assert data[position]["labels"] == targets["labels"][row]
        assert np.array_equal(data[position]["input_ids"], rows.row(row)["input_ids"])
