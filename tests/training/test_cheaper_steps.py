"""What makes a step on a CPU cheaper changes no number but those drawn, whose distribution stays."""

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from tiny import tiny_classifier, tiny_masked_lm
from torch.nn.utils import clip_grad_norm_
from transformers import Trainer, TrainingArguments

from wellread_hf.training.cheap_dropout import cheap_dropout, drop
from wellread_hf.training.distillation import ClassifierTrainer
from wellread_hf.training.word_gradients import clip_gradients, sparse_word_gradients

IDS = torch.tensor([[2, 9, 9, 17, 3], [2, 40, 9, 3, 0]])


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_the_rate_and_the_others_are_scaled(rate: float) -> None:
    torch.manual_seed(0)
    values = torch.randn(200, 501, requires_grad=True)
    found = drop(values, rate)
    kept = found != 0
    assert binomtest(int((~kept).sum()), kept.numel(), rate).pvalue > 1e-3
    torch.testing.assert_close(found[kept], values[kept] / (1 - rate), rtol=1e-4, atol=0)
    # Numbers are dropped each for itself: as many neighbours go together as chance has it.
    pairs = ~kept[:, 1:] & ~kept[:, :-1]
    assert binomtest(int(pairs.sum()), pairs.numel(), rate**2).pvalue > 1e-3
    (gradient,) = torch.autograd.grad(found.sum(), values)
    torch.testing.assert_close(gradient, kept / (1 - rate), rtol=1e-4, atol=0)


def test_what_is_dropped_depends_on_torchs_random_state_alone() -> None:
    values = torch.ones(7, 13)
    torch.manual_seed(3)
    state, first, second = torch.get_rng_state(), drop(values, 0.5), drop(values, 0.5)
    assert not first.equal(second)
    torch.set_rng_state(state)
    np.random.seed(1)
    assert drop(values, 0.5).equal(first)
    assert drop(values, 1.0).eq(0).all()


def test_a_model_drops_in_training_alone_and_is_afterwards_as_it_was() -> None:
    model = tiny_classifier(hidden_dropout_prob=0.2)
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    expected = model.eval()(IDS).logits
    with cheap_dropout(model):
        assert model.eval()(IDS).logits.equal(expected)
        model.train()
        torch.manual_seed(0)
        many = torch.stack([model(IDS).logits for _ in range(3)])
        assert not many[0].equal(many[1])
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before
    torch.manual_seed(0)
    assert not model(IDS).logits.equal(many[0])


@pytest.mark.parametrize("most", [0.01, 1e6])
@pytest.mark.parametrize("make", [tiny_classifier, tiny_masked_lm])
def test_gradients_are_clipped_as_torch_clips_them(make: Any, most: float) -> None:
    found: list[dict[str, torch.Tensor]] = []
    norms = []
    for sparse in (True, False):
        model = make().train()
        with sparse_word_gradients(model) if sparse else nullcontext():
            # Two micro-batches add up.
            for ids in (IDS, IDS.flip(1)):
                model(ids).logits.square().sum().backward()
        # A head that shares the words' weights has a dense gradient of them.
        assert model.get_input_embeddings().weight.grad.is_sparse is (sparse and make is tiny_classifier)
        norms.append((clip_gradients if sparse else clip_grad_norm_)(model.parameters(), most))
        found.append(
            {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        )
    torch.testing.assert_close(norms[0], norms[1])
    torch.testing.assert_close(found[0], found[1])


class _Stock(ClassifierTrainer):
    """Trains and clips as stock does."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        return Trainer.train(self, *args, **kwargs)

    def _clip_grad_norm(self, model: Any) -> Any:
        return Trainer._clip_grad_norm(self, model)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    draw = np.random.default_rng(0)
    return [
        {
            "input_ids": draw.integers(5, 60, 9),
            "attention_mask": np.ones(9, int),
            "labels": int(draw.integers(2)),
        }
        for _ in range(24)
    ]


@pytest.mark.parametrize("most", [0.0, 0.05, 1.0])
def test_a_run_ends_with_the_weights_of_a_stock_run(
    most: float, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    start, ends, norms = tiny_classifier(), [], []
    for trainer_class in (ClassifierTrainer, _Stock):
        # Adam would make much of rounding where a gradient is 0.
        args = TrainingArguments(
            str(tmp_path), use_cpu=True, optim="sgd", learning_rate=0.1, max_steps=6, max_grad_norm=most,
            per_device_train_batch_size=4, gradient_accumulation_steps=2, logging_steps=1, save_strategy="no",
            report_to=[], disable_tqdm=True,
        )  # fmt: skip
        trainer = trainer_class(model=copy.deepcopy(start), args=args, train_dataset=rows)
        trainer.train()
        ends.append(trainer.model.state_dict())
        norms.append([log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log])
    torch.testing.assert_close(ends[0], ends[1])
    assert len(norms[0]) == 6
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-4)
