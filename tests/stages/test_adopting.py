"""Released BERTs are taken over whole, with the logits of their source, or not at all."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer
from recipe_runs import ROOT, Ran, recipe, run_here
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    pipeline,
)

from wellread_hf.hub.uploads import model_upload
from wellread_hf.models.adopt import SENTENCES
from wellread_hf.models.load import load_classifier
from wellread_hf.store.records import RECORD
from wellread_hf.store.stage import Location
from wellread_hf.students import STUDENTS, Student

WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *sorted({word for text in SENTENCES for word in re.findall(r"\w+|[^\w\s]", text.lower())} - {"[", "]"}),
)
# As a config of Google's: no architectures, and not even what kind of model it is.
BARE = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 128,
    "initializer_range": 0.02,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
    "vocab_size": len(WORDS),
}
# What a pre-trained BERT has and a masked LM has not.
POOLER = ["bert.pooler.dense.bias", "bert.pooler.dense.weight"]
PARAMETERS = Student(2, 128).parameters(len(WORDS))
SHA = r"[0-9a-f]{40}"

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Those of a `BertForPreTraining`, strong enough for logits that depend on every one of them."""
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(**BARE))
    for name, values in model.named_parameters():
        torch.nn.init.normal_(values, mean=1.0 if "LayerNorm.weight" in name else 0.0, std=0.2)
    return {name: values.detach().clone() for name, values in model.state_dict().items()}


def old_names(weights: Weights) -> Weights:
    """As the first checkpoints had it: gamma and beta, one output bias, positions stored."""
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): values
        for name, values in weights.items()
        if name != "cls.predictions.decoder.bias"
    }
    return renamed | {"bert.embeddings.position_ids": torch.arange(512)[None]}


def release(
    folder: Path, weights: Weights | None, pickled: object = None, config: Mapping[str, Any] = BARE
) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    if weights is not None:
        save_file({name: values.clone() for name, values in weights.items()}, folder / "model.safetensors")
    if pickled is not None:
        torch.save(pickled, folder / "pytorch_model.bin")
    return folder


def expected_logits(weights: Weights) -> torch.Tensor:
    """The logits at the masks, by the stock model, and token ids looked up by hand."""
    model = BertForMaskedLM(BertConfig(**BARE)).eval()
    assert not model.load_state_dict(weights, strict=False).missing_keys
    found = []
    for sentence in SENTENCES:
        words = re.findall(r"\[mask\]|\w+|[^\w\s]", sentence.lower())
        ids = [WORDS.index(word.replace("[mask]", "[MASK]")) for word in ["[CLS]", *words, "[SEP]"]]
        logits = model(input_ids=torch.tensor([ids])).logits[0]
        found.append(logits[ids.index(WORDS.index("[MASK]"))])
    return torch.stack(found).detach()


def saved_logits(folder: Path) -> torch.Tensor:
    """The same, of a saved folder, as anyone would ask for them."""
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = []
    for sentence in SENTENCES:
        batch = tokenizer(sentence, return_tensors="pt")
        found.append(model(**batch).logits[batch["input_ids"] == tokenizer.mask_token_id][0])
    return torch.stack(found).detach()


def adopted(runs: Path) -> Path:
    (record,) = runs.glob(f"adopt-*/{RECORD}")
    return record.parent


def outcome(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / RECORD).read_text())["outcome"]
    return found


@pytest.mark.parametrize("layout", ["safetensors", "old pickle", "old safetensors"])
def test_a_release_becomes_an_ordinary_folder_with_its_logits(
    layout: str, weights: Weights, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stored = old_names(weights) if "old" in layout else weights
    as_pickle = "pickle" in layout
    source = release(tmp_path / "source", None if as_pickle else stored, stored if as_pickle else None)
    options = ("--sources", source, *(["--pickle"] if as_pickle else []), "--running.runs", tmp_path / "runs")
    ran = run_here(capfd, "adopt", *options)
    assert ran.status == 0, ran.err
    folder = adopted(tmp_path / "runs")
    assert re.fullmatch(r"adopt-bert-2-128-\w{12}", folder.name)
    upload = model_upload(folder, "bert-2-128", {})
    assert set(upload.files) == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }
    assert not [file for file in upload.files.values() if str(tmp_path) in (file.text())]

    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertForPreTraining"]
    assert BARE.items() <= config.items()
    assert config["model_type"] == "bert"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.get_vocab() == {word: index for index, word in enumerate(WORDS)}
    assert (tokenizer.model_max_length, tokenizer.is_fast) == (512, True)
    assert tokenizer.tokenize("The OLD dog") == ["the", "old", "[UNK]"]

    expected = expected_logits(weights)
    assert expected.std(dim=0).mean() > 0.5
    assert (saved_logits(folder) - expected).abs().max() <= 1e-5
    (best, *_) = pipeline("fill-mask", str(folder))(SENTENCES[0])
    assert best["token"] == int(expected[0].argmax())

    found = outcome(folder)
    assert found.pop("parity") <= 1e-5
    assert found == {
        "source": None,
        "revision": None,
        "sentences": 20,
        "parameters": PARAMETERS,
        "left_out": [],
    }
    record = json.loads((folder / RECORD).read_text())
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", record["settings"]["source"])

    before = (folder / "model.safetensors").stat().st_mtime_ns
    again = run_here(capfd, "adopt", *options)
    assert "done already" in again.out
    assert "starts" not in again.out
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_other_weights_in_the_pickle_are_another_stage(
    weights: Weights, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = release(tmp_path / "source", None, weights)
    options = ("--sources", source, "--pickle", "--running.runs", tmp_path / "runs")
    assert run_here(capfd, "adopt", *options).status == 0
    torch.save({name: values + 1 for name, values in weights.items()}, source / "pytorch_model.bin")
    assert run_here(capfd, "adopt", *options).status == 0
    assert len(list((tmp_path / "runs").glob("adopt-*"))) == 2


def test_a_classifier_has_the_pooler_whatever_the_format_that_it_comes_from(
    weights: Weights, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = release(tmp_path / "source", None, weights)
    options = ("--sources", source, "--pickle", "--running.runs", tmp_path / "runs")
    assert run_here(capfd, "adopt", *options).status == 0
    whole = release(tmp_path / "whole", weights, config=BARE | {"model_type": "bert"})
    first, other = (
        load_classifier(Location(name=str(place), revision=None, fingerprint=""), ("a", "b"), 3).eval()
        for place in (adopted(tmp_path / "runs"), whole)
    )
    assert torch.equal(first.bert.pooler.dense.weight, weights["bert.pooler.dense.weight"])
    ids = torch.arange(5, 25)[None]
    assert torch.equal(first(ids).logits, other(ids).logits)


def test_a_source_without_a_pooler_becomes_a_masked_lm(
    weights: Weights, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = release(tmp_path / "source", _without(weights, "seq_relationship"))
    assert run_here(capfd, "adopt", "--sources", source, "--running.runs", tmp_path / "runs").status == 0
    folder = adopted(tmp_path / "runs")
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    assert outcome(folder)["left_out"] == POOLER
    assert (saved_logits(folder) - expected_logits(weights)).abs().max() <= 1e-5


def test_a_size_that_is_none_of_the_24_has_its_sources_name_and_another_tokenizer_may_be_named(
    weights: Weights, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fewer = {name: values for name, values in weights.items() if "layer.1." not in name}
    source = release(tmp_path / "Small-One", fewer, config=BARE | {"num_hidden_layers": 1})
    other = release(tmp_path / "other", None, config=BARE | {"model_type": "bert"})
    (source / "vocab.txt").unlink()
    options = ("--sources", source, "--tokenizer", other, "--running.runs", tmp_path / "runs")
    ran = run_here(capfd, "adopt", *options)
    assert ran.status == 0, ran.err
    assert adopted(tmp_path / "runs").name.startswith("adopt-small-one-")


def test_what_does_not_give_the_sources_logits_is_refused(
    weights: Weights, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wellread_hf.models import save

    save_well = save.save_model

    def save_badly(model: Any, tokenizer: Any, folder: Path) -> None:
        save_well(model, tokenizer, folder)
        stored = load_file(folder / "model.safetensors")
        stored["bert.encoder.layer.1.output.dense.bias"][0] += 0.01
        save_file(stored, folder / "model.safetensors", {"format": "pt"})

    monkeypatch.setattr(save, "save_model", save_badly)
    source = release(tmp_path / "source", weights)
    message = refused(run_here(capfd, "adopt", "--sources", source, "--running.runs", tmp_path / "runs"))
    assert "within 1e-05, got a difference of" in message
    nothing_left(tmp_path / "runs")


def refused(ran: Ran) -> str:
    assert ran.status == 2, ran.out + ran.err
    assert "Traceback" not in ran.err
    (message,) = (line for line in ran.err.splitlines() if line.startswith("error: "))
    assert len(message) < 700
    return message


def nothing_left(runs: Path) -> None:
    assert not list(runs.rglob("*.safetensors"))
    assert not list(runs.rglob(RECORD))


class RunsCode:
    """A pickle of it makes a file where it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def _without(weights: Weights, part: str) -> Weights:
    return {name: values for name, values in weights.items() if part not in name}


def _pickled(folder: Path, weights: Weights) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def _evil(folder: Path, weights: Weights) -> None:
    _pickled(folder, weights | {"code": RunsCode(folder / "ran")})  # type: ignore[dict-item]


def _stored(change: Callable[[Weights], Weights]) -> Callable[[Path, Weights], None]:
    def spoil(folder: Path, weights: Weights) -> None:
        save_file(change(weights), folder / "model.safetensors")

    return spoil


def _configured(**changes: Any) -> Callable[[Path, Weights], None]:
    def spoil(folder: Path, weights: Weights) -> None:
        kept = {name: value for name, value in (BARE | changes).items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    return spoil


def _gone(file: str) -> Callable[[Path, Weights], None]:
    return lambda folder, weights: (folder / file).unlink()


def _more_words(*words: str) -> Callable[[Path, Weights], None]:
    def spoil(folder: Path, weights: Weights) -> None:
        with (folder / "vocab.txt").open("a") as file:
            file.writelines(f"{word}\n" for word in words)

    return spoil


SPOILT: list[tuple[str, Callable[[Path, Weights], None], str, tuple[str, ...]]] = [
    ("pickle", _pickled, "", ("found none", "NAME@refs/pr/N", "--pickle")),
    ("no weights", _gone("model.safetensors"), "--pickle", ("pytorch_model.bin", "found neither")),
    ("code", _evil, "--pickle", ("tensors alone", "model.safetensors")),
    ("list", lambda folder, weights: _pickled(folder, [1]), "--pickle", ("tensors by name",)),  # type: ignore[arg-type]
    ("no head", _stored(lambda w: _without(w, "cls.")), "", ("masked-LM head", "no weights for cls.pred")),
    ("layer", _stored(lambda w: _without(w, "layer.1.")), "", ("2 layers", "no weights for bert.encoder")),
    ("more layers", _configured(num_hidden_layers=1), "", ("1 layers", "also bert.encoder.layer.1")),
    ("classifier", _stored(lambda w: w | {"classifier.bias": torch.ones(2)}), "", ("also classifier.bias",)),
    ("width", _configured(intermediate_size=256), "", ("shapes that its config.json describes",)),
    ("words", _configured(vocab_size=len(WORDS) + 3), "", ("shapes that its config.json describes",)),
    ("heads", _configured(num_attention_heads=3), "", ("cannot be loaded as a model",)),
    ("kind", _configured(model_type="roberta"), "", ("stock BERT", "roberta", "--start.weights")),
    ("own code", _configured(auto_map={"AutoConfig": "a.B"}), "", ("stock BERT", "code of its own")),
    ("size", _configured(num_attention_heads=None), "", ("got none for num_attention_heads",)),
    ("tokenizer", _more_words("new", "newer"), "", (f"at most {len(WORDS)}", f"with {len(WORDS) + 2}")),
    ("word twice", _more_words("old"), "", (f"at most {len(WORDS)}", f"with {len(WORDS) + 1}")),
    ("no tokenizer", _gone("vocab.txt"), "", ("expected a vocabulary", "found none")),
]


@pytest.mark.parametrize(
    ("spoil", "options", "words"), [case[1:] for case in SPOILT], ids=[case[0] for case in SPOILT]
)
def test_a_source_that_is_not_whole_is_refused_and_nothing_left(
    spoil: Callable[[Path, Weights], None],
    options: str,
    words: tuple[str, ...],
    weights: Weights,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source = release(tmp_path / "source", weights)
    spoil(source, weights)
    options_given = ("--sources", source, *options.split(), "--running.runs", tmp_path / "runs")
    message = refused(run_here(capfd, "adopt", *options_given))
    for word in words:
        assert word in message
    assert not (source / "ran").exists()
    nothing_left(tmp_path / "runs")


@pytest.mark.parametrize("options", [(), ("--all", "--sources", "toy:release@smoke")])
def test_sources_are_named_or_all(
    options: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    message = refused(run_here(capfd, "adopt", *options, "--running.runs", tmp_path / "runs"))
    # As it was typed, else by its present name.
    assert ("--sources" if options else "--weights") in message
    assert "--all" in message


# Runs the recipe again and again in one start of Python, for the sake of time.
DRIVER = """
import json, runpy, sys
for line in json.loads(sys.argv[1]):
    sys.argv = line
    try:
        runpy.run_path(line[0], run_name="__main__")
    except SystemExit as end:
        print("status", end.code)
    print("torch" if "torch" in sys.modules else "nothing", "was loaded")
    print("====", flush=True)
    print("====", file=sys.stderr, flush=True)
"""


@pytest.mark.slow
def test_from_the_hub_a_revision_is_pinned_and_recorded(weights: Weights, tmp_path: Path) -> None:
    tiny = STUDENTS[0].release
    with HubServer() as hub:
        hub.add_user("google", "token-of-google")
        heads = _upload_all(hub, weights, tmp_path)
        commands = [
            ["--all", "--dry-run"],
            ["--sources", tiny],
            ["--sources", f"{tiny}@refs/pr/1"],
            ["--sources", tiny, "--pickle"],
            ["--sources", f"{tiny}@refs/pr/1"],
            ["--sources", "google/closed"],
        ]
        hub.clear_requests()
        hub.fault("google/closed/resolve/", status=403, times=None)
        runs = tmp_path / "runs"
        lines = [[recipe("adopt"), *command, "--running.runs", str(runs)] for command in commands]
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps(lines)],
            env=hub.environment(tmp_path / "home") | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outs, errs = done.stdout.split("====\n"), done.stderr.split("====\n")
        requests = hub.requests()

    planned = re.findall(r"^to do +adopt +\S+/adopt-(\S+)-\w{12}$", outs[0], re.MULTILINE)
    assert planned == [student.name for student in STUDENTS]
    assert "nothing was loaded" in outs[0]

    assert "status 2" in outs[1]
    assert "give --pickle" in errs[1]
    assert "status" not in outs[2] + outs[3] + outs[4], errs
    assert "done already" in outs[4]
    assert "status 2" in outs[5]
    assert "google/closed: config.json cannot be fetched" in errs[5]

    records = [json.loads(path.read_text()) for path in runs.glob(f"adopt-*/{RECORD}")]
    found = {record["outcome"]["revision"]: record for record in records}
    assert set(found) == heads
    expected = expected_logits(weights)
    for revision, record in found.items():
        assert record["outcome"]["source"] == tiny
        assert record["outcome"]["parity"] <= 1e-5
        assert record["settings"]["source"] == f"hub:{tiny}@{revision}"
        folder = runs / f"adopt-bert-2-128-{record['digest'][:12]}"
        assert (saved_logits(folder) - expected).abs().max() <= 1e-5
    # Each file once, and no converter asked for safetensors.
    assert len([one for one in requests if one.method == "GET" and "/bucket/" in one.path]) == 2
    assert not [one for one in requests if "discussions" in one.path or one.method == "POST"]


def _upload_all(hub: HubServer, weights: Weights, tmp_path: Path) -> set[str]:
    """Puts configs for all 24 on the hub, and weights for the smallest; returns its two heads."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.endpoint, token="token-of-google")
    for student in STUDENTS:
        api.create_repo(student.release, private=False)
        sizes = {"num_hidden_layers": student.layers, "hidden_size": student.hidden}
        content = json.dumps(BARE | sizes).encode()
        hub.repository(student.release).commit_directly({"config.json": content})
    api.create_repo("google/closed", private=False)
    first = release(tmp_path / "first", weights, old_names(weights))
    files = {path.name: path.read_bytes() for path in first.iterdir()}
    safetensors = {"model.safetensors": files.pop("model.safetensors")}
    tiny = hub.repository(STUDENTS[0].release)
    head = tiny.commit_directly(files)
    tiny.branches["refs/pr/1"] = head
    return {head, tiny.commit_directly(safetensors, branch="refs/pr/1")}
