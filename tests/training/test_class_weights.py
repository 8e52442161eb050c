"""Weights of classes: torch's weighted mean, however a step is cut, and scikit-learn's balanced ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tiny import padded, step_arguments, taught_rows, tiny_classifier, word_tokenizer
from torch.nn import CrossEntropyLoss

from wellread_hf.errors import SettingsError, UnknownNameError
from wellread_hf.settings import Task, Tuning
from wellread_hf.stages.true_labels import check_class_weights, class_weights
from wellread_hf.tasks import TaskFacts
from wellread_hf.training.classifier import ClassifierTrainer
from wellread_hf.training.distillation import DistillationTrainer
from wellread_hf.training.losses import hard_label_loss

WEIGHTS = (0.2, 1.0, 5.0)
FACTS = TaskFacts(columns=("text",), labels=("common", "other", "rare"))
TASK = Task(name="mine", data="there", columns=("text",))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mean_over_weights_is_torchs_with_and_without_smoothing(smoothing: float) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=draw, requires_grad=True)
    labels = torch.randint(3, (40,), generator=draw)
    labels[::7] = -100
    weights = torch.tensor(WEIGHTS)
    losses = hard_label_loss(logits, labels, smoothing=smoothing, class_weights=weights)
    ours = losses.sum() / weights[labels[labels >= 0]].sum()
    torchs = CrossEntropyLoss(weight=weights, label_smoothing=smoothing)(logits, labels)
    assert ours.item() == pytest.approx(torchs.item(), rel=1e-6)
    for found, expected in zip(
        torch.autograd.grad(ours, logits), torch.autograd.grad(torchs, logits), strict=True
    ):
        assert torch.allclose(found, expected, atol=1e-7)


def test_a_step_of_the_trainer_has_the_loss_of_torch(tmp_path: Path) -> None:
    """Rows fall into micro-batches that are uneven in weight; one of them has no label at all."""
    labels = [0, 0, 0, 1, 2, 0, -100, -100]
    rows = taught_rows(labels, 3)
    trainer = ClassifierTrainer(
        model=tiny_classifier(num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        args=step_arguments(tmp_path, micro=2),
        train_dataset=rows,
        processing_class=word_tokenizer(),
        class_weights=WEIGHTS,
    )
    batch = padded([*rows])
    with torch.no_grad():
        logits = trainer.model(batch["input_ids"], batch["attention_mask"]).logits
    expected = CrossEntropyLoss(weight=torch.tensor(WEIGHTS))(logits, torch.tensor(labels))
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected.item(), rel=1e-5)
    # All rows weigh the same in an evaluation.
    trainer.model.eval()
    with torch.no_grad():
        found = trainer.compute_loss(trainer.model, dict(batch))
        logits = trainer.model(batch["input_ids"], batch["attention_mask"]).logits
    assert found.item() == pytest.approx(CrossEntropyLoss()(logits, batch["labels"]).item(), rel=1e-5)


def test_balanced_is_scikit_learns_and_a_class_without_rows_weighs_one() -> None:
    labels = np.array([0] * 30 + [1] * 9 + [2] * 3 + [-100] * 5)
    found = class_weights(Tuning(class_weights=("balanced",)), FACTS, labels)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels[labels >= 0])
    assert found == pytest.approx(expected.tolist())
    # n / (C * n_c), by hand.
    assert found == pytest.approx([42 / (3 * 30), 42 / (3 * 9), 42 / (3 * 3)])
    assert class_weights(Tuning(class_weights=("balanced",)), FACTS, np.array([0, 0, 0, 2])) == pytest.approx(
        [4 / (2 * 3), 1.0, 4 / (2 * 1)]
    )
    assert class_weights(Tuning(class_weights=("rare=5", "common=.5")), FACTS, labels) == [0.5, 1.0, 5.0]
    assert class_weights(Tuning(), FACTS, labels) is None


@pytest.mark.parametrize(
    "given",
    [("balancd",), ("rare",), ("=5",), ("rare=0",), ("rare=-1",), ("rare=nan",), ("rare=inf",),
     ("balanced", "rare=5"), ("rare=5", "rare=6")],
)  # fmt: skip
def test_weights_that_are_none_are_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match=r"`class_weights`: expected (balanced|each class once)"):
        Tuning(class_weights=given)


def test_weights_without_an_effect_are_refused(tmp_path: Path) -> None:
    weighted = Tuning(class_weights=("rare=5",))
    check_class_weights(weighted, TASK, FACTS, 1.0)
    with pytest.raises(SettingsError, match="soft labels alone"):
        check_class_weights(weighted, TASK, FACTS, 0.0)
    with pytest.raises(SettingsError, match="got numbers"):
        check_class_weights(weighted, replace(TASK, regression=True), None, 1.0)
    with pytest.raises(SettingsError, match="got tags of words"):
        check_class_weights(weighted, replace(TASK, tagging=True), FACTS, 1.0)
    with pytest.raises(SettingsError, match="several classes a row"):
        check_class_weights(weighted, replace(TASK, multi_label=True), FACTS, 1.0)
    with pytest.raises(UnknownNameError, match="got 'raer'; the nearest is rare"):
        check_class_weights(Tuning(class_weights=("raer=5",)), TASK, FACTS, 1.0)
    rows = taught_rows([0, 1, 2], 3, rows=3)

    def trainer(kind: Any, weights: Any, labels: int = 3, **more: Any) -> Any:
        model = tiny_classifier(num_labels=labels)
        return kind(
            model=model, args=step_arguments(tmp_path), train_dataset=rows, class_weights=weights, **more
        )

    with pytest.raises(SettingsError, match="hard_label_share is 0"):
        trainer(DistillationTrainer, WEIGHTS)
    for weights in (WEIGHTS[:2], (0.0, 1.0, 1.0), (float("nan"), 1.0, 1.0)):
        with pytest.raises(SettingsError, match="for each of 3 classes"):
            trainer(ClassifierTrainer, weights)
    with pytest.raises(SettingsError, match="compute_loss_func"):
        trainer(ClassifierTrainer, WEIGHTS, compute_loss_func=lambda *_, **__: None)
