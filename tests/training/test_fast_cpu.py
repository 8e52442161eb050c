"""What makes a step on a CPU cheaper changes no number but those drawn, whose distribution stays."""

import copy
import resource
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from tiny import random_blocks, tiny_classifier, tiny_masked_lm, word_tokenizer
from torch.nn.utils import clip_grad_norm_
from transformers import Trainer, TrainerCallback, TrainingArguments

from wellread_hf.training.classifier import ClassifierTrainer
from wellread_hf.training.fast_cpu import (
    VocabularyLoss,
    cheap_dropout,
    clip_gradients,
    drop,
    freed_memory_kept,
    sparse_word_gradients,
)
from wellread_hf.training.masking import MlmCollator
from wellread_hf.training.pretraining import MlmTrainer

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
    values = torch.ones(67, 333)
    torch.manual_seed(3)
    state, first, second = torch.get_rng_state(), drop(values, 0.5), drop(values, 0.5)
    assert not first.equal(second)
    torch.set_rng_state(state)
    np.random.seed(1)
    assert drop(values, 0.5).equal(first)
    assert drop(values, 1.0).eq(0).all()


@pytest.mark.parametrize("shape", [(), (0, 5), (7, 13)])
def test_few_numbers_are_left_to_torch(shape: tuple[int, ...]) -> None:
    values = torch.ones(shape)
    torch.manual_seed(0)
    found = drop(values, 0.5)
    torch.manual_seed(0)
    assert found.equal(torch.nn.functional.dropout(values, 0.5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_type_stays_and_a_transposed_array_is_dropped_in_its_own_order(dtype: torch.dtype) -> None:
    values = torch.randn(200, 301, dtype=dtype).t()
    torch.manual_seed(0)
    found = drop(values, 0.25)
    torch.manual_seed(0)
    assert found.dtype == dtype
    assert found.equal(drop(values.contiguous(), 0.25))


def test_a_model_drops_in_training_alone_and_is_afterwards_as_it_was() -> None:
    model = tiny_classifier(hidden_dropout_prob=0.2)
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    expected = model.eval()(IDS).logits
    with cheap_dropout(model):
        assert model.eval()(IDS).logits.equal(expected)
        model.train()
        # So many numbers that they are not left to torch.
        ids = IDS.repeat(60, 1)
        torch.manual_seed(0)
        many = torch.stack([model(ids).logits for _ in range(3)])
        assert not many[0].equal(many[1])
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before
    torch.manual_seed(0)
    assert not model(ids).logits.equal(many[0])


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


def test_a_norm_that_is_no_number_makes_all_gradients_so_as_in_torch() -> None:
    found = []
    for clip in (clip_gradients, clip_grad_norm_):
        weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
        for weight, gradient in zip(weights, ([1.0, 2.0], [float("nan"), 1.0]), strict=True):
            weight.grad = torch.tensor(gradient)
        clip(weights, 1.0)
        found.append([weight.grad for weight in weights])
    assert all(
        gradient is not None and gradient.isnan().all() for gradients in found for gradient in gradients
    )


class _NoWords(torch.nn.Module):
    """What a Trainer takes though it has no word embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(9, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.layer(input_ids.float() / 60))


def _in_half() -> Any:
    return tiny_classifier().half()


def _by_frequency() -> Any:
    model = tiny_classifier()
    model.get_input_embeddings().scale_grad_by_freq = True
    return model


@pytest.mark.parametrize("make", [_NoWords, _in_half, _by_frequency])
def test_what_torch_has_no_sparse_gradients_for_trains_as_ever(
    make: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    model = make()
    before = copy.deepcopy(model.state_dict())
    args = TrainingArguments(
        str(tmp_path), use_cpu=True, optim="sgd", max_steps=2, per_device_train_batch_size=4, report_to=[],
        gradient_accumulation_steps=2, save_strategy="no", disable_tqdm=True, learning_rate=0.1,
        remove_unused_columns=False,
    )  # fmt: skip
    trainer = ClassifierTrainer(model=model, args=args, train_dataset=rows)
    trainer.train()
    assert any(not weight.equal(before[name]) for name, weight in trainer.model.state_dict().items())


def test_an_interrupted_run_leaves_the_model_as_it_was(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    class Interrupts(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

    model = tiny_classifier(hidden_dropout_prob=0.1)
    args = TrainingArguments(str(tmp_path), use_cpu=True, save_strategy="no", report_to=[], disable_tqdm=True)
    trainer = ClassifierTrainer(model=model, args=args, train_dataset=rows, callbacks=[Interrupts()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert not model.get_input_embeddings().sparse
    assert not any("forward" in vars(module) for module in model.modules())


class _Stock(ClassifierTrainer):
    """Trains, clips and counts as stock does."""

    def floating_point_ops(self, inputs: Any) -> int:
        return Trainer.floating_point_ops(self, inputs)

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
    start, ends, norms, counted = tiny_classifier(), [], [], []
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
        counted.append(trainer.state.total_flos)
        norms.append([log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log])
    torch.testing.assert_close(ends[0], ends[1])
    assert len(norms[0]) == 6
    assert counted[0] == counted[1] > 0
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-4)


def test_the_losses_of_a_vocabulary_and_their_gradients_are_those_of_cross_entropy() -> None:
    torch.manual_seed(0)
    labels, upstream = torch.tensor([0, 10, 4, 4, 7]), torch.randn(5, dtype=torch.float64)
    sides = []
    for loss in (VocabularyLoss.apply, lambda x, w, b, y: F.cross_entropy(x @ w.T + b, y, reduction="none")):
        torch.manual_seed(1)
        given = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in ((5, 3), (11, 3), 11)]
        losses = loss(*given, labels)
        sides.append([losses, *torch.autograd.grad(losses @ upstream, given)])
    torch.testing.assert_close(*sides, atol=1e-12, rtol=1e-12)


def test_losses_stay_exact_where_shares_underflow() -> None:
    hidden = torch.tensor([[300.0], [-300.0]])
    weight, bias, labels = torch.tensor([[1.0], [-1.0]]), torch.zeros(2), torch.tensor([1, 1])
    found = VocabularyLoss.apply(hidden, weight, bias, labels)
    assert found.tolist() == [600.0, 0.0]
    assert torch.isnan(VocabularyLoss.apply(hidden * torch.nan, weight, bias, labels)).all()


def test_a_second_backward_through_the_losses_is_refused() -> None:
    hidden, weight = torch.randn(2, 3, requires_grad=True), torch.randn(5, 3)
    loss = VocabularyLoss.apply(hidden, weight, torch.zeros(5), torch.tensor([1, 2])).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_freed_memory_is_kept_while_training_and_given_back_afterwards() -> None:
    def resident() -> int:
        fields = Path("/proc/self/statm").read_text().split()
        return int(fields[1]) * resource.getpagesize()

    if not Path("/proc/self/statm").exists():
        pytest.skip("the system does not show a process's memory here")
    size = 1 << 28
    with freed_memory_kept():
        before = resident()
        torch.ones(size // 4)
        kept = resident() - before
    assert kept > 0.9 * size
    assert resident() - before < 0.1 * size


def test_without_fast_cpu_a_run_is_a_stock_run_to_the_bit(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    start, ends = tiny_classifier(hidden_dropout_prob=0.1, hidden_size=128), []
    for kind, more in ((ClassifierTrainer, {"fast_cpu": False}), (_Stock, {}), (ClassifierTrainer, {})):
        args = TrainingArguments(
            str(tmp_path), use_cpu=True, max_steps=3, per_device_train_batch_size=24, save_strategy="no",
            report_to=[], disable_tqdm=True,
        )  # fmt: skip
        trainer = kind(model=copy.deepcopy(start), args=args, train_dataset=rows, **more)
        trainer.train()
        ends.append(trainer.model.state_dict())
    plain, stock, fast = ends
    assert all(plain[name].equal(weights) for name, weights in stock.items())
    # Dropout is drawn another way.
    assert not all(fast[name].equal(weights) for name, weights in stock.items())


def test_without_fast_cpu_masked_lms_take_the_plain_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [{"input_ids": ids, "epoch": 0, "block": row} for row, ids in enumerate(random_blocks(6, 40))]
    batch = MlmCollator(word_tokenizer())(examples)
    parts = {"args": TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])}
    fast, plain = (MlmTrainer(tiny_masked_lm(), fast_cpu=chosen, **parts) for chosen in (True, False))
    expected = fast.row_losses(fast.model.train(), batch)[0]
    monkeypatch.setattr(VocabularyLoss, "forward", lambda *_: pytest.fail("the cheaper head was called"))
    torch.testing.assert_close(plain.row_losses(plain.model.train(), batch)[0], expected)
