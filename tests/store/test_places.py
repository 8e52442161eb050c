"""Finding models and data by name, and the fingerprint of what was found."""

import json
import os
import subprocess
import sys

import pytest

from wellread_hf.errors import DataError, SourceError
from wellread_hf.store.places import check_unchanged, locate
from wellread_hf.store.records import StageRecord


def fingerprint(path, repo_type="dataset"):
    return locate(str(path), repo_type, "x").fingerprint


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"):
        (folder / name).write_text(f"content of {name}")
    (folder / "README.md").write_text("a model")
    return folder


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "default"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"text": "a"}\n')
    (folder.parent / "README.md").write_text("---\n---\n")
    return folder.parent


def test_a_local_path_is_found_as_it_is(model):
    found = locate(str(model), "model", "start")
    assert (found.name, found.revision) == (str(model), None)
    assert found.fingerprint.startswith("sha256:")


def test_the_fingerprint_follows_the_content_and_not_the_place(model):
    first = fingerprint(model, "model")
    moved = model.rename(model.with_name("moved"))
    assert fingerprint(moved, "model") == first


def test_a_readme_beside_a_model_does_not_change_its_fingerprint(model):
    first = fingerprint(model, "model")
    (model / "README.md").write_text("a better card")
    (model / "training.log").write_text("loss")
    (model / "picture.png").write_bytes(b"png")
    assert fingerprint(model, "model") == first


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "code.py",
        "pytorch_model.bin",
    ],
)
def test_weights_config_tokenizer_and_code_change_a_models_fingerprint(model, name):
    first = fingerprint(model, "model")
    (model / name).write_text("changed")
    assert fingerprint(model, "model") != first


def folder_of(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


SAVED = "config.json model.safetensors tokenizer.json tokenizer_config.json "
# Fingerprints of before files were left out by name instead of taken by name.
ORDINARY = {
    "saved by us": (
        "339274136e500ba37a59757d0fb5c456bc59a10f45895d0abcef65a018a8a69b",
        SAVED + "log.json README.md curve.png .lock",
    ),
    "a trainer's": (
        "339274136e500ba37a59757d0fb5c456bc59a10f45895d0abcef65a018a8a69b",
        SAVED
        + "training_args.bin trainer_state.json all_results.json optimizer.pt scheduler.pt rng_state.pth "
        "checkpoint-500/model.safetensors runs/Nov/events.out.tfevents.1 modules.json 1_Pooling/config.json "
        "sentence_bert_config.json config_sentence_transformers.json",
    ),
    "from the Hub": (
        "6e97c57489ab1be81fda7b1683513ffed9877037de93115adcfd1087e4deefbc",
        SAVED + ".gitattributes LICENSE README.md pytorch_model.bin tf_model.h5 rust_model.ot model.onnx "
        "flax_model.msgpack onnx/model.onnx vocab.txt special_tokens_map.json",
    ),
    "a RoBERTa's": (
        "9e253b0c03ae3f505d06980f4cacbf48b2649d9f1194961b720688e9f56f65e7",
        "config.json dict.txt generation_config.json merges.txt vocab.json chat_template.jinja "
        "model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json "
        "sentencepiece.bpe.model added_tokens.json modeling_own.py",
    ),
    "a vocabulary": ("55288023549fc8c5f2d7444275d146d859ba88f6af86a0895cb9a1077d1e097a", "vocab.txt"),
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_an_ordinary_folder_keeps_the_fingerprint_it_had(tmp_path, kind):
    digest, names = ORDINARY[kind]
    assert fingerprint(folder_of(tmp_path / "model", names.split()), "model") == f"sha256:{digest}"


@pytest.mark.parametrize(
    "name", ["adapter_config.json", "adapter_model.bin", "bpe.codes", "layers/own.py", "x.y"]
)
def test_whatever_loading_may_read_changes_a_models_fingerprint(model, name):
    first = fingerprint(model, "model")
    folder_of(model, [name])
    second = fingerprint(model, "model")
    (model / name).write_text("changed")
    assert len({first, second, fingerprint(model, "model")}) == 3


@pytest.fixture
def adapter(tmp_path, model, monkeypatch):
    """An adapter whose base model is named as peft names it, by its path from here."""
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path / "adapter", ["adapter_model.safetensors", "tokenizer_config.json"])
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "model", "lora_alpha": 8})
    )
    return folder


def test_an_adapter_follows_its_settings_and_its_base_model(adapter, model):
    seen = [fingerprint(adapter, "model")]
    assert fingerprint(adapter, "model") == seen[0]
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "model", "lora_alpha": 80})
    )
    seen.append(fingerprint(adapter, "model"))
    (model / "model.safetensors").write_text("other weights")
    seen.append(fingerprint(adapter, "model"))
    assert len(set(seen)) == 3
    # Beside a whole model, that is what it belongs to.
    folder_of(adapter, ["config.json"])
    beside = fingerprint(adapter, "model")
    (model / "model.safetensors").write_text("yet others")
    assert fingerprint(adapter, "model") == beside


@pytest.mark.parametrize("base", ["no/such/model/at/all", "adapter", "", 7, "a" * 300, "x\0y"])
def test_a_base_model_that_cannot_be_found_is_left_to_whoever_loads_it(adapter, base):
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    assert fingerprint(adapter, "model").startswith("sha256:")


def test_code_in_another_folder_changes_a_models_fingerprint(model, tmp_path):
    code = folder_of(tmp_path / "code", ["config.json", "modeling_own.py"])
    (model / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": f"{code}--modeling_own.Own"}}))
    first = fingerprint(model, "model")
    (code / "modeling_own.py").write_text("changed")
    assert fingerprint(model, "model") != first


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "adapter_config.json"])
def test_a_data_set_with_a_config_json_is_no_model(data, name):
    folder_of(data, [name])
    first = fingerprint(data)
    (data / "default" / "train.jsonl").write_text('{"text": "b"}\n')
    assert fingerprint(data) != first


def test_data_below_a_link_is_looked_at_and_a_link_in_a_circle_is_not_followed(data, tmp_path):
    (data / "default").rename(tmp_path / "elsewhere")
    (data / "default").symlink_to(tmp_path / "elsewhere")
    (data / "circle").symlink_to(data)
    first = fingerprint(data)
    (tmp_path / "elsewhere" / "train.jsonl").write_text('{"text": "b"}\n')
    second = fingerprint(data)
    (tmp_path / "link").symlink_to(data)
    assert first != second == fingerprint(tmp_path / "link")


def test_the_folder_of_all_stages_is_no_part_of_the_data_around_it(data):
    memory = data / "runs" / ".digests.json"
    first = locate(str(data), "dataset", "x", memory=memory)
    folder_of(data / "runs", ["pack-1/blocks.bin"])
    assert locate(str(data), "dataset", "x", memory=memory) == first
    check_unchanged(first, memory)
    # Where they are one folder, all of it counts.
    own = locate(str(data), "dataset", "x", memory=data / ".digests.json")
    folder_of(data, ["pack-2/blocks.bin"])
    assert locate(str(data), "dataset", "x", memory=data / ".digests.json") != own
    check_unchanged(own, data / ".digests.json")


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero", "fifo"])
def test_what_is_neither_file_nor_folder_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with pytest.raises(SourceError, match=rf"`x` {name}: expected a file or folder, got neither"):
        fingerprint(name)


def test_a_pipe_in_a_model_folder_is_refused_before_anything_opens_it(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(SourceError, match=r"config\.json: expected a file, got a pipe or a device"):
        fingerprint(tmp_path, "model")


def test_what_was_changed_since_it_was_found_is_told(data, tmp_path):
    memory = tmp_path / "memory.json"
    found = locate(str(data), "dataset", "x", memory=memory)
    check_unchanged(found, memory)
    file = data / "default" / "train.jsonl"
    (data / "default" / "more.jsonl").write_text("")
    with pytest.raises(DataError, match=f"{data} was changed"):
        check_unchanged(found, memory)
    (data / "default" / "more.jsonl").unlink()
    # The same size, and the time that it had.
    before = file.stat()
    file.write_text(file.read_text().replace("a", "b"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match=f"{data} was changed"):
        check_unchanged(found, memory)


def test_any_file_of_a_data_set_changes_its_fingerprint(data):
    seen = {fingerprint(data)}
    (data / "default" / "train.jsonl").write_text('{"text": "b"}\n')
    seen.add(fingerprint(data))
    (data / "README.md").write_text("---\nconfigs: []\n---\n")
    seen.add(fingerprint(data))
    (data / "default" / "test.jsonl").write_text("")
    seen.add(fingerprint(data))
    assert len(seen) == 4


def test_hidden_files_do_not_change_a_data_sets_fingerprint(data):
    first = fingerprint(data)
    (data / ".cache").mkdir()
    (data / ".cache" / "file").write_text("cache")
    (data / ".DS_Store").write_text("")
    assert fingerprint(data) == first


def test_one_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("one")
    first = fingerprint(path)
    path.write_text("two")
    assert fingerprint(path) != first


def test_the_memory_is_used_and_agrees(tmp_path, data):
    memory = tmp_path / "memory.json"
    found = [locate(str(data), "dataset", "x", memory=memory).fingerprint for _ in range(2)]
    assert found == [fingerprint(data)] * 2
    assert memory.is_file()


def test_a_stages_folder_and_files_in_it_are_known_by_its_digest(tmp_path, model):
    StageRecord(
        kind="pretrain",
        name="x",
        digest="0123",
        settings={},
        inputs={},
        outcome={},
        seconds=0.0,
        versions={},
        command="",
    ).write(model)
    assert fingerprint(model, "model") == "stage:0123:."
    inside = model / "task"
    inside.mkdir()
    (inside / "train.jsonl").write_text("{}")
    assert fingerprint(inside / "train.jsonl") == "stage:0123:task/train.jsonl"
    assert fingerprint(model.with_name("model") / "config.json") == "stage:0123:config.json"


@pytest.mark.parametrize("name", ["no/such/folder", "two words", "a" * 300, "~no-such-user/x", "-a", "a..b"])
def test_what_is_neither_path_nor_hub_id_is_refused_with_the_setting(name):
    with pytest.raises(SourceError) as refusal:
        locate(name, "model", "start.weights")
    message = str(refusal.value)
    assert message.startswith(f"`start.weights` {name}")
    assert "no such file or folder" in message
    assert "not a Hub id (NAME or NAMESPACE/NAME)" in message
    assert "check the path" in message


def run(code, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=kept | environment, check=True
    ).stdout


LOCATE = """
from wellread_hf.errors import SourceError
from wellread_hf.store.places import locate
try:
    found = locate("google/bert_uncased_L-2_H-128_A-2@abc", "model", "start")
    print(found.name, found.revision, found.fingerprint)
except SourceError as error:
    print(error)
"""


def test_without_a_network_the_message_names_the_setting_that_takes_a_folder():
    # Nothing listens on port 9 (discard) of this machine: the same refusal with and without a network.
    shown = run(LOCATE, HF_ENDPOINT="http://127.0.0.1:9", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    assert shown.startswith("`start` google/bert_uncased_L-2_H-128_A-2: there is no such file or folder here")
    assert "the Hub cannot be reached" in shown
    assert "give `start` a local file or folder, or set HF_HUB_OFFLINE=1 if it is cached" in shown


def test_offline_a_hub_id_is_taken_from_the_cache_at_the_revision_asked_for():
    name = "google/bert_uncased_L-2_H-128_A-2"
    assert run(LOCATE, HF_HUB_OFFLINE="1").split() == [name, "abc", f"hub:{name}@abc"]


def test_offline_a_path_that_is_not_there_is_refused_too():
    program = LOCATE.replace("google/bert_uncased_L-2_H-128_A-2@abc", "/no/such/folder")
    shown = run(program, HF_HUB_OFFLINE="1")
    assert shown.startswith("`start` /no/such/folder: there is no such file or folder")
    assert "it is not a Hub id" in shown


def test_offline_the_cached_commit_is_pinned(tmp_path):
    commit = "c0ffee" + 34 * "0"
    cached = tmp_path / "hub/models--google--bert_uncased_L-2_H-128_A-2"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/abc").write_text(commit)
    (cached / "snapshots" / commit).mkdir(parents=True)
    (cached / "snapshots" / commit / "config.json").write_text("{}")
    name = "google/bert_uncased_L-2_H-128_A-2"
    shown = run(LOCATE, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert shown.split() == [name, commit, f"hub:{name}@{commit}"]
