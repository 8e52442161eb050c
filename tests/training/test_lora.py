"""LoRA: what is trained, what is saved, and that it is the same model when it is loaded again."""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from launched import Recipes
from peft import PeftModel
from recipe_runs import launch, recipe, run_here
from safetensors.torch import load_file
from test_tuning import _data, _settings, _tune
from tiny import bits, random_rows, tiny_classifier, tiny_config, weights_of
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from wellread_hf import stages
from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.hub.files import model_upload
from wellread_hf.models.load import load_classifier
from wellread_hf.models.lora import add_lora, exact_logits
from wellread_hf.settings import Label, Lora, Objective, Optim, Running, Start, Task, Transfer, Tuning
from wellread_hf.stages.adapting import save_lora
from wellread_hf.store.places import Location

MARK = "complete.json"
SIZES = {"vocab_size": 60, "max_position_embeddings": 64, "num_labels": 2}
FAMILIES = {
    "bert": lambda: tiny_classifier(),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(**SIZES, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    ),
    "roberta": lambda: RobertaForSequenceClassification(
        RobertaConfig(
            **SIZES, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
    ),
    "gpt2": lambda: GPT2ForSequenceClassification(
        GPT2Config(vocab_size=60, n_positions=64, n_embd=32, n_layer=2, n_head=2, pad_token_id=0)
    ),
}
LAYER = {
    "bert": 6,  # query, key, value, the attention's output, and two of the feed-forward part
    "distilbert": 6,
    "roberta": 6,
    "gpt2": 4,  # query, key and value are one
}
HEADS = {
    "bert": ["classifier", "pooler"],
    "distilbert": ["pre_classifier", "classifier"],
    "gpt2": ["score"],
}


class _Words:
    """A tokenizer's place: what is saved beside a model here is of no interest."""

    is_fast = False

    def save_pretrained(self, folder: Path) -> None:
        pass


def _rows(model: Any, count: int = 40) -> Any:
    rows = random_rows(count)
    if model.config.model_type == "bert":
        return rows
    # The others know no token types.
    return type(rows)(ids=rows.ids, segments=None, offsets=rows.offsets, pad_id=rows.pad_id)


def _saved(folder: Path, model: Any) -> Location:
    model.save_pretrained(folder)
    return Location(name=str(folder), revision=None, fingerprint="sha256:0")


def _load(at: Location, seed: int = 1) -> Any:
    return load_classifier(at, ("no", "yes"), seed)


def _shaken(model: PeftModel) -> PeftModel:
    """A model as if trained: LoRA's second matrices, which begin as zeros, and the heads have moved."""
    torch.manual_seed(7)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.add_(torch.randn_like(weights) * 0.1)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoders_linear_layers_get_lora_and_the_heads_are_trained_whole(family: str) -> None:
    torch.manual_seed(0)
    model = FAMILIES[family]()
    before = weights_of(model)
    adapted = add_lora(model, Lora(lora_rank=3), seed=5)
    trained = {name for name, weights in adapted.named_parameters() if weights.requires_grad}
    lora = {name for name in trained if ".lora_A." in name or ".lora_B." in name}
    assert len(lora) == 2 * 2 * LAYER[family]
    heads = HEADS.get(family, ["classifier"])
    assert {head for name in trained - lora for head in heads if f".{head}." in name} == set(heads)
    assert all(any(f".{head}." in name for head in heads) for name in trained - lora)
    assert list(adapted.peft_config["default"].modules_to_save) == heads
    # Until it is trained it is the model that it was.
    rows = _rows(model)
    reference = FAMILIES[family]()
    reference.load_state_dict({name: torch.from_numpy(value) for name, value in before.items()})
    torch.testing.assert_close(exact_logits(adapted, rows), exact_logits(reference, rows), rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_model_and_adapter_give_the_trained_logits_again(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    # A masked LM, as pre-training leaves it: classifier and pooler are new, and drawn anew at each loading.
    kind = AutoModelForCausalLM if family == "gpt2" else AutoModelForMaskedLM
    base = _saved(tmp_path / "start", kind.from_config(FAMILIES[family]().config))
    lora = Lora(lora_rank=4, lora_alpha=3)
    model = _shaken(add_lora(_load(base, seed=0), lora, seed=0))
    rows = _rows(model)
    expected = exact_logits(model, rows)
    assert float((expected - exact_logits(_load(base, seed=0), rows)).abs().max()) > 0.1
    facts = save_lora(model, _Words(), lora, base, _load, rows, tmp_path / "run")
    assert max(facts["parity_merged"], facts["parity_adapter"]) < 1e-6
    assert facts["trainable_parameters"] < facts["parameters"]
    # Independently, in fp32 and by the libraries' own words.
    batch = {"input_ids": torch.from_numpy(rows.row(0)["input_ids"].astype(np.int64))[None]}
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run").eval()
    assert type(merged).__module__.startswith("transformers.")
    torch.manual_seed(99)
    again = AutoModelForSequenceClassification.from_pretrained(base.name)
    again = PeftModel.from_pretrained(again, str(tmp_path / "run/adapter")).eval()
    with torch.no_grad():
        for loaded in (merged, again):
            found = loaded(**batch).logits
            np.testing.assert_allclose(found[0].numpy(), expected[0].float().numpy(), atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "run/adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    weights = load_file(tmp_path / "run/adapter/adapter_model.safetensors")
    assert sum(value.numel() for value in weights.values()) == facts["trainable_parameters"]


def test_the_merged_weights_are_the_encoders_plus_alpha_over_rank_times_the_product(tmp_path: Path) -> None:
    base = _saved(tmp_path / "start", tiny_classifier())
    lora = Lora(lora_rank=4, lora_alpha=3)
    model = _shaken(add_lora(_load(base), lora, seed=0))
    save_lora(model, _Words(), lora, base, _load, random_rows(8), tmp_path / "run")
    before, merged = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "run"))
    parts = load_file(tmp_path / "run/adapter/adapter_model.safetensors")
    query = "bert.encoder.layer.1.attention.self.query"
    product = parts[f"base_model.model.{query}.lora_B.weight"].double() @ (
        parts[f"base_model.model.{query}.lora_A.weight"].double()
    )
    torch.testing.assert_close(
        merged[f"{query}.weight"].double(),
        before[f"{query}.weight"].double() + 3 / 4 * product,
        rtol=0,
        atol=1e-7,
    )
    untouched = [name for name in before if "embeddings" in name or "LayerNorm" in name]
    assert untouched
    assert all(torch.equal(before[name], merged[name]) for name in untouched)


def test_a_saved_adapter_names_its_start_without_the_folders_above_it(tmp_path: Path) -> None:
    here = _saved(tmp_path / "my-encoder", tiny_classifier())
    hub = Location(name="google/bert", revision="c" * 40, fingerprint=f"hub:google/bert@{'c' * 40}")
    named = {}
    for name, at in (("here", here), ("hub", hub)):
        lora = Lora(lora_rank=2)
        model = add_lora(tiny_classifier(), lora, seed=0)
        save_lora(model, _Words(), lora, at, lambda at: _load(_of(at, here)), random_rows(8), tmp_path / name)
        config = json.loads((tmp_path / name / "adapter/adapter_config.json").read_text())
        named[name] = config["base_model_name_or_path"], config["revision"]
        assert str(tmp_path) not in json.dumps(config)
        assert config["target_modules"] == sorted(config["target_modules"])
    assert named == {"here": ("my-encoder", None), "hub": ("google/bert", "c" * 40)}


def _of(at: Location, here: Location) -> Location:
    # The Hub's model lies here.
    return here if at.fingerprint.startswith("hub:") else at


@pytest.mark.parametrize("spoilt", ["the start", "the merged model"])
def test_what_differs_when_loaded_again_is_refused_and_not_left_behind(tmp_path: Path, spoilt: str) -> None:
    base = _saved(tmp_path / "start", tiny_classifier())
    lora = Lora(lora_rank=2)
    model = _shaken(add_lora(_load(base), lora, seed=0))
    if spoilt == "the start":
        _saved(tmp_path / "start", tiny_classifier(seed=1))
    else:
        # A part of the model that is no weight, and so is not saved.
        model.base_model.model.dropout = torch.nn.Hardtanh(-0.01, 0.01)
    folder = tmp_path / "run"
    with pytest.raises(StoreError, match=r"loaded again.*trained model's logits.*got a difference of"):
        save_lora(model, _Words(), lora, base, _load, random_rows(8), folder)
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_the_adapter_can_be_left_out(tmp_path: Path) -> None:
    base = _saved(tmp_path / "start", tiny_classifier())
    lora = Lora(lora_rank=2, lora_adapter=False)
    facts = save_lora(
        add_lora(_load(base), lora, 0), _Words(), lora, base, _load, random_rows(8), tmp_path / "run"
    )
    assert not (tmp_path / "run/adapter").exists()
    assert (tmp_path / "run/model.safetensors").is_file()
    assert "adapter_bytes" not in facts


def test_lora_begins_with_the_seed_and_nothing_else() -> None:
    def drawn(seed: int, before: int) -> dict[str, np.ndarray]:
        model = tiny_classifier()
        torch.manual_seed(before)
        return weights_of(add_lora(model, Lora(lora_rank=2), seed))

    first, same, other = drawn(3, before=1), drawn(3, before=2), drawn(4, before=1)
    assert all(np.array_equal(first[name], same[name]) for name in first)
    moved = {name for name in first if not np.array_equal(first[name], other[name])}
    assert moved == {name for name in first if ".lora_A." in name}


def test_targets_are_ends_of_names_and_those_that_match_nothing_are_refused() -> None:
    chosen = Lora(lora_rank=2, lora_targets=("query", "attention.output.dense"))
    adapted = add_lora(tiny_classifier(), chosen, seed=0)
    lora = {name for name, weights in adapted.named_parameters() if ".lora_A." in name}
    assert len(lora) == 4
    assert all(".query." in name or ".attention.output.dense." in name for name in lora)
    with pytest.raises(SettingsError) as refusal:
        add_lora(tiny_classifier(), Lora(lora_rank=2, lora_targets=("query", "q_lin", "uery")), seed=0)
    for word in ("--lora-targets", "'q_lin'", "'uery'", "attention.self.query", "intermediate.dense"):
        assert word in str(refusal.value)
    assert "'query'" not in str(refusal.value)


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
    labels = replace(stages.label(planned["start"].weights, task, Transfer(), Label(), running), version=1)
    soft = {"labels": labels, "transfer": Transfer(), "objective": Objective()}
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


def test_random_weights_and_a_missing_peft_are_refused_before_anything_runs(
    planned: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = {**planned, "start": Start(student="2-128", tokenizer=str(tmp_path / "tokenizer"))}
    with pytest.raises(SettingsError, match=r"`lora_rank` 8 .*random weights .*`start\.weights`"):
        stages.finetune(**random, lora=Lora(lora_rank=8))
    # How Python itself marks a package that cannot be imported.
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SettingsError, match=r'pip install "wellread-hf\[peft\]"'):
        stages.finetune(**planned, lora=Lora(lora_rank=8))
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
        ran = run_here(capfd, name, "--smoke", "--lora-rank", 2, "--running.runs", tmp_path)
        assert ran.status == 0, ran.err
    (distilled,) = tmp_path.glob("distill-*")
    outcome = json.loads((distilled / "stage.json").read_text())["outcome"]
    assert outcome["lora"]["trainable_parameters"] < outcome["lora"]["parameters"] / 10
    # A merged model can be pushed as any other; the adapter stays here.
    upload = model_upload(distilled, "my-student", {})
    assert not [file for file in upload.files if "adapter" in file]
