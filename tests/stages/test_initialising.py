"""What a student takes from another BERT is that BERT's, bit for bit, and the rest is random."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_runs import Ran, run_here
from safetensors.torch import load_file
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizer,
    RobertaConfig,
    RobertaForMaskedLM,
)

from wellread_hf.models.init import spread_layers
from wellread_hf.models.masked_lm import new_masked_lm
from wellread_hf.students import Student

DEEP = Student(6, 128)
Weights = dict[str, torch.Tensor]
Init = Callable[..., tuple[Ran, Path]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Any) -> Path:
    """A deep source, the same as a classifier and in half precision, and bad ones."""
    here = tmp_path_factory.mktemp("sources")
    deep = new_masked_lm(DEEP, len(toy_tokenizer), dropout=0.1, seed=3)
    deep.save_pretrained(here / "deep")
    torch.manual_seed(4)
    BertForSequenceClassification(DEEP.config(len(toy_tokenizer), num_labels=3)).save_pretrained(
        here / "task"
    )
    deep.half().save_pretrained(here / "half")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    RobertaForMaskedLM(RobertaConfig(vocab_size=len(toy_tokenizer), **sizes)).save_pretrained(
        here / "roberta"
    )
    for name in ("deep", "task", "half", "roberta"):
        toy_tokenizer.save_pretrained(here / name)
    shutil.copytree(here / "deep", here / "shallower-than-it-says")
    config = here / "shallower-than-it-says/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 8}))
    words = [*toy_tokenizer.get_vocab()]
    BertTokenizer(vocab={word: row for row, word in enumerate(words[::-1])}).save_pretrained(here / "others")
    shutil.copytree(here / "deep", here / "many-words")
    more = {word: row for row, word in enumerate([*words, "more"])}
    BertTokenizer(vocab=more).save_pretrained(here / "many-words")
    return here


@pytest.fixture
def init(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> Init:
    """Runs recipes/init.py among the sources; returns what it said and the folder it made."""
    monkeypatch.chdir(place)

    def run(*options: object) -> tuple[Ran, Path]:
        ran = run_here(capfd, "init", *options, "--running.runs", tmp_path / "runs")
        return ran, next(iter((tmp_path / "runs").glob("init-*")), tmp_path)

    return run


def _hidden_states(model: Any, words: int) -> tuple[torch.Tensor, ...]:
    ids = torch.randint(5, words, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found: tuple[torch.Tensor, ...] = model.eval()(ids, output_hidden_states=True).hidden_states
    return found


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--student", "4-128"), (1, 2, 3, 4)),
        ((), (1, 2, 3)),
        (("--keep", "spread"), (1, 3, 5)),
        (("--keep", "spread", "--student", "2-128"), (1, 4)),
        (("--layers", 6, 2), (6, 2)),
    ],
    ids=["first", "half as deep", "every other", "spread", "by number"],
)
def test_layers_are_the_sources_bit_for_bit(
    options: tuple[object, ...], numbers: tuple[int, ...], init: Init, place: Path
) -> None:
    ran, folder = init("--source", "deep", *options)
    assert ran.status == 0, ran.err
    source, taken = load_file(place / "deep/model.safetensors"), load_file(folder / "model.safetensors")
    model = AutoModelForMaskedLM.from_pretrained(folder)
    assert type(model) is BertForMaskedLM
    assert model.config.num_hidden_layers == len(numbers)
    assert json.loads((folder / "stage.json").read_text())["outcome"] | {"parameters": 0} == {
        "layers": list(numbers),
        "source_layers": 6,
        "new": [],
        "left_out": [],
        "parameters": 0,
    }
    for name, weights in taken.items():
        parts = name.split(".")
        if "layer" in parts:
            place_of = parts.index("layer") + 1
            parts[place_of] = str(numbers[int(parts[place_of])] - 1)
        assert torch.equal(weights, source[".".join(parts)]), name
    layers = {name for name in taken if ".layer." in name}
    assert len(layers) == 16 * len(numbers)
    # Nothing of the source but other layers is missing.
    assert taken.keys() - layers == {name for name in source if ".layer." not in name}
    assert (
        AutoTokenizer.from_pretrained(folder).get_vocab()
        == AutoTokenizer.from_pretrained(place / "deep").get_vocab()
    )


def test_the_first_layers_compute_the_sources_hidden_states(init: Init, place: Path) -> None:
    _, folder = init("--source", "deep", "--student", "4-128")
    source = AutoModelForMaskedLM.from_pretrained(place / "deep")
    expected = _hidden_states(source, source.config.vocab_size)
    found = _hidden_states(AutoModelForMaskedLM.from_pretrained(folder), source.config.vocab_size)
    assert len(found) == 5
    for one, other in zip(found, expected, strict=False):
        assert torch.equal(one, other)


def test_of_a_classifier_the_encoder_is_taken_and_the_record_says_what_is_new(
    init: Init, place: Path
) -> None:
    ran, folder = init("--source", "task", "--student", "2-128", "--seed", 5)
    assert ran.status == 0, ran.err
    record = json.loads((folder / "stage.json").read_text())
    assert record["outcome"]["new"] == [
        "cls.predictions.bias",
        "cls.predictions.decoder.bias",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.transform.dense",
    ]
    assert record["outcome"]["left_out"] == [
        *("bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight")
    ]
    source, taken = load_file(place / "task/model.safetensors"), load_file(folder / "model.safetensors")
    encoder = [name for name in taken if name.startswith("bert.")]
    assert encoder
    assert all(torch.equal(taken[name], source[name]) for name in encoder)
    # It knows no classes of the source's.
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.num_labels == 2


def test_half_precision_is_taken_as_fp32(init: Init, place: Path) -> None:
    _, folder = init("--source", "half", "--student", "2-128")
    taken = load_file(folder / "model.safetensors")
    assert {weights.dtype for weights in taken.values()} == {torch.float32}
    name = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(taken[name], load_file(place / "half/model.safetensors")[name].float())


def test_word_embeddings_alone_are_taken_and_the_rest_is_as_in_a_student_from_nothing(
    init: Init, place: Path
) -> None:
    ran, folder = init("--source", "deep", "--keep", "embeddings", "--student", "2-128", "--seed", 7)
    assert ran.status == 0, ran.err
    source, taken = load_file(place / "deep/model.safetensors"), load_file(folder / "model.safetensors")
    words = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(taken[words], source[words])
    fresh = new_masked_lm(Student(2, 128), len(source[words]), dropout=0.1, seed=7).state_dict()
    for name, weights in taken.items():
        if name != words:
            assert torch.equal(weights, fresh[name]), name
    new = json.loads((folder / "stage.json").read_text())["outcome"]["new"]
    assert {"bert.embeddings.position_embeddings.weight", "bert.encoder.layer.1"} < set(new)
    assert words not in new
    model = AutoModelForMaskedLM.from_pretrained(folder)
    assert torch.equal(model.get_output_embeddings().weight, source[words])


def test_other_stages_start_from_what_was_made(
    init: Init, toy_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, folder = init("--source", "deep", "--student", "2-128")
    files = [toy_folder / f"task/{split}.jsonl" for split in ("train", "validation")]
    task = ("--task.name", "mine", "--task.data", files[0], "--task.validation", files[1])
    ran = run_here(
        capfd,
        "teacher",
        *("--start.weights", folder, *task, "--task.columns", "sentence", "--epochs", 1, "--max-length", 16),
        *("--running.runs", tmp_path / "runs"),
    )
    assert ran.status == 0, ran.err
    corpus = ("--corpus.sources", toy_folder / "corpus.txt", "--corpus.tokenizer", toy_folder / "tokenizer")
    ran = run_here(
        capfd,
        "pretrain",
        *("--start", folder, *corpus, "--steps", 2, "--block-lengths", 16, "--optim.batch-size", 4),
        *("--running.runs", tmp_path / "runs"),
    )
    assert ran.status == 0, ran.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--source deep --student 8-128", ("1 to 6", "7, 8", "deeper source")),
        ("--source deep --student 8-128 --keep spread", ("1 to 6", "7, 8")),
        ("--source deep --layers 2 7", ("--layers", "1 to 6", "got 7")),
        ("--source deep --layers 1 2 --keep spread", ("--keep spread", "leave out one")),
        ("--source deep --student 4-256", ("as wide as the source", "H = 128", "H = 256")),
        ("--source deep --student 4-256 --dry-run", ("as wide as the source", "H = 128", "H = 256")),
        ("--source deep --student 2-256 --keep embeddings", ("as wide as the source", "H = 128", "H = 256")),
        ("--source deep --tokenizer others", ("--tokenizer others", "another vocabulary", "leave out")),
        ("--source many-words", ("size of the model's embedding",)),
        ("--source roberta", ("stock BERT", "roberta")),
        ("--source shallower-than-it-says", ("lack", "bert.encoder.layer.6")),
    ],
)
@pytest.mark.usefixtures("no_hub")
def test_bad_input_is_refused_in_a_sentence(options: str, words: tuple[str, ...], init: Init) -> None:
    ran, folder = init(*options.split())
    assert ran.status == 2
    (message,) = (line for line in ran.err.splitlines() if line.startswith("error: "))
    assert "Traceback" not in ran.err
    for word in words:
        assert word in message
    assert not list(folder.glob("*.safetensors"))


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_layers_are_spread_from_the_first() -> None:
    assert spread_layers(6, 12) == (1, 3, 5, 7, 9, 11)
    assert spread_layers(4, 12) == (1, 4, 7, 10)
    # Not the first eight, which would be truncated.
    assert spread_layers(8, 12) == (1, 2, 4, 5, 7, 8, 10, 11)
    assert spread_layers(5, 12) == (1, 3, 5, 8, 10)
    assert spread_layers(3, 3) == (1, 2, 3)
