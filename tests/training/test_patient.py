"""`DistillationTrainer` with [CLS] states: stored or live, through a projection, with LoRA, resumed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_distillation import CLASSES, _arguments, _losses, _rows, _student
from test_tuning import _data, _settings, _tune
from tiny import tiny_classifier, weights_of, word_tokenizer
from transformers import DataCollatorWithPadding

from wellread_hf import DistillationTrainer
from wellread_hf.errors import LabelError, NotFiniteError, SettingsError
from wellread_hf.models.lora import add_lora
from wellread_hf.settings import Lora, Objective
from wellread_hf.training.callbacks import ON_EVALUATION
from wellread_hf.training.cls_states import PROJECTION

PATIENT = Objective(method="patient", temperature=2.0, hard_label_share=0.25, states_weight=3.0)
PROJECTED = Objective(method="patient", layers=("1:2", "2:4"), states_weight=3.0, projection=True)


def _teacher(width: int = 32, layers: int = 4) -> Any:
    return tiny_classifier(seed=7, num_labels=CLASSES, hidden_size=width, num_hidden_layers=layers).eval()


def _taught(layers: tuple[int, ...], teacher: Any = None) -> Any:
    """Rows with what a teacher says of them, each row by itself."""
    teacher, rows = teacher or _teacher(), _rows()
    logits, states = [], []
    with torch.no_grad():
        for ids in rows["input_ids"]:
            said = teacher(input_ids=torch.tensor([ids]), output_hidden_states=True)
            logits.append(said.logits[0].tolist())
            states.append([said.hidden_states[layer][0, 0].half().tolist() for layer in layers])
    rows = rows.remove_columns("teacher_logits")
    return rows.add_column("teacher_logits", logits).add_column("teacher_states", states)


def _trainer(folder: Path, rows: Any, objective: Objective, model: Any = None, **more: Any) -> Any:
    args = more.pop("args", None) or _arguments(folder)
    return DistillationTrainer(
        model=_student() if model is None else model,
        args=args,
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=DataCollatorWithPadding(word_tokenizer()),
        objective=objective,
        **more,
    )


def _same(found: Any, expected: Any, atol: float = 5e-4) -> None:
    expected = weights_of(expected)
    for name, weights in weights_of(found).items():
        np.testing.assert_allclose(weights, expected[name], atol=atol, err_msg=name)


def _plain_loop(
    model: Any, projection: torch.Tensor | None, rows: Any, pairs: int, o: Objective
) -> list[float]:
    """The same training written out; rows in order, all in one batch, the first `pairs` layers compared."""
    trained = [*model.parameters(), *([] if projection is None else [projection.requires_grad_()])]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, eps=1e-6, weight_decay=0.0)
    batch = DataCollatorWithPadding(word_tokenizer())(
        rows.select_columns(["input_ids", "attention_mask"]).to_list()
    )
    teacher, labels = torch.tensor(rows["teacher_logits"]), torch.tensor(rows["label"])
    theirs, temperature = torch.tensor(rows["teacher_states"]), o.temperature
    losses = []
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 4)
        outputs = model.train()(**batch, output_hidden_states=True)
        logits = outputs.logits
        soft = -(torch.softmax(teacher / temperature, 1) * torch.log_softmax(logits / temperature, 1)).sum(1)
        hard = -torch.log_softmax(logits, 1)[torch.arange(len(labels)), labels]
        loss = ((1 - o.hard_label_share) * temperature**2 * soft + o.hard_label_share * hard).mean()
        for layer in range(pairs):
            ours = outputs.hidden_states[layer + 1][:, 0]
            ours = ours if projection is None else ours @ projection.T
            apart = ours / ours.norm(dim=1, keepdim=True)
            apart = apart - theirs[:, layer] / theirs[:, layer].norm(dim=1, keepdim=True)
            loss = loss + o.states_weight * (apart**2).sum(1).mean() / pairs
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("width", [32, 48])
def test_it_trains_like_a_plain_loop_with_the_loss_written_out(width: int, tmp_path: Path) -> None:
    objective, layers, pairs = (PATIENT, (2,), 1) if width == 32 else (PROJECTED, (2, 4), 2)
    rows = _taught(layers, _teacher(width))
    args = _arguments(tmp_path, micro=44, max_steps=4, num_train_epochs=1)
    trainer = _trainer(tmp_path, rows, objective, args=args)
    assert args.remove_unused_columns  # plain arguments, a text column and all
    first = None if width == 32 else trainer._states.projection.weight.detach().clone()
    trainer.train()
    model = _student()
    np.testing.assert_allclose(_losses(trainer), _plain_loop(model, first, rows, pairs, objective), rtol=1e-4)
    _same(trainer.model, model)
    if first is not None:
        np.testing.assert_allclose(trainer._states.projection.weight.detach(), first.detach(), atol=5e-4)
    assert not hasattr(trainer.model, PROJECTION)


@pytest.mark.parametrize("objective", [PATIENT, PROJECTED], ids=["skip", "projection"])
def test_a_live_teacher_gives_the_trajectory_of_its_stored_states(
    objective: Objective, tmp_path: Path
) -> None:
    teacher = _teacher(48 if objective.projection else 32)
    rows = _taught((2, 4) if objective.projection else (2,), teacher)
    stored = _trainer(tmp_path, rows, objective)
    stored.train()
    live = _trainer(
        tmp_path, rows.remove_columns(["teacher_logits", "teacher_states"]), objective, teacher=teacher
    )
    live.train()
    np.testing.assert_allclose(_losses(live), _losses(stored), rtol=1e-4)
    _same(live.model, stored.model)


class Stopped(Exception):
    pass


def test_a_killed_run_with_a_projection_ends_with_the_same_bits_and_a_stock_model(tmp_path: Path) -> None:
    rows, targets = _data(96, 0)
    draw = np.random.default_rng(0)
    taught = {
        "teacher_logits": np.stack([-targets["labels"], targets["labels"]], axis=1).astype(np.float32),
        "teacher_states": draw.normal(size=(96, 2, 48)).astype(np.float16),
    }

    def run(folder: str) -> Any:
        model = tiny_classifier(hidden_dropout_prob=0.1)
        _tune(tmp_path / folder, model, (rows, taught), _data(60, 1), _settings(), objective=PROJECTED)
        return model

    def stop(number: int, scores: Any) -> None:
        if number == 3:
            raise Stopped

    whole = run("whole")
    token = ON_EVALUATION.set(stop)
    try:
        with pytest.raises(Stopped):
            run("killed")
    finally:
        ON_EVALUATION.reset(token)
    checkpoints = list((tmp_path / "killed" / "checkpoints").iterdir())
    assert checkpoints
    assert any(PROJECTION in str((path / "model.safetensors").read_bytes()[:20_000]) for path in checkpoints)
    again = run("killed")
    names = weights_of(whole)
    assert set(names) == set(tiny_classifier().state_dict())
    assert all(np.array_equal(weights_of(again)[name], names[name]) for name in names)


def test_evaluation_looks_at_no_states(tmp_path: Path) -> None:
    rows = _taught((2,))
    trainer = _trainer(tmp_path, rows, PATIENT)
    bare = rows.remove_columns(["teacher_logits", "teacher_states"])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(trainer.evaluate(bare)["eval_loss"])


def test_lora_learns_from_states_and_a_projection_beside_it_is_refused(tmp_path: Path) -> None:
    model = add_lora(_student(), Lora(lora_rank=2), seed=0)
    before = weights_of(model)
    trainer = _trainer(tmp_path, _taught((2,)), PATIENT, model=model)
    trainer.train()
    after = weights_of(trainer.model)
    changed = {name for name in before if not np.array_equal(after[name], before[name])}
    assert any("lora_B" in name for name in changed)
    assert not any("base_layer" in name for name in changed)
    with pytest.raises(SettingsError, match=r"`objective.projection` and LoRA do not go together"):
        _trainer(tmp_path, _taught((2, 4)), PROJECTED, model=model)


def test_states_that_are_not_numbers_stop_the_run(tmp_path: Path) -> None:
    rows = _taught((2,))
    states = rows["teacher_states"][:]
    states[5] = [[float("nan")] * 32]
    rows = rows.remove_columns("teacher_states").add_column("teacher_states", states)
    with pytest.raises(NotFiniteError, match="the training loss became nan at step"):
        _trainer(tmp_path, rows, PATIENT).train()


@pytest.mark.parametrize(
    ("rows", "objective", "error", "message"),
    [
        (lambda: _rows(), PATIENT, LabelError, "expected a column teacher_states .* `label.states`"),
        (lambda: _taught((2,), _teacher(48)), PATIENT, LabelError, "have 32 numbers, the teacher's 48"),
        (lambda: _taught((2, 4)), PATIENT, LabelError, "teacher_states of 1 layers .* got shape"),
        (
            lambda: _taught((2,)),
            Objective(method="patient", layers=("3:2",)),
            SettingsError,
            "3:2: expected a layer of the student, 1 to 2",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    rows: Any, objective: Objective, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        _trainer(tmp_path, rows(), objective).train()


def test_live_teachers_and_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="have 32 numbers, the teacher's 48"):
        _trainer(tmp_path, _rows(), PATIENT, teacher=_teacher(48))
    with pytest.raises(SettingsError, match="student has 2 layers and the teacher 1"):
        _trainer(tmp_path, _rows(), PATIENT, teacher=_teacher(layers=1))
    with pytest.raises(SettingsError, match=r"2:4: .* one of the teacher, 1 to 3"):
        _trainer(tmp_path, _rows(), PROJECTED, teacher=_teacher(48, layers=3))
    with pytest.raises(SettingsError, match="put them into `objective`"):
        _trainer(tmp_path, _taught((2,)), PATIENT, temperature=3.0)
    stream = _taught((2, 4), _teacher(48)).to_iterable_dataset()
    with pytest.raises(SettingsError, match="a stream of rows does not show"):
        _trainer(tmp_path, stream, PROJECTED, args=_arguments(tmp_path, max_steps=2))
