"""The lines of a card that need no torch: ONNX Runtime with `tokenizers`, transformers.js, the server."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from goldens import shipped

from wellread_hf.hub.cards import render
from wellread_hf.models.load import new_classifier
from wellread_hf.students import Student

CLIENTS = Path(__file__).parents[2] / "clients"
TEXT = "a gripping, clever film"
# A user's machine has neither torch nor this package.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "datasets", "wellread_hf"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    card = render(shipped(tmp_path_factory.mktemp("shipped")), picture=False).markdown
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", card, re.S):
        found.setdefault(language, []).append(block)
    return found


@pytest.fixture(scope="module")
def exported(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, float]:
    """A folder in the Hub's layout with graphs of a random student; its label of `TEXT`, and how sure."""
    pytest.importorskip("onnx_ir")
    import onnx_ir
    import torch
    from transformers import AutoTokenizer
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    folder = tmp_path_factory.mktemp("exported") / "bert-2-128-sst2"
    tokenizer = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    model = new_classifier(Student(2, 128), len(tokenizer), ("negative", "positive"), 0).eval()
    # Far from even, so that a wrong class would show.
    model.classifier.bias.data = torch.tensor([0.0, 1.0])
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "onnx").mkdir()
    two = dict(tokenizer([TEXT, "two hours of my life gone"], padding=True, return_tensors="pt"))
    graph = OnnxExporter().export(model, two, OnnxConfig(dynamic=True)).program
    for name in ("model.onnx", "model_quantized.onnx"):
        onnx_ir.save(graph, folder / "onnx" / name)
    with torch.no_grad():
        shares = model(**tokenizer(TEXT, return_tensors="pt")).logits.softmax(-1)[0]
    return folder, model.config.id2label[int(shares.argmax())], float(shares.max())


def test_onnx_runtime_without_torch_and_without_this_package(
    blocks: dict[str, list[str]], exported: tuple[Path, str, float], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    folder, label, share = exported
    (block,) = (block for block in blocks["python"] if "InferenceSession" in block)
    fetched = re.search(r"snapshot_download\(.*?\)\)", block)
    assert fetched is not None
    program = WITHOUT + block.replace(fetched[0], f"{str(folder)!r})")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    said, sure = done.stdout.split()
    assert (said, float(sure)) == (label, pytest.approx(share, abs=2e-3))


def test_transformers_js_under_node(blocks: dict[str, list[str]], exported: tuple[Path, str, float]) -> None:
    node = shutil.which("node")
    if node is None or not (CLIENTS / "node_modules").is_dir():
        pytest.skip("expected Node and what `make clients` installs")
    folder, label, share = exported
    (block,) = blocks["js"]
    here = f'env.allowRemoteModels = false;\nenv.localModelPath = "{folder.parent}";\n'
    program = block.replace("{ pipeline }", "{ env, pipeline }").replace("\n\n", f"\n{here}", 1)
    program = program.replace("readers/", "").replace("console.log(", "console.log(JSON.stringify(")
    program = program.replace("));", ")));")
    done = subprocess.run(
        [node, "--input-type=module", "-e", program],
        cwd=CLIENTS, capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert answer["label"] == label
    assert answer["score"] == pytest.approx(share, abs=2e-3)
