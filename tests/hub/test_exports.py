"""`onnx/` goes with the weights that it was exported from, in the same commit, and with nothing else."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import Wellread, push, save_export

from wellread_hf.errors import HubError
from wellread_hf.hub.download import check_loads
from wellread_hf.hub.files import LocalFile
from wellread_hf.hub.uploads import uploads_of_runs

pytest.importorskip("onnx")
NAME = "alice/bert-2-128"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs" / finished.name))


def test_one_commit_has_weights_and_onnx_and_a_branch_has_int8_first(
    run: Path, wellread: Wellread, hub: HubServer
) -> None:
    onnx = save_export(run) / "onnx"
    words = ("publish", run, "--namespace", "alice", "--revision-int8")
    status, out, err = wellread(*words)
    assert status == 0, out + err
    repository = hub.repository(NAME)
    assert len(repository.commits) == 2
    assert {path for path in repository.files() if "onnx" in path} == {
        "onnx/model.onnx",
        "onnx/model_quantized.onnx",
        "onnx/export.json",
    }
    for file in onnx.iterdir():
        assert repository.read(f"onnx/{file.name}") == file.read_bytes()
    config = json.loads(repository.read("config.json"))
    assert config.pop("calibration") == {"temperature": 1.5}
    assert config == json.loads((run / "config.json").read_text())
    int8 = (onnx / "model_quantized.onnx").read_bytes()
    assert repository.read("onnx/model.onnx", "int8") == int8
    facts = json.loads(repository.read("onnx/export.json", "int8"))
    assert facts["files"]["model.onnx"]["bytes"] == len(int8)
    card, other = (repository.read("README.md", branch).decode() for branch in ("main", "int8"))
    assert "text-embeddings-inference" in other
    assert [line for line in other.splitlines() if line not in card.splitlines()] != other.splitlines()
    hub.clear_requests()
    assert wellread(*words)[0] == 0
    assert all(record.method in ("GET", "HEAD") for record in hub.requests())


@pytest.mark.long
def test_what_arrived_is_run_by_onnx_runtime(run: Path, hub: HubServer, api: HfApi) -> None:
    pytest.importorskip("onnxruntime")
    save_export(run)
    uploads = uploads_of_runs([run], "alice", None, eval_results=False, int8=True)
    assert push(api, *uploads, verify="load").status == 0
    # A file of the right hash that is no graph.
    broken = replace(
        uploads[0], files={**uploads[0].files, "onnx/model.onnx": LocalFile("onnx/model.onnx", b"x")}
    )
    with pytest.raises(HubError, match="does not load"):
        check_loads(api, NAME, broken, hub.repository(NAME).head)


def test_an_export_as_argument_is_its_model_with_it(run: Path, wellread: Wellread, hub: HubServer) -> None:
    save_export(run)
    chosen = save_export(run, int8=False, digest="f")
    assert wellread("publish", chosen, "--namespace", "alice")[0] == 0
    files = hub.repository(NAME).files()
    assert {"model.safetensors", "onnx/model.onnx"} <= files.keys()
    assert "onnx/model_quantized.onnx" not in files
    shutil.rmtree(run)
    status, _, err = wellread("publish", chosen, "--namespace", "alice")
    assert (status, "publish that run" in err) == (2, True)


def _add(name: str) -> Callable[[Path], object]:
    return lambda export: (export / "onnx" / name).write_bytes(b"x")


def _link(export: Path) -> None:
    (export / "onnx" / "model.onnx").rename(export / "model.onnx")
    (export / "onnx" / "model.onnx").symlink_to(export / "model.onnx")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "data beside it": (_add("model.onnx.data"), "model.onnx.data is not among the files of an export"),
    "link": (_link, "no links"),
    "changed": (_add("model.onnx"), "was changed since its stage wrote it"),
    "no facts": (lambda export: (export / "onnx" / "export.json").unlink(), "is missing"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_export_that_must_not_be_pushed(wrong: str, run: Path, wellread: Wellread, hub: HubServer) -> None:
    spoil, sentence = WRONG[wrong]
    spoil(save_export(run))
    status, _, err = wellread("publish", run, "--namespace", "alice")
    assert (status, sentence in err) == (2, True), err
    assert not hub.requests()


def test_an_export_of_other_weights_is_refused(run: Path, wellread: Wellread, hub: HubServer) -> None:
    save_export(run, weights_sha256="0" * 64)
    status, _, err = wellread("publish", run, "--namespace", "alice")
    assert (status, "was exported from other weights (000000000000)" in err) == (2, True), err
    assert not hub.requests()


@pytest.mark.parametrize("refused", [True, False])
def test_no_int8_branch_without_int8(refused: bool, run: Path, wellread: Wellread, hub: HubServer) -> None:
    if refused:
        save_export(run, int8=False)
    status, _, err = wellread("publish", run, "--namespace", "alice", "--revision-int8")
    assert status == 2
    assert ("falls by 2.1 points" if refused else "it has no export") in err
    assert not hub.requests()
