"""A Space for the Hub: the report's page, what its browser code runs, and nothing else."""

from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import push, save_export, states
from small_stages import Root

from wellread_hf.errors import PublishError
from wellread_hf.hub.space import space_upload


@pytest.fixture
def student(tmp_path: Path) -> Path:
    root = Root(tmp_path / "runs")
    record = root.tuned(root.adopt(), 0.82)
    root.evaluated(record, [[-0.5, 0.5], [1.0, 0.0]])
    return root.folder(record)


def test_a_space_holds_the_page_and_what_it_runs_alone(student: Path, hub: HubServer, api: HfApi) -> None:
    pytest.importorskip("onnx")
    export = save_export(student, kind="classification")
    (export / "secret.txt").write_text("not of an export")
    report = push(api, space_upload([student]))
    assert (report.status, states(report)) == (0, ["created"]), report
    repository = hub.repository("alice/sst2-students", "space")
    folder = f"models/{student.name.split('-', 1)[1].rsplit('-', 1)[0]}"
    assert {path for path in repository.files() if path not in (".gitattributes", "style.css")} == {
        *("README.md", "index.html"),
        *(f"{folder}/{name}" for name in ("config.json", "tokenizer.json", "tokenizer_config.json")),
        f"{folder}/onnx/model_quantized.onnx",
    }
    assert f"./{folder}" in repository.read("index.html").decode()
    assert b"sdk: static" in repository.read("README.md")


def test_a_space_is_of_exported_classifiers(student: Path) -> None:
    with pytest.raises(PublishError, match=r"`space`: .* is no exported classifier"):
        space_upload([student])
