"""Graphs answer as the models do that they were made of, in one file that names nothing of this machine."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tiny import tiny_classifier

from wellread_hf.errors import ExportError
from wellread_hf.models.load import new_classifier
from wellread_hf.models.onnx_graph import write_graph, write_int8, write_traced
from wellread_hf.serving.onnx_model import session_of
from wellread_hf.students import STUDENTS, Student

# Two sizes that differ in both from the rows of the example that the exporter follows.
SHAPES = ((1, 3), (5, 12), (2, 302))
# The smallest and the widest of the 24; each layer more takes the exporter a second, so the rest are `long`.
CORNERS = {(2, 128), (2, 768)}
ALL = [
    pytest.param(
        student,
        id=student.name,
        marks=() if (student.layers, student.hidden) in CORNERS else pytest.mark.long,
    )
    for student in STUDENTS
]


def inputs_of(shape: tuple[int, int], words: int, segments: bool = True) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    rows, length = shape
    mask = np.arange(length) < draw.integers(length // 2, length + 1, rows)[:, None]
    found = {"input_ids": draw.integers(5, words, shape), "attention_mask": mask.astype(np.int64)}
    return found | ({"token_type_ids": draw.integers(0, 2, shape)} if segments else {})


def differences(model: Any, path: Path, words: int, segments: bool = True, divisor: float = 1) -> list[float]:
    session, found = session_of(path, threads=1), []
    for shape in SHAPES:
        inputs = inputs_of(shape, words, segments)
        with torch.inference_mode():
            expected = model(**{name: torch.from_numpy(values) for name, values in inputs.items()})[0]
        (ours,) = session.run(None, inputs)
        found.append(float(abs(ours - expected.numpy() / divisor).max()))
    return found


@pytest.mark.parametrize("student", ALL)
def test_each_of_the_24_answers_as_in_torch_at_any_batch_and_length(student: Student, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = new_classifier(student, 60, ("bad", "good"), seed=0)
    write_graph(model, path, segments=True)
    assert max(differences(model, path, 60)) < 1e-5
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"], "one file"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("graph")
    # The exporter is slow, and no layer differs from another.
    model = tiny_classifier(num_hidden_layers=1, max_position_embeddings=302, num_labels=3)
    write_graph(model, folder / "model.onnx", segments=True, temperature=1.7)
    write_int8(folder / "model.onnx", folder / "int8.onnx")
    return model, folder


def test_logits_are_divided_by_the_temperature_in_the_graph(exported: tuple[Any, Path]) -> None:
    model, folder = exported
    assert max(differences(model, folder / "model.onnx", 60, divisor=1.7)) < 1e-5


def test_a_graph_masks_by_the_padding_alone_and_the_model_keeps_its_attention(
    exported: tuple[Any, Path],
) -> None:
    model, folder = exported
    nodes = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
    # By these transformers builds a mask of indices.
    assert not nodes & {"GatherND", "Range", "Expand"}
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("file", ["model.onnx", "int8.onnx"])
def test_inputs_outputs_and_dimensions_have_the_names_that_clients_know(
    file: str, exported: tuple[Any, Path]
) -> None:
    session = session_of(exported[1] / file, threads=1)
    free = ["batch_size", "sequence_length"]
    assert {each.name: (each.type, each.shape) for each in session.get_inputs()} == {
        name: ("tensor(int64)", free) for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    (output,) = session.get_outputs()
    assert (output.name, output.type, output.shape) == ("logits", "tensor(float)", ["batch_size", 3])


@pytest.mark.parametrize("file", ["model.onnx", "int8.onnx"])
def test_a_file_names_no_place_of_this_machine(file: str, exported: tuple[Any, Path]) -> None:
    content = (exported[1] / file).read_bytes()
    for trace in (b"site-packages", b".py", b"stack_trace", str(Path.home()).encode() + b"/"):
        assert trace not in content
    assert b"s18" not in content


def test_int8_holds_every_matrix_and_the_word_embeddings_in_bytes(exported: tuple[Any, Path]) -> None:
    initializers = onnx.load(exported[1] / "int8.onnx").graph.initializer
    large = [each for each in initializers if np.prod(each.dims) >= 60 * 32]
    integers = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert len(large) == 4, "words, positions, two matrices of the layer; its others are smaller"
    assert {each.data_type for each in large} <= integers
    # Seven bits: eight would overflow where a processor has no VNNI.
    (matrix, *_) = (each for each in large if each.data_type == onnx.TensorProto.INT8)
    assert abs(onnx.numpy_helper.to_array(matrix).astype(int)).max() == 64


def test_an_operator_that_onnx_has_not_is_named_and_no_file_is_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tiny_classifier(num_hidden_layers=1)
    model.classifier = torch.nn.Sequential(model.classifier, _Bessel())
    with pytest.raises(ExportError, match=r"ONNX has no operator for prims\.bessel_j0"):
        write_graph(model, tmp_path / "model.onnx", segments=True)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


class _Bessel(torch.nn.Module):
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(states)


def test_a_traced_graph_has_the_products_of_the_exported_one_and_its_answers(tmp_path) -> None:
    model = new_classifier(Student(2, 128), 90, ("0", "1"), seed=0).train(False)
    paths = [tmp_path / "traced.onnx", tmp_path / "exported.onnx"]
    write_traced(model, paths[0])
    write_graph(model, paths[1], segments=True)
    assert max(differences(model, paths[0], 90)) < 1e-5
    # What takes the time of a budget's student is what will take it of the exported one.
    costly = [
        sorted(
            node.op_type
            for node in onnx.load(path).graph.node
            if node.op_type in {"MatMul", "Gemm", "Softmax"}
        )
        for path in paths
    ]
    assert costly[0] == costly[1]
    assert model.config._attn_implementation == "sdpa"
