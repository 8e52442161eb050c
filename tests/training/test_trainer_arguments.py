"""Arguments of stock `Trainer` have their effect in ours, or are refused when the trainer is made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import padded, step_arguments, taught_rows, tiny_classifier, weights_of
from torch import nn
from transformers import BertForTokenClassification, Trainer

from wellread_hf import DistillationTrainer
from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.settings import Objective
from wellread_hf.training.classifier import ClassifierTrainer

LABELS = [0, 2, 1, 1, -100, 0, 2, 2]


def _rows(labels: Any = LABELS) -> Any:
    return taught_rows(labels, 3)


def _trainer(folder: Path, kind: Any = DistillationTrainer, rows: Any = None, **more: Any) -> Any:
    parts = ("compute_loss_func", "compute_metrics", "eval_dataset", "hard_label_share", "temperature")
    parts += ("model", "objective", "optimizers", "teacher")
    given = {name: more.pop(name) for name in parts if name in more}
    rows = _rows() if rows is None else rows
    if kind in (Trainer, ClassifierTrainer):
        rows = rows.remove_columns("teacher_logits")
    return kind(
        args=step_arguments(folder, **more),
        train_dataset=rows,
        data_collator=padded,
        **{"eval_dataset": rows, "model": tiny_classifier(num_labels=3)} | given,
    )


def _outcome(trainer: Any) -> tuple[float, float, dict[str, np.ndarray]]:
    trainer.train()
    trained = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    return trained, trainer.evaluate().get("eval_loss"), weights_of(trainer.model)


def _assert_same(ours: Any, stock: Any) -> None:
    found, expected = _outcome(ours), _outcome(stock)
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-6)
    for name, weights in expected[2].items():
        # A key's bias moves all scores of a query alike, so its gradient is rounding, which Adam makes large.
        if not name.endswith("key.bias"):
            np.testing.assert_allclose(found[2][name], weights, atol=1e-6, err_msg=name)


def _own(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
    return F.cross_entropy(outputs["logits"], labels, reduction="sum") / (num_items_in_batch or len(labels))


@pytest.mark.parametrize(
    "argument",
    [
        {"label_smoothing_factor": 0.3},
        {"compute_loss_func": _own},
        {"compute_loss_func": _own, "micro": 2},
        {"dataloader_drop_last": True},
        {"average_tokens_across_devices": False},
        {"train_sampling_strategy": "group_by_length"},
        {"prediction_loss_only": True},
        {"remove_unused_columns": False},
    ],
)
@pytest.mark.parametrize("kind", [ClassifierTrainer, DistillationTrainer])
def test_an_argument_does_what_it_does_in_stock_trainer(
    kind: type, argument: dict[str, Any], tmp_path: Path
) -> None:
    share = {"hard_label_share": 1.0}
    more = share if kind is DistillationTrainer and "compute_loss_func" not in argument else {}
    _assert_same(_trainer(tmp_path, kind, **argument, **more), _trainer(tmp_path, Trainer, **argument))


def test_label_smoothing_weighs_every_row_alike_over_micro_batches(tmp_path: Path) -> None:
    # Stock Trainer does so too where a loss is smoothed, but for the rows without a label.
    smooth = {"hard_label_share": 0.5, "label_smoothing_factor": 0.3}
    _assert_same(_trainer(tmp_path, micro=2, **smooth), _trainer(tmp_path, **smooth))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor 0.1 smooths true labels, but"),
        ({"label_names": ["target"]}, "label_names: expected `labels` among them.*got target"),
        ({"compute_loss_func": _own, "temperature": 2.0}, "compute_loss_func replaces the whole loss"),
        ({"compute_loss_func": _own, "teacher": nn.Linear(1, 1)}, "compute_loss_func replaces the whole"),
    ],
)
def test_what_would_have_no_effect_is_refused_when_the_trainer_is_made(
    argument: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        _trainer(tmp_path, **argument)


def test_an_optimizer_that_misses_the_projection_is_refused(tmp_path: Path) -> None:
    model = tiny_classifier(num_labels=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = _rows().add_column("teacher_states", np.zeros((8, 1, 48)).tolist())
    objective = Objective(method="patient", projection=True)
    with pytest.raises(SettingsError, match=r"optimizers .* projection"):
        _trainer(tmp_path, rows=rows, objective=objective, optimizers=(optimizer, None))


def test_label_names_choose_what_metrics_see(tmp_path: Path) -> None:
    seen = []

    def metrics(prediction: Any) -> dict[str, float]:
        seen.append(prediction.label_ids)
        return {}

    for names in (None, ["labels"], ["labels", "teacher_logits"], ["labels", "group"], []):
        rows = _rows().add_column("group", list(range(8)))
        trainer = _trainer(tmp_path, rows=rows, compute_metrics=metrics, label_names=names)
        trainer.train()
        assert ("eval_loss" in trainer.evaluate()) is (names != [])
    assert [len(each) for each in seen] == [8, 8, 2, 2]
    np.testing.assert_allclose(seen[2][1], _rows()["teacher_logits"][:], rtol=1e-6)
    assert seen[3][1].tolist() == list(range(8))


@pytest.mark.parametrize("live", [False, True])
def test_evaluation_rows_without_labels_are_compared_with_what_the_teacher_says(
    live: bool, tmp_path: Path
) -> None:
    rows = _rows(None)
    teacher = tiny_classifier(7, num_labels=3)
    more = {"teacher": teacher} if live else {}
    trainer = _trainer(tmp_path, rows=rows, temperature=2.0, per_device_eval_batch_size=3, **more)
    batch = padded(rows.to_list())
    said = batch.pop("teacher_logits")
    with torch.no_grad():
        logits = trainer.model.eval()(**batch).logits
        said = teacher.eval()(**batch).logits if live else said
    expected = -4 * (torch.softmax(said / 2, 1) * torch.log_softmax(logits / 2, 1)).sum(1).mean()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert trainer.predict(rows).predictions.shape == (8, 3)
    assert "test_loss" not in _trainer(tmp_path, ClassifierTrainer, rows).predict(rows).metrics


def test_evaluation_is_the_mean_over_rows_with_a_label_whatever_the_batches(tmp_path: Path) -> None:
    found = [
        _trainer(tmp_path, per_device_eval_batch_size=size).evaluate()["eval_loss"] for size in (8, 3, 1)
    ]
    stock = _trainer(tmp_path, Trainer).evaluate()["eval_loss"]
    np.testing.assert_allclose(found, stock, rtol=1e-6)


def test_what_cannot_be_trained_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"expected `labels` in every batch, got .*attention_mask"):
        _trainer(tmp_path, ClassifierTrainer, _rows(None)).train()
    trainer = _trainer(tmp_path, ClassifierTrainer)
    trainer.model.config.problem_type = "multi_label"
    with pytest.raises(SettingsError, match=r"expected one of regression, .* got 'multi_label'"):
        trainer.train()
    tagger = BertForTokenClassification(tiny_classifier(num_labels=3).config)
    trainer = _trainer(tmp_path, ClassifierTrainer, model=tagger)
    with pytest.raises(LabelError, match=r"expected `labels` of shape \(8, 15\), one a token, got \(8,\)"):
        trainer.train()


def test_labels_may_have_every_name_that_collators_know(tmp_path: Path) -> None:
    rows = _rows()
    expected = _outcome(_trainer(tmp_path, rows=rows, hard_label_share=0.5))
    for name in ("label", "label_ids"):
        renamed = _trainer(tmp_path, rows=rows.rename_column("labels", name), hard_label_share=0.5)
        assert _outcome(renamed)[:2] == expected[:2]


@pytest.mark.parametrize("form", ["torch", "numpy", "arrow", "pandas"])
def test_data_sets_of_every_format_train_as_plain_lists_do(form: str, tmp_path: Path) -> None:
    rows = _rows()
    _assert_same(_trainer(tmp_path, rows=rows.with_format(form)), _trainer(tmp_path, rows=rows))
    stream = _trainer(tmp_path, rows=rows.to_iterable_dataset().with_format(form), eval_dataset=None)
    stream.train()
    assert stream.state.log_history[0]["loss"] == pytest.approx(_outcome(_trainer(tmp_path, rows=rows))[0])
    spoilt = taught_rows(LABELS, 3, np.full((8, 3), np.nan)).with_format(form)
    with pytest.raises(LabelError, match="not all finite"):
        _trainer(tmp_path, rows=spoilt).train()


@pytest.mark.filterwarnings("error:.*:UserWarning:torch")
def test_a_compiled_model_trains_as_the_plain_one(tmp_path: Path) -> None:
    # Without code generation, which takes a minute, but with the tracing that refuses sparse gradients.
    clipped = {"max_grad_norm": 1.0, "max_steps": 3}
    compiled = _trainer(tmp_path, torch_compile_backend="aot_eager", **clipped)
    plain = _outcome(_trainer(tmp_path, **clipped))
    found = _outcome(compiled)
    np.testing.assert_allclose(found[:2], plain[:2], rtol=1e-5)
    for name, weights in plain[2].items():
        np.testing.assert_allclose(
            found[2][name.removeprefix("_orig_mod.")], weights, atol=1e-5, err_msg=name
        )
