"""Methods of distillation: layer maps, losses against numbers worked out elsewhere, limits, names."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from wellread_hf.errors import LabelError, SettingsError, UnknownNameError
from wellread_hf.settings import Objective
from wellread_hf.training.methods import METHODS, find_method, patient, soft_cross_entropy
from wellread_hf.training.methods.batch import DistillationBatch
from wellread_hf.training.methods.layers import layer_pairs, student_layers


@pytest.mark.parametrize(
    ("layers", "depths", "pairs"),
    [
        # The paper's two, section 3.
        (("skip",), (6, 12), [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10)]),
        (("last",), (6, 12), [(1, 7), (2, 8), (3, 9), (4, 10), (5, 11)]),
        (("skip",), (3, 12), [(1, 4), (2, 8)]),
        (("skip",), (4, 6), [(1, 1), (2, 3), (3, 4)]),
        (("last",), (2, 6), [(1, 5)]),
        (("skip",), (4, 4), [(1, 1), (2, 2), (3, 3)]),
        (("last",), (4, 4), [(1, 1), (2, 2), (3, 3)]),
        (("1:4", "2:2", "2:6"), (2, 6), [(1, 4), (2, 2), (2, 6)]),
        # Pairs that are named ask for no deeper teacher.
        (("4:2",), (4, 2), [(4, 2)]),
    ],
)
def test_a_layer_map_pairs_layers_as_the_paper_does(
    layers: tuple[str, ...], depths: tuple[int, int], pairs: list[tuple[int, int]]
) -> None:
    assert layer_pairs(layers, *depths) == tuple(pairs)
    assert student_layers(layers, depths[0]) == tuple(ours for ours, _ in pairs)


@pytest.mark.parametrize("word", ["skip", "last"])
def test_every_pair_of_depths_gets_layers_of_its_own_that_rise(word: str) -> None:
    for teacher in range(2, 25):
        for student in range(2, teacher + 1):
            ours, theirs = zip(*layer_pairs((word,), student, teacher), strict=True)
            assert ours == tuple(range(1, student))
            assert list(theirs) == sorted(set(theirs))
            assert 1 <= theirs[0] <= theirs[-1] < teacher


@pytest.mark.parametrize(
    ("layers", "depths", "message"),
    [
        (("skip",), (4, 2), "student has 4 layers and the teacher 2; name pairs"),
        (("last",), (12, 6), "student has 12 layers and the teacher 6"),
        (("skip",), (1, 4), "the student has one; name a pair instead, e.g. `objective.layers` 1:4"),
        (("5:1",), (4, 6), "5:1: expected a layer of the student, 1 to 4"),
        (("1:1", "2:7"), (4, 6), "2:7: .* one of the teacher, 1 to 6"),
    ],
)
def test_layers_that_are_not_there_are_refused(
    layers: tuple[str, ...], depths: tuple[int, int], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        layer_pairs(layers, *depths)


@pytest.fixture
def batch() -> DistillationBatch:
    draw = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    return DistillationBatch(
        2 * some(5, 3), 3 * some(5, 3), torch.tensor([0, 2, 1, 1, 0]), some(5, 2, 8), some(5, 2, 8)
    )


def test_the_distance_of_states_is_that_of_unit_vectors_summed_over_numbers_and_averaged_over_layers() -> (
    None
):
    # Two layers of one row: right angles (squared distance 2), and one direction at two lengths (0).
    ours = torch.tensor([[[3.0, 0.0], [1.0, 1.0]]])
    theirs = torch.tensor([[[0.0, 0.5], [4.0, 4.0]]])
    assert patient.state_distances(ours, theirs).tolist() == pytest.approx([1.0], abs=1e-6)
    assert patient.state_distances(ours, -ours).tolist() == pytest.approx([4.0])


@pytest.mark.parametrize(
    ("temperature", "share", "beta"), [(1.0, 0.0, 1.0), (4.0, 0.3, 2.5), (2.0, 1.0, 0.0)]
)
def test_patient_kd_is_the_sum_of_the_papers_three_terms(
    batch: DistillationBatch, temperature: float, share: float, beta: float
) -> None:
    objective = Objective(
        method="patient", temperature=temperature, hard_label_share=share, states_weight=beta
    )
    logits, teacher = batch.logits.numpy(), batch.teacher_logits.numpy()
    soft = -(softmax(teacher / temperature, axis=1) * log_softmax(logits / temperature, axis=1)).sum(axis=1)
    hard = -log_softmax(logits, axis=1)[np.arange(5), batch.labels.numpy()]
    units = [
        states.numpy() / np.linalg.norm(states.numpy(), axis=-1, keepdims=True)
        for states in (batch.states, batch.teacher_states)
    ]
    apart = ((units[0] - units[1]) ** 2).sum(axis=-1).mean(axis=1)
    expected = (1 - share) * temperature**2 * soft + share * hard + beta * apart
    np.testing.assert_allclose(patient.row_losses(batch, objective), expected, rtol=1e-10)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_student_like_its_teacher_has_the_teachers_entropy_no_distance_and_no_gradient(
    batch: DistillationBatch, temperature: float
) -> None:
    logits = batch.teacher_logits.clone().requires_grad_()
    states = batch.teacher_states.clone().requires_grad_()
    same = DistillationBatch(logits, batch.teacher_logits, None, states, batch.teacher_states)
    objective = Objective(method="patient", temperature=temperature, states_weight=3.0)
    losses = patient.row_losses(same, objective)
    losses.sum().backward()
    chances = softmax(batch.teacher_logits.numpy() / temperature, axis=1)
    np.testing.assert_allclose(losses.detach(), temperature**2 * entropy(chances, axis=1), rtol=1e-10)
    assert (states.grad == 0).all()
    assert logits.grad.abs().max() < 1e-14
    # Longer states of the same direction are no further away.
    longer = DistillationBatch(logits, logits, None, 7 * states, batch.teacher_states)
    np.testing.assert_allclose(patient.row_losses(longer, objective).detach(), losses.detach(), rtol=1e-10)


def test_without_weight_patient_kd_is_the_soft_label_objective(batch: DistillationBatch) -> None:
    objective = Objective(method="patient", temperature=2.0, hard_label_share=0.4, states_weight=0.0)
    assert torch.equal(patient.row_losses(batch, objective), soft_cross_entropy.row_losses(batch, objective))
    with pytest.raises(LabelError, match="a batch has no labels"):
        patient.row_losses(DistillationBatch(*[batch.logits] * 2, None, *[batch.states] * 2), objective)


def test_regression_has_states_too(batch: DistillationBatch) -> None:
    value = DistillationBatch(
        batch.logits[:, :1], batch.teacher_logits[:, :1], None, batch.states, batch.teacher_states
    )
    found = patient.row_losses(value, Objective(method="patient"))
    squares = (value.logits - value.teacher_logits)[:, 0] ** 2
    torch.testing.assert_close(found, squares + patient.state_distances(batch.states, batch.teacher_states))


def test_methods_are_found_by_name_and_settings_without_effect_are_refused() -> None:
    assert find_method(Objective()) == METHODS["soft-labels"]
    with pytest.raises(
        UnknownNameError, match=f"expected one of {', '.join(METHODS)}, got 'pateint'; .* patient"
    ):
        find_method(Objective(method="pateint"))
    with pytest.raises(
        SettingsError, match=r"`objective\.states_weight` has no effect .* `objective.method` patient"
    ):
        find_method(Objective(states_weight=2.0))
    with pytest.raises(SettingsError, match=r"`objective.layers`, `objective.projection` has no effect"):
        find_method(Objective(layers=("last",), projection=True))
