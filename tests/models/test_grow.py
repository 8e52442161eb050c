"""A wider model computes what the narrower one did, a deeper one begins as the shallower one did."""

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining

from wellread_hf.models.grow import stack_order, stacked, widened
from wellread_hf.students import STUDENTS, Student, grown_from

WORDS = 300


def _learnt(kind: Any, layers: int, width: int, seed: int = 0) -> Any:
    """A model whose biases and layer norms are not what they are in one that has learnt nothing."""
    torch.manual_seed(seed)
    config = Student(2, 128).config(WORDS)
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
    fields = config.to_dict() | sizes | {"num_attention_heads": width // 64, "initializer_range": width**-0.5}
    model = kind(BertConfig(**fields))
    with torch.no_grad():
        for values in model.parameters():
            if values.ndim == 1:
                values += 0.2 * torch.randn_like(values)
    return model.eval()


def _batch() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(5, WORDS, (4, 24), generator=draw)
    segments = (torch.arange(24) > 11).long().expand(4, 24)
    mask = torch.arange(24) < torch.tensor([24, 20, 9, 1])[:, None]
    return {"input_ids": ids, "token_type_ids": segments, "attention_mask": mask}


def _computed(model: Any) -> Any:
    with torch.inference_mode():
        return model.eval()(**_batch(), output_hidden_states=True)


def _difference(one: Any, other: Any) -> float:
    heads = [
        (one[name], other[name])
        for name in ("logits", "prediction_logits", "seq_relationship_logits")
        if name in one
    ]
    assert heads
    return max(float((first - second).abs().max()) for first, second in heads)


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining])
@pytest.mark.parametrize(
    ("layers", "widths"),
    [(1, (128, 256)), (2, (128, 256, 512)), (4, (128, 512)), (12, (128, 256)), (2, (64, 192, 768))],
)
def test_a_model_of_a_multiple_of_the_width_computes_the_same(
    kind: Any, layers: int, widths: tuple[int, ...]
) -> None:
    source = model = _learnt(kind, layers, widths[0])
    for width in widths[1:]:
        model = widened(model, width, seed=width)
    assert type(model) is kind
    assert (model.config.hidden_size, model.config.num_attention_heads) == (widths[-1], widths[-1] // 64)
    assert model.config.intermediate_size == 4 * widths[-1]
    here, there = _computed(source), _computed(model)
    assert _difference(here, there) < 2e-5
    # Every copy of a channel holds what the channel held, in every layer.
    for narrow, wide in zip(here.hidden_states, there.hidden_states, strict=True):
        copies = wide.unflatten(-1, (-1, widths[0]))
        assert float((copies - narrow.unsqueeze(-2)).abs().max()) < 2e-5


def test_copies_get_gradients_that_adam_does_not_make_equal() -> None:
    model = widened(_learnt(BertForPreTraining, 2, 128), 256, seed=0)
    found = model(**_batch() | {"labels": _batch()["input_ids"], "next_sentence_label": torch.arange(4) % 2})
    found.loss.backward()
    for name, values in model.named_parameters():
        # One number a word; softmax sees no bias of keys; in the head's norm copies differ from the start.
        if len(values) % 256 or "key.bias" in name or "transform.LayerNorm" in name:
            continue
        assert values.grad is not None
        upper, lower = values.grad.view(2, -1)
        # A common factor would not do: the first step of Adam is a sign.
        assert float((upper.sign() != lower.sign()).float().mean()) > 0.02, name


def test_one_and_a_half_times_the_width_is_near() -> None:
    source = _learnt(BertForPreTraining, 4, 512)
    model = widened(source, 768, seed=0)
    here, there = _computed(source), _computed(model)
    for narrow, wide in zip(here.hidden_states, there.hidden_states, strict=True):
        assert float((wide[..., :512] - narrow).square().mean().sqrt()) < 0.02 * float(narrow.std())
    # The head's norm follows a GELU, whose mean no channel can hold.
    apart = (there.prediction_logits - here.prediction_logits).square().mean().sqrt()
    assert 0 < float(apart) < 0.1 * float(here.prediction_logits.std())
    assert float((there.seq_relationship_logits - here.seq_relationship_logits).abs().max()) < 0.01


def test_channels_of_the_mean_learn_different_things() -> None:
    model = widened(_learnt(BertForPreTraining, 2, 128), 192, seed=0)
    found = model(**_batch() | {"labels": _batch()["input_ids"], "next_sentence_label": torch.arange(4) % 2})
    found.loss.backward()
    for values in (
        model.bert.embeddings.word_embeddings.weight.grad.T,
        model.bert.encoder.layer[0].output.dense.weight.grad,
        model.bert.encoder.layer[1].attention.self.query.weight.grad.T,
    ):
        of_mean = values[128:]
        assert float(of_mean.abs().max()) > 0
        assert not torch.allclose(of_mean[0], of_mean[1], rtol=0.1)


@pytest.mark.parametrize(
    ("layers", "there", "order"),
    [
        (4, 2, (1, 2, 1, 2)),
        (6, 2, (1, 2, 1, 2, 1, 2)),
        (6, 4, (1, 2, 3, 4, 3, 4)),
        (8, 6, (1, 2, 3, 4, 5, 6, 5, 6)),
        (12, 10, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9, 10)),
        (2, 2, (1, 2)),
    ],
)
def test_layers_are_stacked_over_and_over_then_the_top_ones(
    layers: int, there: int, order: tuple[int, ...]
) -> None:
    assert stack_order(layers, there) == order


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining])
@pytest.mark.parametrize(("there", "layers"), [(2, 4), (2, 6), (4, 6), (10, 12)])
def test_a_deeper_model_begins_as_the_shallower_one_and_repeats_its_layers(
    kind: Any, there: int, layers: int
) -> None:
    source = _learnt(kind, there, 64)
    model = stacked(source, layers)
    here, deeper = _computed(source).hidden_states, _computed(model).hidden_states
    assert type(model) is kind
    assert len(deeper) == layers + 1
    for one, other in zip(here, deeper, strict=False):
        assert torch.equal(one, other)
    # What a layer makes of its input is what the source's layer would.
    for place, number in enumerate(stack_order(layers, there)):
        weights = source.bert.encoder.layer[number - 1].state_dict()
        assert all(
            torch.equal(values, weights[name])
            for name, values in model.bert.encoder.layer[place].state_dict().items()
        )
    rest = {name: values for name, values in source.state_dict().items() if ".layer." not in name}
    assert all(torch.equal(values, model.state_dict()[name]) for name, values in rest.items())


def test_the_family_grows_in_chains_from_the_smallest() -> None:
    sources = {student: grown_from(student, STUDENTS) for student in STUDENTS}
    assert sources[Student(2, 128)] is None
    assert sources[Student(6, 128)] == Student(4, 128)
    assert sources[Student(2, 256)] == Student(2, 128)
    assert sources[Student(12, 768)] == Student(12, 512)
    few = [Student.parse(name) for name in ("tiny", "mini", "small", "medium")]
    assert [grown_from(student, few) for student in few] == [None, *few[:-1]]
    assert grown_from(Student(2, 512), [Student(4, 128)]) is None
