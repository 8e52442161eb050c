"""The losses against formulas written out by hand, their gradients against theory and differences."""

import numpy as np
import pytest
import torch

from wellread_hf.training.losses import hard_label_loss, soft_label_loss


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    student, teacher = 2 * torch.randn(5, 3, dtype=torch.float64), 3 * torch.randn(5, 3, dtype=torch.float64)
    return student.requires_grad_(), teacher


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_soft_loss_is_the_papers_cross_entropy_times_the_temperature_squared(
    logits: tuple[torch.Tensor, torch.Tensor], temperature: float
) -> None:
    student, teacher = (values.detach().numpy() / temperature for values in logits)
    by_hand = -(temperature**2) * (_softmax(teacher) * np.log(_softmax(student))).sum(axis=1)
    np.testing.assert_allclose(soft_label_loss(*logits, temperature).detach(), by_hand, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_its_gradient_is_the_difference_of_the_distributions_times_the_temperature(
    logits: tuple[torch.Tensor, torch.Tensor], temperature: float
) -> None:
    student, teacher = logits
    soft_label_loss(student, teacher, temperature).sum().backward()
    softened = (values.detach().numpy() / temperature for values in logits)
    ours, theirs = (_softmax(values) for values in softened)
    np.testing.assert_allclose(student.grad, temperature * (ours - theirs), rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(lambda values: soft_label_loss(values, teacher, temperature), (student,))


def test_at_temperature_one_the_soft_loss_of_a_certain_teacher_is_the_hard_loss(
    logits: tuple[torch.Tensor, torch.Tensor],
) -> None:
    labels = torch.tensor([0, 2, 1, 1, 0])
    certain = torch.nn.functional.one_hot(labels, 3).double() * 1e4
    torch.testing.assert_close(soft_label_loss(logits[0], certain), hard_label_loss(logits[0], labels))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_student_like_its_teacher_has_the_teachers_entropy_and_no_gradient(
    logits: tuple[torch.Tensor, torch.Tensor], temperature: float
) -> None:
    student, _ = logits
    losses = soft_label_loss(student, student.detach(), temperature)
    losses.sum().backward()
    chances = _softmax(student.detach().numpy() / temperature)
    np.testing.assert_allclose(
        losses.detach(), -(temperature**2) * (chances * np.log(chances)).sum(axis=1), rtol=1e-12
    )
    assert student.grad.abs().max() < 1e-12
    other = soft_label_loss(student.detach() + torch.randn(5, 3).double(), student.detach(), temperature)
    assert (other > losses).all()


def test_regression_takes_the_squared_difference_without_temperature() -> None:
    student, teacher = torch.tensor([[1.0], [-2.0]]), torch.tensor([[3.0], [-2.5]])
    for temperature in (1.0, 5.0):
        np.testing.assert_allclose(soft_label_loss(student, teacher, temperature), [4.0, 0.25])
    np.testing.assert_allclose(hard_label_loss(student, torch.tensor([3.0, -2.5])), [4.0, 0.25])
