"""Settings: defaults hold, wrong values are refused where they are made, by the option's name."""

import dataclasses
import math
import pickle
from dataclasses import fields
from typing import get_type_hints

import pytest

from wellread_hf.data.toy.world import ToyWorldSettings
from wellread_hf.errors import SettingsError, UnknownNameError
from wellread_hf.experiments.study.study_settings import Budget, StudySettings
from wellread_hf.experiments.sweep_settings import Engine, SweepSettings
from wellread_hf.settings import (
    Corpus,
    Distil,
    Init,
    Label,
    Lora,
    Measure,
    Objective,
    Optim,
    Pretrain,
    Running,
    Serve,
    Start,
    Task,
    Transfer,
    Tuning,
)
from wellread_hf.tasks import parse_glue_tasks

CLASSES = [Corpus, Label, Lora, Objective, Optim, Pretrain, Running, Start, Task, Transfer, Tuning]

WRONG = [
    (Running, {"checkpoint_steps": 0}, "`running.checkpoint_steps`"),
    (Running, {"workers": -1}, "`running.workers`"),
    (Optim, {"learning_rate": 0.0}, "`learning_rate`"),
    (Optim, {"learning_rate": math.nan}, "`learning_rate`"),
    (Optim, {"batch_size": 0}, "`batch_size`"),
    (Running, {"micro_batch_size": 0}, "`running.micro_batch_size`"),
    (Optim, {"warmup": 1.0}, "`warmup`"),
    (Optim, {"warmup": -0.1}, "`warmup`"),
    (Task, {"columns": ("a", "b", "c")}, "`task.columns`"),
    (Task, {"train_rows": 0}, "`task.train_rows`"),
    (Corpus, {"sources": ()}, "`corpus.sources`"),
    (Pretrain, {"steps": 10, "minutes": 1.0}, "`steps` or `minutes`"),
    (Pretrain, {"steps": 10, "epochs": 3.0}, "`epochs` or `steps` 10"),
    (Pretrain, {"minutes": 10.0, "epochs": 3.0}, "`epochs` or `minutes` 10"),
    (Pretrain, {"steps": True}, "`steps`: expected a number, got True"),
    (Tuning, {"epochs": True}, "`epochs`: expected a number, got True"),
    (Measure, {"threads": (True,)}, "`threads`: expected a number, got True"),
    (Serve, {"port": True}, "`port`: expected a number, got True"),
    (Pretrain, {"epochs": 0.0}, "`epochs`"),
    (Pretrain, {"steps": 0}, "`steps`"),
    (Pretrain, {"minutes": -1.0}, "`minutes`"),
    (Pretrain, {"block_lengths": (128, 512)}, "`block_lengths` and `phase_shares`"),
    (Pretrain, {"block_lengths": (), "phase_shares": ()}, "`block_lengths` and `phase_shares`"),
    (Pretrain, {"block_lengths": (7,)}, "`block_lengths`"),
    (Pretrain, {"block_lengths": (128, 512), "phase_shares": (0.9, 0.2)}, "`phase_shares`"),
    (Pretrain, {"block_lengths": (128, 512), "phase_shares": (1.0, 0.0)}, "`phase_shares`"),
    (Pretrain, {"mask_share": 0.0}, "`mask_share`"),
    (Pretrain, {"mask_share": 1.0}, "`mask_share`"),
    (Pretrain, {"dropout": 1.0}, "`dropout`"),
    (Pretrain, {"dropout": 0.2, "start": "encoder"}, "`start` encoder brings a dropout of its own"),
    (Start, {}, "`start.tokenizer`"),
    (Tuning, {"epochs": 0.0}, "`epochs`"),
    (Tuning, {"evaluations": 0}, "`evaluations`"),
    (Tuning, {"patience": 0}, "`patience`"),
    (Tuning, {"max_length": 7}, "`max_length`"),
    (Lora, {"lora_rank": 0}, "`lora_rank`"),
    (Lora, {"lora_alpha": 0}, "`lora_alpha`"),
    (Lora, {"lora_dropout": 1.0}, "`lora_dropout`"),
    (Lora, {"lora_targets": ("query",)}, "`lora_targets`: expected LoRA's rank"),
    (Lora, {"lora_dropout": math.nan}, "`lora_dropout`"),
    (Transfer, {"sources": ()}, "`transfer.sources`"),
    (Transfer, {"rows": 0}, "`transfer.rows`"),
    (Label, {"max_length": 7}, "`max_length`"),
    (Label, {"shard_rows": 0}, "`shard_rows`"),
    (Label, {"batch_tokens": 127}, "`batch_tokens`"),
    (Label, {"states": (0,)}, "`states`"),
    (Label, {"states": (2, 2)}, "`states`"),
    (Objective, {"layers": ("skip", "1:2")}, "`layers`"),
    (Objective, {"layers": ("0:2",)}, "`layers`"),
    (Objective, {"layers": ()}, "`layers`"),
    (Objective, {"states_weight": -1.0}, "`states_weight`"),
    (Objective, {"states_weight": math.inf}, "`states_weight`"),
    (Objective, {"temperature": math.inf}, "`temperature`: expected a finite number"),
    (Optim, {"epsilon": 1e-300}, "`epsilon`"),
    (Pretrain, {"seed": 2**32}, "`seed` must be at most 4,294,967,295"),
    (Pretrain, {"block_lengths": (8,) * 2_000, "phase_shares": (1 / 2_000,) * 2_000}, "`block_lengths`"),
    (Running, {"report_to": ("tensorbord",)}, "tensorboard"),
    (Running, {"report_to": ("dagshub",)}, "`running.report_to` dagshub: its package is not installed"),
    (Objective, {"temperature": 0.0}, "`temperature`"),
    (Objective, {"hard_label_share": 1.5}, "`hard_label_share`"),
    (Objective, {"hard_label_share": math.nan}, "`hard_label_share`"),
]


@pytest.mark.parametrize(
    ("kind", "fields", "option"), WRONG, ids=lambda value: str(getattr(value, "__name__", value))
)
def test_a_value_that_no_run_can_have_is_refused_by_its_option(kind, fields, option):
    with pytest.raises(SettingsError) as refusal:
        kind(**fields)
    assert option in str(refusal.value)
    for value in fields.values():
        if not isinstance(value, tuple):
            assert str(value) in str(refusal.value)


# What makes settings whole that have no default for everything.
_NEEDED = {Start: {"weights": "x"}, Lora: {"lora_rank": 8}, Engine: {"engine": "ray"}}


@pytest.mark.parametrize("number", [-1, 10**12, -1e300, 1e300, math.nan, math.inf, -math.inf])
def test_no_number_is_without_bounds(number):
    """A setting that is a number, or several, refuses what no run can use; each kind of settings there is."""
    kinds = (Running, Optim, Task, Distil, Pretrain, Init, Tuning, Lora, Transfer, Label, Objective)
    kinds += (ToyWorldSettings, Engine, SweepSettings, Budget, StudySettings)
    seen = 0
    for kind in kinds:
        hints = get_type_hints(kind)
        for field in fields(kind):
            words = str(hints[field.name])
            numeric = "int" in words or "float" in words or hints[field.name] in (int, float)
            if not numeric or (isinstance(number, float) and "float" not in words):
                continue
            if field.name in ("learning_rate", "learning_rates") and number == 10**12:
                continue  # what diverges is seen in its loss
            seen += 1
            value = (number,) if "tuple" in words else number
            with pytest.raises(SettingsError) as refusal:
                kind(**_NEEDED.get(kind, {}) | {field.name: value})
            assert f"{field.name}`" in str(refusal.value)
    assert seen > 20


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Optim, {"warmup": 0.0, "schedule": "cosine"}),
        (Pretrain, {"block_lengths": (128, 512), "phase_shares": (0.9, 0.1), "dropout": 0.0, "minutes": 0.5}),
        (Pretrain, {"block_lengths": (8, 16, 32), "phase_shares": (0.1, 0.2, 0.7)}),
        (Lora, {"lora_rank": 1, "lora_alpha": 1, "lora_dropout": 0.0, "lora_adapter": False}),
        (Start, {"weights": "runs/x"}),
        (Start, {"tokenizer": "folder", "student": "mini"}),
        (Label, {"batch_tokens": 128}),
        (Objective, {"hard_label_share": 1.0}),
        (Task, {"columns": ("a", "b")}),
    ],
)
def test_values_at_the_borders_are_taken(kind, fields):
    made = kind(**fields)
    assert {name: getattr(made, name) for name in fields} == fields


def test_an_unknown_student_is_refused_before_anything_runs():
    for make in (Pretrain, lambda student: Start(student=student, tokenizer="x")):
        with pytest.raises(UnknownNameError, match=r"nearest are .*bert-4-256"):
            make(student="5-300")


@pytest.mark.parametrize("kind", CLASSES)
def test_settings_are_frozen_and_keyword_only(kind):
    parameters = kind.__dataclass_params__
    assert parameters.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert "__slots__" in vars(kind)


def test_values_keep_the_type_they_are_given_in():
    """Digests of stored stages distinguish 1 from 1.0."""
    made = Objective(temperature=1, layers=["1:4", "2:8"])
    assert repr(made.temperature) == "1"
    assert made.layers == ("1:4", "2:8")
    assert pickle.loads(pickle.dumps(made)) == made == dataclasses.replace(made)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"lerning_rate": 1.0}, "`lerning_rate`: there is no such setting; the nearest is learning_rate"),
        ({"schedule": "cubic"}, "`schedule`: expected one of 'linear' or 'cosine', got 'cubic'"),
        ({"learning_rate": "fast"}, "`learning_rate`: expected a number, got 'fast'"),
        ({"batch_size": 1.5}, "`batch_size`: expected a whole number, got 1.5"),
    ],
)
def test_an_error_of_a_type_is_one_sentence_that_names_the_field(fields, sentence):
    with pytest.raises(SettingsError) as refusal:
        Optim(**fields)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("SST-2", "sst2"), ("sst-2", "sst2"), ("SST2", "sst2"), ("STS-B", "stsb"), ("sts_b", "stsb")),
        *(("mnli-mm", "mnli"), ("MNLI", "mnli"), ("glue/cola", "cola"), ("CoLA", "cola"), ("qqpp", "qqp")),
    ],
)
def test_a_task_by_another_name_is_answered_with_the_right_one(written, meant):
    with pytest.raises(UnknownNameError, match=f"the nearest is {meant}$"):
        parse_glue_tasks(written)


@pytest.mark.parametrize(
    "grid", [{"students": ("2-128", "tiny")}, {"seeds": 1_000, "batch_sizes": tuple(range(1, 200))}]
)
def test_a_sweep_goes_over_each_value_once_and_over_no_more_than_can_be_run(grid):
    with pytest.raises(SettingsError, match=r"each once, got 2-128 tiny|at most 100,000 trials"):
        SweepSettings(**grid)
