"""A model's `problem_type` decides its loss, as in stock transformers; other labels are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import padded, step_arguments, taught_rows, tiny_classifier
from transformers import Trainer

from wellread_hf import DistillationTrainer
from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.training.classifier import ClassifierTrainer
from wellread_hf.training.losses import hard_label_loss, soft_label_loss

ROWS = 8
DRAW = np.random.default_rng(0)
LABELS = {
    "single": DRAW.integers(0, 3, ROWS).tolist(),
    "multi": (DRAW.random((ROWS, 3)) < 0.4).astype(float).tolist(),
    "values": DRAW.normal(size=(ROWS, 3)).tolist(),
    "value": DRAW.normal(size=ROWS).tolist(),
    "column": DRAW.normal(size=(ROWS, 1)).tolist(),
    "some": [0, -100, 2, 1, -100, -100, 0, 1],
    "one class": (DRAW.random((ROWS, 1)) < 0.4).astype(float).tolist(),
}
# Outputs, problem_type in the config, labels.
CASES = {
    "single-label": (3, "single_label_classification", "single"),
    "single-label, not said": (3, None, "single"),
    "some rows without a label": (3, None, "some"),
    "multi-label": (3, "multi_label_classification", "multi"),
    "multi-label, not said": (3, None, "multi"),
    "multi-label of one class": (1, "multi_label_classification", "one class"),
    "regression": (1, "regression", "value"),
    "regression, not said": (1, None, "column"),
    "three outputs": (3, "regression", "values"),
}


def _stepped(kind: type[Trainer], folder: Path, case: str, micro: int = ROWS, **more: Any) -> Any:
    """One step of training and an evaluation; returns losses, gradients, and the trainer."""
    outputs, problem, labels = CASES[case]
    rows = taught_rows(LABELS[labels], outputs)
    if kind is not DistillationTrainer:
        rows = rows.remove_columns("teacher_logits")
    model = tiny_classifier(num_labels=outputs, problem_type=problem)
    arguments = step_arguments(folder, micro, optim="sgd", learning_rate=1.0, lr_scheduler_type="constant")
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trainer = kind(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows, data_collator=padded, **more
    )
    found = trainer.evaluate()["eval_loss"]
    trainer.train()
    # With plain descent at rate 1 the gradient is what a weight lost.
    gradients = {name: before[name] - weight.detach() for name, weight in model.named_parameters()}
    return found, trainer.state.log_history[0]["loss"], gradients, trainer


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", [ClassifierTrainer, DistillationTrainer])
def test_loss_and_gradients_are_those_of_the_stock_head(
    case: str, kind: type[Trainer], tmp_path: Path
) -> None:
    more = {"hard_label_share": 1.0} if kind is DistillationTrainer else {}
    evaluated, trained, gradients, trainer = _stepped(kind, tmp_path, case, **more)
    expected = _stepped(Trainer, tmp_path, case)
    assert evaluated == pytest.approx(expected[0], rel=1e-6)
    assert trained == pytest.approx(expected[1], rel=1e-6)
    for name, gradient in expected[2].items():
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=1e-6, msg=name)
    assert trainer.model.config.problem_type == expected[3].model.config.problem_type


@pytest.mark.parametrize("case", ["some rows without a label", "multi-label", "three outputs"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("micro", [1, 2])
def test_eight_rows_train_alike_one_by_one_in_twos_and_at_once(
    case: str, share: float, micro: int, tmp_path: Path
) -> None:
    parts = {"hard_label_share": share, "temperature": 2.0}
    _, trained, gradients, _ = _stepped(DistillationTrainer, tmp_path, case, micro, **parts)
    _, expected, at_once, _ = _stepped(DistillationTrainer, tmp_path, case, **parts)
    assert trained == pytest.approx(expected, rel=1e-5)
    for name, gradient in at_once.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize(
    ("case", "soft"),
    [
        (
            "multi-label",
            lambda z, t: 9 * F.binary_cross_entropy_with_logits(z / 3, torch.sigmoid(t / 3)),
        ),
        ("three outputs", F.mse_loss),
        ("regression", F.mse_loss),
        (
            "some rows without a label",
            lambda z, t: -9 * (torch.softmax(t / 3, 1) * torch.log_softmax(z / 3, 1)).sum(1).mean(),
        ),
    ],
)
def test_both_parts_of_a_distillation_are_what_they_are_written_out(
    case: str, soft: Any, tmp_path: Path
) -> None:
    outputs, problem, labels = CASES[case]
    rows = taught_rows(LABELS[labels], outputs)
    batch = padded(rows.to_list())
    teacher, truth = batch.pop("teacher_logits"), batch.pop("labels")
    model = tiny_classifier(num_labels=outputs, problem_type=problem)
    with torch.no_grad():
        logits = model(**batch).logits
        hard = model(**batch, labels=truth).loss
    _, trained, *_ = _stepped(DistillationTrainer, tmp_path, case, temperature=3.0, hard_label_share=0.3)
    assert trained == pytest.approx((0.7 * soft(logits, teacher) + 0.3 * hard).item(), rel=1e-5)


def test_a_multi_label_student_like_its_teacher_has_no_gradient() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    losses = soft_label_loss(logits, logits.detach(), 2.0, "multi_label_classification")
    losses.sum().backward()
    assert losses.shape == (5,)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-15


def test_scalar_soft_labels_of_one_output_are_taken(tmp_path: Path) -> None:
    found = []
    for values in (np.arange(ROWS) / 4 - 1, np.arange(ROWS)[:, None] / 4 - 1):
        rows = taught_rows(None, 1, values)
        trainer = DistillationTrainer(
            model=tiny_classifier(num_labels=1),
            args=step_arguments(tmp_path),
            train_dataset=rows,
            data_collator=padded,
        )
        trainer.train()
        found.append(trainer.state.log_history[0]["loss"])
    assert found[0] == found[1]


MULTI, SINGLE = "multi_label_classification", "single_label_classification"


@pytest.mark.parametrize(
    ("problem", "outputs", "labels", "message"),
    [
        (
            SINGLE,
            3,
            torch.zeros(ROWS, 3),
            r"expected labels of shape \(8,\), whole numbers, got shape \(8, 3\)",
        ),
        (SINGLE, 3, torch.zeros(ROWS), "whole numbers, got shape .* of float32"),
        (None, 3, torch.zeros(ROWS, 3, dtype=torch.long), r"got shape \(8, 3\) of int64"),
        (SINGLE, 3, torch.zeros(1, dtype=torch.long), r"got shape \(1,\)"),
        (SINGLE, 3, torch.full((ROWS,), 3), "expected labels from 0 to 2, got 3 to 3"),
        (SINGLE, 3, torch.full((ROWS,), -1), "from 0 to 2, got -1 to -1"),
        (MULTI, 3, torch.zeros(ROWS), r"expected labels of shape \(8, 3\), got shape \(8,\)"),
        (MULTI, 3, torch.zeros(ROWS, 2), r"got shape \(8, 2\)"),
        (MULTI, 3, torch.full((ROWS, 3), -100.0), "expected labels from 0 to 1, got -100 to -100"),
        ("regression", 3, torch.zeros(ROWS), r"expected labels of shape \(8, 3\)"),
        ("regression", 1, torch.zeros(ROWS, 2), r"expected labels of shape \(8, 1\), got shape \(8, 2\)"),
        ("regression", 1, torch.zeros(1, ROWS), r"got shape \(1, 8\)"),
    ],
)
def test_labels_of_another_meaning_are_refused(
    problem: Any, outputs: int, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        hard_label_loss(torch.zeros(ROWS, outputs), labels, problem)


@pytest.mark.parametrize("problem", [MULTI, None])
def test_probabilities_in_the_place_of_logits_are_refused(problem: str | None, tmp_path: Path) -> None:
    logits = torch.tensor(taught_rows(None, 3)["teacher_logits"])
    chances = logits.sigmoid() if problem else logits.softmax(1).half()
    rows = taught_rows(None, 3, chances)
    message = "got probabilities .* before its " + ("sigmoid" if problem else "softmax")
    for data in (rows, rows.with_format("torch"), rows.to_list(), rows.to_iterable_dataset()):
        trainer = DistillationTrainer(
            model=tiny_classifier(num_labels=3, problem_type=problem),
            args=step_arguments(tmp_path),
            train_dataset=data,
            data_collator=padded,
        )
        with pytest.raises(LabelError, match=message):
            trainer.train()
        assert trainer.state.global_step == 0
    # Their logarithms are logits; and one row that looks like probabilities is one among others.
    mixed = np.concatenate([chances.numpy()[:1], logits.numpy()[1:]])
    for right, micro in ((chances.float().log().clamp(min=-30) - 1, ROWS), (mixed, ROWS), (mixed, 1)):
        DistillationTrainer(
            model=tiny_classifier(num_labels=3, problem_type=problem),
            args=step_arguments(tmp_path, micro),
            train_dataset=taught_rows(None, 3, right),
            data_collator=padded,
        ).train()


def test_a_live_teacher_may_be_unsure_of_every_class(tmp_path: Path) -> None:
    teacher = tiny_classifier(num_labels=3, problem_type=MULTI)
    for weight in teacher.classifier.parameters():
        torch.nn.init.constant_(weight, 0.0)
    DistillationTrainer(
        model=tiny_classifier(num_labels=3, problem_type=MULTI),
        args=step_arguments(tmp_path),
        train_dataset=taught_rows(None, 3).remove_columns("teacher_logits"),
        data_collator=padded,
        teacher=teacher,
    ).train()


def test_a_regression_teacher_on_another_scale_is_warned_of_with_both_scales(tmp_path: Path) -> None:
    truth = np.linspace(0, 5, ROWS)

    def train(values: np.ndarray, share: float) -> None:
        DistillationTrainer(
            model=tiny_classifier(num_labels=1),
            args=step_arguments(tmp_path),
            train_dataset=taught_rows(truth.tolist(), 1, values),
            data_collator=padded,
            hard_label_share=share,
        ).train()

    for values in (truth / 5, 2 * truth, truth - 3):
        said = f"{values.mean():.3g} ± {values.std():.3g} .* 2.5 ± 1.64"
        with pytest.warns(UserWarning, match=said):
            train(values, 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda said, *_, **__: pytest.fail(str(said)))
        train(2.5 + 0.8 * (truth - 2.5), 0.5)
        train(truth / 5, 0.0)


def test_a_live_teacher_of_another_kind_is_refused(tmp_path: Path) -> None:
    kinds = [(MULTI, SINGLE), (SINGLE, MULTI), (MULTI, None), (None, MULTI), ("regression", SINGLE)]
    for ours, theirs in kinds:
        with pytest.raises(LabelError, match=f"expected {ours or SINGLE}, got {theirs or SINGLE}"):
            DistillationTrainer(
                model=tiny_classifier(num_labels=3, problem_type=ours),
                args=step_arguments(tmp_path),
                train_dataset=taught_rows(None, 3),
                data_collator=padded,
                teacher=tiny_classifier(num_labels=3, problem_type=theirs),
            )


def test_label_smoothing_of_what_is_not_single_label_is_refused(tmp_path: Path) -> None:
    for case in ("multi-label", "multi-label, not said", "regression", "three outputs"):
        outputs, problem, labels = CASES[case]
        with pytest.raises(SettingsError, match=r"label_smoothing_factor 0\.1: expected .* got (multi|regr)"):
            ClassifierTrainer(
                model=tiny_classifier(num_labels=outputs, problem_type=problem),
                args=step_arguments(tmp_path, label_smoothing_factor=0.1),
                train_dataset=taught_rows(LABELS[labels], outputs),
                data_collator=padded,
            )
