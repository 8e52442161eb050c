"""Token classifiers: the loss is a mean over words, as stock heads have it; a teacher speaks of words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny import random_tags, step_arguments, tiny_classifier, tiny_tagger, word_tokenizer
from torch.nn import functional as F
from transformers import DataCollatorForTokenClassification

from wellread_hf import DistillationTrainer
from wellread_hf.errors import LabelError, SettingsError
from wellread_hf.models.encode import PadCollator
from wellread_hf.settings import Objective
from wellread_hf.training.classifier import ClassifierTrainer
from wellread_hf.training.tuning import TargetRows

ROWS = 8


def _rows(*names: str) -> tuple[TargetRows, PadCollator]:
    encoded, labels, logits = random_tags(ROWS)
    targets = {"labels": labels, "teacher_logits": logits}
    kept = {name: targets[name] for name in names}
    return TargetRows(encoded, kept, np.arange(ROWS)), PadCollator(encoded.pad_id)


def _step(trainer: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Trains for one step; returns its loss, and the gradients as the last micro-batch leaves them."""
    kept = {}
    step = trainer.training_step

    def training_step(model: Any, *args: Any) -> Any:
        loss = step(model, *args)
        kept.update({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        return loss

    trainer.training_step = training_step
    trainer.train()
    return trainer.state.log_history[0]["loss"], kept


def _assert_same_step(trainer: Any, loss: torch.Tensor, model: Any) -> None:
    model.zero_grad()
    loss.backward()
    found, gradients = _step(trainer)
    assert found == pytest.approx(loss.item(), abs=1e-6)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-6, rtol=1e-5, msg=name)


def test_loss_and_gradients_are_those_of_the_stock_head(tmp_path: Path) -> None:
    rows, collate = _rows("labels")
    stock = tiny_tagger(num_labels=3)
    trainer = ClassifierTrainer(
        model=tiny_tagger(num_labels=3),
        args=step_arguments(tmp_path),
        train_dataset=rows,
        data_collator=collate,
    )
    _assert_same_step(trainer, stock(**collate([*map(rows.__getitem__, range(ROWS))])).loss, stock)


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.0), (2.0, 0.0), (3.0, 0.25)])
def test_the_soft_loss_is_the_formula_over_all_words_of_a_step(
    temperature: float, share: float, tmp_path: Path
) -> None:
    rows, collate = _rows("labels", "teacher_logits")
    model = tiny_tagger(num_labels=3)
    batch = collate([*map(rows.__getitem__, range(ROWS))])
    teacher, labels = batch.pop("teacher_logits"), batch.pop("labels")
    logits = model(**batch).logits
    seen = ~teacher.isnan().any(dim=-1)
    soft = -(F.softmax(teacher[seen] / temperature, -1) * F.log_softmax(logits[seen] / temperature, -1)).sum(
        -1
    )
    # The true labels' part is a mean of its own: over the words that have one, of those that the teacher saw.
    both = seen & (labels != -100)
    hard = F.cross_entropy(logits[both], labels[both])
    loss = (1 - share) * temperature**2 * soft.mean() + share * hard
    trainer = DistillationTrainer(
        model=tiny_tagger(num_labels=3),
        args=step_arguments(tmp_path, micro=4),
        train_dataset=rows,
        data_collator=collate,
        temperature=temperature,
        hard_label_share=share,
    )
    found, _ = _step(trainer)
    assert found == pytest.approx(loss.item(), abs=2e-6)


def test_a_live_teacher_gives_the_loss_of_its_stored_logits(tmp_path: Path) -> None:
    rows, collate = _rows("labels")
    teacher = tiny_tagger(1, num_labels=3)
    batch = collate([*map(rows.__getitem__, range(ROWS))])
    labels = batch.pop("labels")
    with torch.no_grad():
        said = teacher(**batch).logits
    student = tiny_tagger(num_labels=3)
    mine, there = student(**batch).logits, labels != -100
    expected = -(F.softmax(said[there], -1) * F.log_softmax(mine[there], -1)).sum(-1).mean()
    trainer = DistillationTrainer(
        model=tiny_tagger(num_labels=3),
        args=step_arguments(tmp_path),
        train_dataset=rows,
        data_collator=collate,
        teacher=teacher,
    )
    assert _step(trainer)[0] == pytest.approx(expected.item(), abs=1e-6)


def test_a_script_of_your_own_trains_on_the_stock_layout(tmp_path: Path) -> None:
    """Labels a token, padded by transformers' own collator; the last accumulated batch is no less worth."""
    rows, _ = _rows("labels")
    columns = [
        {name: rows[index][name].tolist() for name in ("input_ids", "labels")} for index in range(ROWS)
    ]
    model = tiny_tagger(num_labels=3)
    losses = [
        _step(
            ClassifierTrainer(
                model=tiny_tagger(num_labels=3),
                args=step_arguments(tmp_path, micro),
                train_dataset=Dataset.from_list(columns),
                data_collator=DataCollatorForTokenClassification(word_tokenizer()),
            )
        )[0]
        for micro in (8, 2)
    ]
    batch = DataCollatorForTokenClassification(word_tokenizer())(columns)
    assert losses == pytest.approx([model(**batch).loss.item()] * 2, abs=1e-6)


def test_a_script_s_own_rows_of_words_are_padded_with_what_the_teacher_says(tmp_path: Path) -> None:
    """Lists as a data set has them, with the tokenizer's masks; NaN where nothing is said."""
    rows, _ = _rows("labels", "teacher_logits")
    names = ("input_ids", "labels", "teacher_logits")
    columns = [{name: rows[index][name].tolist() for name in names} for index in range(ROWS)]
    columns = [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in columns]
    loss, parts = 0.0, {"args": step_arguments(tmp_path), "train_dataset": Dataset.from_list(columns)}
    words = 0
    student = tiny_tagger(num_labels=3)
    for row in columns:
        said = torch.tensor(row["teacher_logits"])
        there = ~said.isnan().any(-1)
        with torch.no_grad():
            mine = student(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        loss -= float((F.softmax(said[there], -1) * F.log_softmax(mine[there], -1)).sum())
        words += int(there.sum())
    ours = DistillationTrainer(model=tiny_tagger(num_labels=3), data_collator=PadCollator(0), **parts)
    assert _step(ours)[0] == pytest.approx(loss / words, abs=2e-6)
    stock = DataCollatorForTokenClassification(word_tokenizer())
    with pytest.raises(SettingsError, match="which pads labels alone; take wellread_hf"):
        DistillationTrainer(model=tiny_tagger(num_labels=3), data_collator=stock, **parts).train()


def test_an_evaluation_is_the_mean_over_all_words(tmp_path: Path) -> None:
    rows, collate = _rows("labels")
    model = tiny_tagger(num_labels=3)
    trainer = ClassifierTrainer(
        model=model,
        args=step_arguments(tmp_path, per_device_eval_batch_size=3),
        eval_dataset=rows,
        data_collator=collate,
    )
    batch = collate([*map(rows.__getitem__, range(ROWS))])
    with torch.no_grad():
        expected = model.eval()(**batch).loss.item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-6)


def test_what_cannot_be_learnt_is_refused(tmp_path: Path) -> None:
    rows, collate = _rows("labels", "teacher_logits")
    parts: dict[str, Any] = {
        "args": step_arguments(tmp_path),
        "train_dataset": rows,
        "data_collator": collate,
    }
    tagger = tiny_tagger(num_labels=3)
    with pytest.raises(SettingsError, match=r"compares \[CLS\] states, and a token classifier reads none"):
        DistillationTrainer(model=tagger, objective=Objective(method="patient"), **parts)
    with pytest.raises(LabelError, match="expected BertForTokenClassification, got BertForSequence"):
        DistillationTrainer(model=tagger, teacher=tiny_classifier(num_labels=3), **parts)
    with pytest.raises(LabelError, match="expected 4 teacher_logits a token"):
        DistillationTrainer(model=tiny_tagger(num_labels=4), **parts).train()
    short = [{"input_ids": [2, 7, 8, 3], "labels": [0, 1]}] * 8
    with pytest.raises(LabelError, match=r"expected `labels` of shape \(8, 4\), one a token, got \(8, 2\)"):
        ClassifierTrainer(model=tagger, **parts | {"train_dataset": short, "data_collator": _stacked}).train()


def _stacked(rows: Any) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
