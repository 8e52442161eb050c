"""Clients that nobody here wrote: transformers.js under Node, and pages of ours in Chromium."""

import html
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from recipe_runs import run_here
from scipy.special import softmax

from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.results.html_report import write_report
from wellread_hf.results.space import LIBRARY, space_files
from wellread_hf.store.stage import Stage

HERE = Path(__file__).parent
Run = Callable[..., Any]


def _evaluated(export: Stage) -> EvaluatedRows:
    """The evaluation that an export was held to."""
    (judged,) = (stage for stage in export.after if stage.kind == "evaluate")
    return EvaluatedRows.read(judged.folder)


def test_transformers_js_gives_torchs_logits(node: Run, exported: Stage) -> None:
    rows, outcome = _evaluated(exported), exported.record.outcome
    answers = node("labels.mjs", exported.folder, "fp32", given=[text for (text,) in rows.texts])
    # Where it cuts a text, transformers.js loses [SEP].
    whole = rows.tokens < outcome["max_length"]
    assert whole.sum() == len(whole) - 1
    np.testing.assert_allclose(
        np.array(answers)[whole], rows.logits[whole] / outcome["temperature"], atol=1e-4
    )


@pytest.mark.long
def test_transformers_js_gives_torchs_labels_on_all_of_sst2_dev(
    node: Run, shared: Path, tmp_path: Path
) -> None:
    from wellread_hf import stages
    from wellread_hf.settings import Running, Task
    from wellread_hf.settings.export import Export
    from wellread_hf.store.graph import carry_out

    sst2 = Task(name="sst2", data=str(shared / "data/glue"))
    export = stages.export(
        str(shared / "models/minilm-l6-sst2"), sst2, Export(), Running(runs=tmp_path / "runs")
    )
    carry_out([export])
    rows = _evaluated(export)
    texts = [text for (text,) in rows.texts]
    assert len(texts) == 872
    fp32 = np.array(node("labels.mjs", export.folder, "fp32", given=texts))
    assert (fp32.argmax(1) == rows.logits.argmax(1)).all()
    file = export.record.outcome["files"]["model_quantized.onnx"]
    int8 = np.array(node("labels.mjs", export.folder, "q8", given=texts))
    # Kernels round differently, so a handful of rows may.
    assert (int8.argmax(1) == rows.labels).mean() == pytest.approx(file["scores"]["accuracy"], abs=0.005)


@pytest.fixture(scope="module")
def page(exported: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report([exported.root], out)
    return out


@pytest.fixture(scope="module")
def seen(browse: Run, page: Path) -> Any:
    return browse("report.mjs", page)


def test_a_report_asks_no_address_and_reports_no_error(seen: Any, page: Path) -> None:
    assert seen["errors"] == []
    assert seen["requests"] == [page.as_uri()]


def test_a_report_is_small_and_names_no_address(page: Path) -> None:
    text = page.read_text()
    assert len(text.encode()) < 1_000_000
    assert "://" not in text
    assert "default-src 'none'" in html.unescape(text)


def test_texts_of_rows_stay_text(seen: Any, page: Path) -> None:
    assert seen["taken"] is None
    # Found by its words, and shown as it stands in the data.
    (shown,) = seen["words"]
    assert shown.startswith("</td></script><script>window.taken=1</script><img src=x onerror=")
    assert page.read_text().count("<script>") == 1


def test_a_table_sorts_by_the_keyboard(seen: Any) -> None:
    assert len(seen["falling"]) > 50
    assert seen["falling"] == sorted(seen["falling"], reverse=True)
    assert seen["rising"] == sorted(seen["falling"])
    assert seen["sorted"] == "ascending"


def test_rows_are_filtered_by_outcome(seen: Any) -> None:
    assert set(seen["outcomes"]) == set(seen["outcome"])


def test_a_page_is_accessible_in_light_and_dark(seen: Any) -> None:
    assert seen["first"] == "Skip to the content"
    assert (seen["wrong"], seen["wrongDark"]) == ([], [])
    assert seen["light"] != seen["dark"]


def test_a_narrow_screen_scrolls_down_alone(seen: Any) -> None:
    assert seen["narrow"] <= 360


def test_a_report_says_what_is_missing_and_the_command(exported: Stage, page: Path) -> None:
    text = page.read_text()
    assert "wellread measure MODEL" in text
    assert "wellread export MODEL" not in text
    for section in ("costs", "methods", "rows", "confusion", "calibration", "lengths", "losses"):
        assert f'<section id="{section}"' in text


def test_a_report_of_trainings_alone_is_a_page_too(exported: Stage, tmp_path: Path, capfd: Any) -> None:
    for folder in exported.root.glob("[!e.]*-*"):
        (tmp_path / "runs").mkdir(exist_ok=True)
        (tmp_path / "runs" / folder.name).symlink_to(folder)
    out = tmp_path / "page.html"
    ran = run_here(capfd, "wellread report", tmp_path / "runs", "-o", out)
    assert (ran.status, ran.out.strip()) == (0, str(out)), ran.err
    text = out.read_text()
    assert "Predictions of every student" in text
    assert '<section id="rows"' not in text
    assert '<section id="methods"' in text
    # The same runs give the same bytes.
    write_report([tmp_path / "runs"], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == text
    ran = run_here(capfd, "wellread report", tmp_path / "runs", "-o", tmp_path)
    assert ran.status == 2
    assert re.fullmatch(r"error: .* cannot be written: .*; give another file by --out\n", ran.err)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_students_answer_in_the_browser_as_torch_does(browse: Run, exported: Stage, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/student").symlink_to(exported.folder)
    files = space_files(
        [exported.root],
        {"2-128, PD": "./models/student", "not there": "./models/none"},
    )
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    rows = _evaluated(exported)
    # The hostile row, which is cut.
    (text,), logits = rows.texts[-1], rows.logits[-1] / exported.record.outcome["temperature"]
    with _served(tmp_path) as address:
        seen = browse("space.mjs", address, text)
    student, missing = seen["said"]
    assert student["labels"] == ["negative", "positive"]
    # By int8, so some thousandths beside torch.
    np.testing.assert_allclose(student["chances"], softmax(logits), atol=0.005)
    assert float(re.fullmatch(r"([\d.]+) ms", student["state"])[1]) < 1_000
    assert re.fullmatch(r"Not loaded: .*\. Reload the page to try again\.", missing["state"])
    elsewhere = [request for request in seen["requests"] if not request.startswith((address, "blob:"))]
    # Answered from npm's packages here.
    assert elsewhere[0] == LIBRARY
    assert all(
        request.startswith("https://cdn.jsdelivr.net/npm/onnxruntime-web@") for request in elsewhere[1:]
    )
    assert seen["narrow"] <= 360


def test_a_space_is_static_names_its_models_and_pins_its_library(exported: Stage) -> None:
    files = space_files([exported.root], {"mini": "me/mini", "here": "./models/x"})
    assert set(files) == {"README.md", "index.html"}
    head = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert (head["sdk"], head["models"]) == ("static", ["me/mini"])
    assert LIBRARY.encode() in files["index.html"]
    assert re.search(r"@\d+\.\d+\.\d+$", LIBRARY)
    pinned = yaml.safe_load((HERE / "package.json").read_text())["devDependencies"]
    assert LIBRARY.endswith("@" + pinned["@huggingface/transformers"])
