"""Runs with LoRA: the best checkpoint is kept, a killed run ends alike, and stages keep their digests."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from launched import Recipes
from recipe_runs import launch, recipe, run_here
from safetensors.torch import load_file
from test_tuning import _data, _settings, _tune
from tiny import bits, tiny_classifier, tiny_config, weights_of

from wellread_hf import stages
from wellread_hf.errors import SettingsError
from wellread_hf.hub.uploads import model_upload
from wellread_hf.models.lora import add_lora
from wellread_hf.settings import Label, Lora, Objective, Optim, Running, Start, Task, Transfer, Tuning

MARK = "complete.json"


def test_the_best_checkpoint_is_small_and_its_weights_are_kept(tmp_path: Path) -> None:
    model = tiny_classifier(initializer_range=0.2)
    model.name_or_path = "nobody/encoder"
    adapted = add_lora(model, Lora(lora_rank=8), seed=0)
    frozen = {name: value for name, value in weights_of(adapted).items() if ".base_layer." in name}
    # A learning rate at which the last evaluation is not the best one.
    settings = _settings(optim=Optim(learning_rate=2e-2, batch_size=16, precision="fp32"))
    outcome = _tune(tmp_path, adapted, _data(160, 0), _data(60, 1), settings)
    log = json.loads((tmp_path / "log.json").read_text())
    seen = [entry["eval_accuracy"] for entry in log if "eval_accuracy" in entry][:-1]
    assert outcome["validation"]["accuracy"] == max(seen) > seen[-1], "the last one is the best one as well"
    after = weights_of(adapted)
    assert frozen
    assert all(np.array_equal(after[name], value) for name, value in frozen.items())
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        assert not (checkpoint / "model.safetensors").exists()
        weights = load_file(checkpoint / "adapter_model.safetensors")
        assert all("lora_" in name or "classifier" in name or "pooler" in name for name in weights)
        # With a name there peft would ask the Hub about it at every checkpoint.
        config = json.loads((checkpoint / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] is None


@pytest.fixture
def planned(tmp_path: Path) -> dict[str, Any]:
    """Inputs of a stage whose fingerprints never change."""
    for folder, file in (("encoder", "config.json"), ("tokenizer", "tokenizer_config.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("{}")
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text('{"sentence": "it was here", "label": 0}\n')
    return {
        "start": Start(weights=str(tmp_path / "encoder")),
        "task": Task(
            name="mine",
            data=str(tmp_path / "train.jsonl"),
            validation=str(tmp_path / "validation.jsonl"),
            columns=("sentence",),
        ),
        "tuning": Tuning(),
        "running": Running(runs=tmp_path / "runs"),
    }


def test_without_lora_a_stage_has_the_digest_of_before_there_was_lora(planned: dict[str, Any]) -> None:
    task, running = planned["task"], planned["running"]
    # A fix of how texts are read raises the version of stages that read such models.
    transfer = Transfer(guard=False)
    labels = replace(stages.label(planned["start"].weights, task, transfer, Label(), running), version=1)
    soft = {"labels": labels, "transfer": transfer, "objective": Objective()}
    before = {
        "finetune": "0e7d3bf734fadb72095a6262b8f9f07e299205cd29907a1d71c66ddd357eb7ac",
        "distill": "e74422c3f8a834870e2b58003349b912a295b29974fb3ad2f0afd9c3ed87eeb4",
    }
    for more in ({}, {"lora": None}, {"lora": Lora()}):
        for stage in (stages.finetune(**planned, **more), stages.distill(**planned, **soft, **more)):
            assert replace(stage, version=1).digest == before[stage.kind]


def test_lora_is_part_of_a_stages_digest_as_it_works_out(planned: dict[str, Any]) -> None:
    def digest(**fields: Any) -> str:
        return stages.finetune(**planned, lora=Lora(**fields)).digest

    assert digest(lora_rank=8) == digest(lora_rank=8, lora_alpha=16)
    changed = [
        {},
        {"lora_rank": 8},
        {"lora_rank": 4},
        {"lora_rank": 8, "lora_alpha": 8},
        {"lora_rank": 8, "lora_dropout": 0.1},
        {"lora_rank": 8, "lora_targets": ("query",)},
        {"lora_rank": 8, "lora_adapter": False},
    ]
    assert len({digest(**fields) for fields in changed}) == len(changed)


def test_random_weights_are_refused_before_anything_runs(planned: dict[str, Any], tmp_path: Path) -> None:
    random = {**planned, "start": Start(student="2-128", tokenizer=str(tmp_path / "tokenizer"))}
    with pytest.raises(SettingsError, match=r"`lora_rank` 8 .*random weights .*`start\.weights`"):
        stages.finetune(**random, lora=Lora(lora_rank=8))
    assert stages.finetune(**planned).digest
    assert not list(tmp_path.glob("runs/finetune-*"))


@pytest.fixture(scope="module")
def lora_options(world: Path, tmp_path_factory: pytest.TempPathFactory, words: Any) -> list[object]:
    """An evaluation and a checkpoint every two steps, with dropout, from an encoder of two layers."""
    start = tmp_path_factory.mktemp("start") / "encoder"
    torch.manual_seed(0)
    config = tiny_config(vocab_size=len(words), hidden_dropout_prob=0.1)
    type(tiny_classifier())(config).bert.save_pretrained(start)
    words.save_pretrained(start)
    files = [f"{world}/task/{split}.jsonl" for split in ("train", "validation", "test")]
    return [
        *("--start.weights", start, "--task.name", "mine"),
        *("--task.data", files[0], "--task.validation", files[1], "--task.test", files[2]),
        *("--task.columns", "sentence", "--epochs", 4, "--evaluations", 16, "--patience", 6),
        *("--max-length", 32, "--optim.batch-size", 8, "--optim.learning-rate", 5e-3, "--lora-rank", 4),
    ]


@pytest.fixture(scope="module")
def undisturbed(
    recipes: Recipes, lora_options: list[object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    recipes.run("teacher", *lora_options, "--running.runs", runs)
    (folder,) = runs.glob("finetune-*")
    return folder


@pytest.mark.long
@pytest.mark.slow
def test_a_lora_run_killed_twice_ends_with_the_same_bits(
    recipes: Recipes, lora_options: list[object], undisturbed: Path, tmp_path: Path
) -> None:
    options = [*lora_options, "--running.runs", tmp_path]
    for step in (4, 8):
        run = recipes.start("teacher", *options)
        killed = run.signal_when(
            lambda step=step: any(tmp_path.glob(f"finetune-*/checkpoints/checkpoint-{step}/{MARK}"))
        )
        assert killed == -signal.SIGKILL
    # And once more when an adapter lies there, and no record yet.
    recipes.run("teacher", *options)
    (folder,) = tmp_path.glob("finetune-*")
    assert not (folder / "unchecked").exists()
    (folder / "stage.json").unlink()
    recipes.run("teacher", *options)
    assert bits(folder) == bits(undisturbed)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (folder / "adapter" / file).read_bytes() == (undisturbed / "adapter" / file).read_bytes()
    outcomes = [json.loads((path / "stage.json").read_text())["outcome"] for path in (folder, undisturbed)]
    for outcome in outcomes:
        del outcome["seconds_training"]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0]["lora"]["parity_merged"] <= 1e-5


@pytest.mark.long
@pytest.mark.slow
def test_two_processes_train_lora_like_one(
    recipes: Recipes, lora_options: list[object], tmp_path: Path
) -> None:
    """Without dropout, the one source of chance that depends on the number of processes."""
    start = Path(str(lora_options[1]))
    quiet = tmp_path / "encoder"
    quiet.mkdir()
    for file in start.iterdir():
        (quiet / file.name).write_bytes(file.read_bytes())
    config = json.loads((quiet / "config.json").read_text()) | {"hidden_dropout_prob": 0.0}
    (quiet / "config.json").write_text(json.dumps(config))
    options = ["--start.weights", quiet, *lora_options[2:], "--epochs", 1, "--evaluations", 1]
    recipes.run("teacher", *options, "--running.runs", tmp_path / "1")
    ran = launch(2, recipe("teacher"), *options, "--running.runs", tmp_path / "2")
    assert ran.status == 0, ran.err[-4_000:]
    records, weights = {}, {}
    for processes in (1, 2):
        runs = tmp_path / str(processes)
        (folder,) = runs.glob("finetune-*")
        records[processes] = json.loads((folder / "stage.json").read_text())
        weights[processes] = load_file(folder / "model.safetensors")
    assert records[2]["processes"] == 2
    assert records[1]["digest"] == records[2]["digest"]
    assert records[2]["outcome"]["lora"]["parity_adapter"] <= 1e-5
    assert records[1]["outcome"]["validation_loss"] == pytest.approx(
        records[2]["outcome"]["validation_loss"], rel=1e-4
    )
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[2][name], value, rtol=0, atol=2e-4)


@pytest.mark.slow
def test_smoke_runs_lora_in_every_recipe_that_takes_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("pf", "teacher", "distill"):
        ran = run_here(capfd, name, "--preset", "smoke", "--lora-rank", 2, "--running.runs", tmp_path)
        assert ran.status == 0, ran.err
    (distilled,) = tmp_path.glob("distill-*")
    outcome = json.loads((distilled / "stage.json").read_text())["outcome"]
    assert outcome["lora"]["trainable_parameters"] < outcome["lora"]["parameters"] / 10
    # A merged model can be pushed as any other; the adapter stays here.
    upload = model_upload(distilled, "my-student", {})
    assert not [file for file in upload.files if "adapter" in file]
