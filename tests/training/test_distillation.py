"""`DistillationTrainer` in a script of your own: plain `TrainingArguments`, a classifier, `datasets` rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny import SPECIAL, VOCABULARY, random_rows, tiny_classifier, weights_of, word_tokenizer
from transformers import (
    DataCollatorWithPadding,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from wellread_hf import DistillationTrainer
from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.training.distillation import SOFT_LABELS

CLASSES = 3


def _arguments(folder: Path, micro: int = 8, accumulation: int = 1, **more: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        learning_rate=1e-2,
        # With 1e-8 Adam blows rounding up where a gradient is nothing else (keys' biases).
        adam_epsilon=1e-6,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **({"num_train_epochs": 2} | more),
    )


def _rows(count: int = 44) -> Dataset:
    rows = random_rows(count)
    draw = np.random.default_rng(0)
    ids = [rows.row(index)["input_ids"].tolist() for index in range(count)]
    return Dataset.from_dict(
        {
            "text": [" ".join(f"word{token - len(SPECIAL)}" for token in row[1:-1]) for row in ids],
            "input_ids": ids,
            "attention_mask": [[1] * len(row) for row in ids],
            "teacher_logits": (2 * draw.normal(size=(count, CLASSES))).astype(np.float32).tolist(),
            "label": draw.integers(0, CLASSES, size=count).tolist(),
        }
    )


def _student(seed: int = 0) -> Any:
    return tiny_classifier(seed, num_labels=CLASSES)


def _trainer(folder: Path, rows: Any, model: Any = None, args: Any = None, **more: Any) -> Any:
    return DistillationTrainer(
        model=_student() if model is None else model,
        args=_arguments(folder) if args is None else args,
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=DataCollatorWithPadding(word_tokenizer()),
        **more,
    )


def _losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _step_by_step(model: Any, rows: Dataset, temperature: float, share: float) -> list[float]:
    """The same training as a plain loop, with the loss written out; rows in order, all in one batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-6, weight_decay=0.0)
    batch = DataCollatorWithPadding(word_tokenizer())(
        rows.select_columns(["input_ids", "attention_mask"]).to_list()
    )
    teacher, labels = torch.tensor(rows["teacher_logits"]), torch.tensor(rows["label"])
    losses = []
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 4)
        logits = model.train()(**batch).logits
        soft = -(torch.softmax(teacher / temperature, 1) * torch.log_softmax(logits / temperature, 1)).sum(1)
        hard = -torch.log_softmax(logits, 1)[torch.arange(len(labels)), labels]
        loss = ((1 - share) * temperature**2 * soft + share * hard).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.0), (3.0, 0.25), (1.0, 1.0)])
def test_it_trains_like_a_plain_loop_with_the_loss_written_out(
    temperature: float, share: float, tmp_path: Path
) -> None:
    rows = _rows()
    args = _arguments(tmp_path, micro=44, max_steps=4, num_train_epochs=1)
    trainer = _trainer(tmp_path, rows, args=args, temperature=temperature, hard_label_share=share)
    assert args.remove_unused_columns  # plain arguments, a text column and all
    trainer.train()
    model = _student()
    np.testing.assert_allclose(_losses(trainer), _step_by_step(model, rows, temperature, share), rtol=1e-4)
    for name, weights in weights_of(model).items():
        np.testing.assert_allclose(weights_of(trainer.model)[name], weights, atol=2e-4, err_msg=name)


def test_other_architectures_are_taught_as_well(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "num_labels": CLASSES}
    silent = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    config = DistilBertConfig(vocab_size=VOCABULARY, **silent, **sizes)
    model = DistilBertForSequenceClassification(config)
    trainer = _trainer(tmp_path, _rows(), model, _arguments(tmp_path, num_train_epochs=16))
    trainer.train()
    losses = _losses(trainer)
    assert np.mean(losses[-6:]) < np.mean(losses[:6]) - 0.1


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_live_teacher_gives_the_trajectory_of_its_stored_logits(temperature: float, tmp_path: Path) -> None:
    teacher, rows = _student(seed=7).eval(), _rows()
    collate = DataCollatorWithPadding(word_tokenizer())
    with torch.no_grad():
        batch = collate(rows.select_columns(["input_ids", "attention_mask"]).to_list())
        stored = 5 * teacher(**batch).logits
        teacher.classifier.weight *= 5
        teacher.classifier.bias *= 5
    taught = rows.remove_columns("teacher_logits").add_column("teacher_logits", stored.tolist())
    from_store = _trainer(tmp_path, taught, temperature=temperature)
    from_store.train()
    live = _trainer(tmp_path, rows.remove_columns("teacher_logits"), temperature=temperature, teacher=teacher)
    live.train()
    np.testing.assert_allclose(_losses(live), _losses(from_store), rtol=1e-4)
    for name, weights in weights_of(from_store.model).items():
        np.testing.assert_allclose(weights_of(live.model)[name], weights, atol=5e-4, err_msg=name)
    assert not teacher.training
    assert not any(weight.requires_grad or weight.grad is not None for weight in teacher.parameters())


def test_a_live_teacher_computes_as_the_student_does(tmp_path: Path) -> None:
    kinds = []
    teacher = _student(5)
    teacher.classifier.register_forward_hook(lambda module, given, logits: kinds.append(logits.dtype))
    args = _arguments(tmp_path, bf16=True, max_steps=1)
    _trainer(tmp_path, _rows().remove_columns("teacher_logits"), args=args, teacher=teacher).train()
    assert set(kinds) == {torch.bfloat16}


def test_a_live_teacher_of_other_classes_or_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="num_labels: expected 3, got 2"):
        _trainer(tmp_path, _rows(), teacher=tiny_classifier(num_labels=2))
    with pytest.raises(LabelError, match="vocab_size: expected 60, got 99"):
        _trainer(tmp_path, _rows(), teacher=tiny_classifier(num_labels=CLASSES, vocab_size=99))
    orders = [dict(enumerate(names)) for names in (("a", "b", "c"), ("c", "b", "a"))]
    student, teacher = (tiny_classifier(num_labels=CLASSES, id2label=order) for order in orders)
    with pytest.raises(LabelError, match="expected a, b, c, got c, b, a"):
        _trainer(tmp_path, _rows(), model=student, teacher=teacher)
    # Names that transformers made up say nothing.
    _trainer(tmp_path, _rows(), model=student, teacher=tiny_classifier(num_labels=CLASSES))


def test_evaluation_is_the_parents_on_true_labels(tmp_path: Path) -> None:
    def metrics(prediction: Any) -> dict[str, float]:
        return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}

    rows = _rows(40)
    ours = _trainer(tmp_path, rows, compute_metrics=metrics, temperature=3.0)
    stock = Trainer(
        model=_student(),
        args=_arguments(tmp_path),
        eval_dataset=rows.remove_columns("teacher_logits"),
        data_collator=DataCollatorWithPadding(word_tokenizer()),
        compute_metrics=metrics,
    )
    found, expected = ours.evaluate(), stock.evaluate()
    for name in ("eval_loss", "eval_accuracy"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6)
    np.testing.assert_allclose(
        ours.predict(rows).predictions,
        stock.predict(rows.remove_columns("teacher_logits")).predictions,
        atol=1e-6,
    )


def _with(rows: Dataset, row: int, logits: list[float] | None) -> Dataset:
    column = rows["teacher_logits"][:]
    column[row] = logits
    return rows.remove_columns("teacher_logits").add_column("teacher_logits", column)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda rows: rows.remove_columns("teacher_logits"),
            "expected a column teacher_logits .* found text",
        ),
        (lambda rows: _with(rows, 0, [0.0, 1.0]), "expected 3 teacher_logits a row"),
        (lambda rows: _with(rows, 43, [0.0, 1.0, 2.0, 3.0]), r"expected 3 .* got \[3, 4\]"),
        (lambda rows: _with(rows, 43, None), "expected 3 teacher_logits a row"),
        (lambda rows: _with(rows, 43, [0.0, float("nan"), 1.0]), "not all finite"),
        (lambda rows: _with(rows, 43, [0.0, float("inf"), 1.0]), "not all finite"),
    ],
)
def test_missing_misaligned_or_broken_soft_labels_stop_it_before_the_first_step(
    spoil: Any, message: str, tmp_path: Path
) -> None:
    trainer = _trainer(tmp_path, spoil(_rows()))
    before = weights_of(trainer.model)
    with pytest.raises(LabelError, match=message):
        trainer.train()
    assert trainer.state.global_step == 0
    after = weights_of(trainer.model)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_rows_in_a_list_are_checked_to_the_last_one(tmp_path: Path) -> None:
    rows = _with(_rows(), 43, [0.0, float("nan"), 1.0]).remove_columns("text").to_list()
    with pytest.raises(LabelError, match="not all finite"):
        _trainer(tmp_path, rows).train()


def test_a_hard_share_without_labels_and_impossible_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="have no labels"):
        _trainer(tmp_path, _rows().remove_columns("label"), hard_label_share=0.5).train()
    with pytest.raises(SettingsError, match="`temperature` must be above 0, got 0"):
        _trainer(tmp_path, _rows(), temperature=0)
    with pytest.raises(SettingsError, match=r"`hard_label_share` must be at most 1, got 1\.5"):
        _trainer(tmp_path, _rows(), hard_label_share=1.5)


def test_a_collator_that_drops_the_soft_labels_is_named(tmp_path: Path) -> None:
    pad = DataCollatorWithPadding(word_tokenizer())

    def dropping(rows: list[dict[str, Any]]) -> Any:
        return pad([{name: row[name] for name in ("input_ids", "attention_mask")} for row in rows])

    trainer = DistillationTrainer(
        model=_student(), args=_arguments(tmp_path), train_dataset=_rows(), data_collator=dropping
    )
    with pytest.raises(LabelError, match="keep the column through your collator"):
        trainer.train()
    assert trainer.state.global_step == 0

    def dropping_labels(rows: list[dict[str, Any]]) -> Any:
        return pad(
            [{name: row[name] for name in ("input_ids", "attention_mask", SOFT_LABELS)} for row in rows]
        )

    trainer = DistillationTrainer(
        model=_student(),
        args=_arguments(tmp_path),
        train_dataset=_rows(),
        data_collator=dropping_labels,
        hard_label_share=0.5,
    )
    with pytest.raises(LabelError, match="a batch has no labels"):
        trainer.train()


def test_a_stream_of_rows_is_taken_and_every_batch_checked(tmp_path: Path) -> None:
    rows = [
        {"input_ids": [2, 5 + number, 3], "attention_mask": [1, 1, 1], "teacher_logits": [1.0, -1.0]}
        for number in range(8)
    ]
    stream = Dataset.from_list(rows).to_iterable_dataset()
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=4, report_to=[], use_cpu=True
    )
    trainer = DistillationTrainer(model=tiny_classifier(), args=arguments, train_dataset=stream)
    trainer.train()
    assert trainer.state.global_step == 2
