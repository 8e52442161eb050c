"""Operations of a training step, beside what torch counts while one is carried out."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from wellread_hf.models.last_layer import first_position_only
from wellread_hf.models.load import new_classifier
from wellread_hf.models.masked_lm import new_masked_lm, new_pretraining
from wellread_hf.students import HIDDEN, LAYERS, Shape, Student
from wellread_hf.training.mlm_objectives import masked_words, with_next_sentence
from wellread_hf.training.operations import classifier_products, masked_lm_products, operations

BLOCKS, LENGTH, MASKED, WORDS = 2, 64, 10, 997


def _counted(model, batch, objective, fast_cpu):
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        objective(model.train(), model, batch, fast_cpu)[0].mean().backward()
    return counter.get_total_flops()


def _batch():
    ids = torch.randint(5, WORDS, (BLOCKS, LENGTH), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(1, MASKED + 1).repeat(BLOCKS, 1)
    return {"input_ids": ids, "positions": positions, "labels": ids.gather(1, positions)}


@pytest.mark.parametrize("fast_cpu", [False, True])
@pytest.mark.parametrize("student", [Student(2, 128), Student(4, 256)])
def test_a_masked_lm_step_computes_what_torch_counts(student, fast_cpu):
    counted = _counted(new_masked_lm(student, WORDS, 0.1, seed=0), _batch(), masked_words, fast_cpu)
    needed = masked_lm_products(student.shape, BLOCKS, LENGTH, MASKED / LENGTH, WORDS)
    assert operations(needed) == counted


def test_a_step_with_next_sentences_computes_what_torch_counts():
    student = Student(2, 128)
    segments = {
        "token_type_ids": torch.zeros(BLOCKS, LENGTH, dtype=torch.long),
        "next_sentence_label": torch.zeros(BLOCKS, dtype=torch.long),
    }
    model = new_pretraining(student, WORDS, 0.1, seed=0)
    counted = _counted(model, _batch() | segments, with_next_sentence, True)
    needed = masked_lm_products(student.shape, BLOCKS, LENGTH, MASKED / LENGTH, WORDS, next_sentence=True)
    assert operations(needed) == counted


def test_a_classifiers_step_computes_what_torch_counts():
    student, rows, width = Student(4, 256), 3, 16
    model = new_classifier(student, WORDS, ("0", "1"), seed=0)
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, first_position_only(model):
        ids = torch.ones(rows, width, dtype=torch.long)
        model(input_ids=ids, labels=torch.zeros(rows, dtype=torch.long)).loss.backward()
    # Two classes from the pooled state are left out.
    of_classes = 3 * 2 * rows * student.hidden * 2
    assert (
        operations(classifier_products(student.shape, rows, width)) == counter.get_total_flops() - of_classes
    )


def test_a_step_costs_as_many_operations_a_token_whatever_its_blocks_are():
    def per_token(blocks):
        return operations(masked_lm_products(Shape(4, 256), blocks)) / (blocks * 128)

    assert per_token(1) == pytest.approx(per_token(32), rel=1e-12)


def test_deeper_and_wider_students_cost_more():
    costs = {
        (layers, hidden): operations(masked_lm_products(Shape(layers, hidden)))
        for layers in LAYERS
        for hidden in HIDDEN
    }
    for layers, hidden in costs:
        assert all(
            costs[layers, hidden] <= costs[deep, wide]
            for deep, wide in costs
            if deep >= layers and wide >= hidden
        )
