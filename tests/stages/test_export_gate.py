"""What is refused: figures on the wrong side of a bound, each for its own reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

from wellread_hf import stages
from wellread_hf.errors import ExportError
from wellread_hf.models.encode import PadCollator
from wellread_hf.models.onnx_graph import write_graph, write_int8
from wellread_hf.settings import Export, Running, Task
from wellread_hf.stages.export_gate import check_parity, figures_of, refusal
from wellread_hf.stages.export_subjects import Subject, classifier
from wellread_hf.store.graph import carry_out
from wellread_hf.store.places import locate

GOOD: dict[str, Any] = {
    "score_drop": 0.001,
    "interval": (-0.004, 0.006),
    "agreement": 0.985,
    "speed_over_fp32": {"value": 1.8, "low": 1.7, "high": 1.9},
}
SLOW = {"speed_over_fp32": {"value": 0.8, "low": 0.7, "high": 0.9}}


def test_what_holds_is_kept() -> None:
    assert refusal(GOOD, Export(), fast_int8=True) is None
    assert refusal(GOOD | {"score_drop": -0.02}, Export(), fast_int8=True) is None, "better is no fault"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"score_drop": 0.0051},
            "0.51 points below fp32's (-0.40 to 0.60), and `tolerance` allows 0.5",
        ),
        ({"agreement": float("nan")}, "agrees with fp32 on nan % of the rows"),
        (
            {"agreement": 0.9799},
            "agrees with fp32 on 97.99 % of the rows, and `agreement` asks for 98 %",
        ),
        (SLOW, "slower here, 0.80 times fp32's speed (0.70 to 0.90)"),
    ],
)
def test_what_does_not_hold_is_refused_with_the_figure_and_the_bound(
    change: dict[str, Any], why: str
) -> None:
    assert why in str(refusal(GOOD | change, Export(), fast_int8=True))


def test_settings_move_the_bounds() -> None:
    loses = GOOD | {"score_drop": 0.009, "agreement": 0.96}
    assert refusal(loses, Export(tolerance=1, agreement=0.95), fast_int8=True) is None


def test_speed_counts_only_where_int8_can_be_fast_and_beyond_the_noise() -> None:
    assert refusal(GOOD | SLOW, Export(), fast_int8=False) is None
    perhaps = {"speed_over_fp32": {"value": 0.98, "low": 0.93, "high": 1.04}}
    assert refusal(GOOD | perhaps, Export(), fast_int8=True) is None


@pytest.mark.parametrize("difference", [1.1e-4, float("nan"), float("inf")])
def test_a_graph_with_other_logits_is_no_export(difference: float) -> None:
    check_parity(9e-5)
    with pytest.raises(ExportError, match=r"to within 0\.0001, got a difference of"):
        check_parity(difference)


@pytest.fixture(scope="module")
def teacher(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, Path]:
    """The real teacher on SST-2's validation rows, and its graph in fp32."""
    running = Running(runs=tmp_path_factory.mktemp("teacher") / "runs")
    at, task = (
        locate(str(shared / "models/minilm-l6-sst2"), "model", "model"),
        Task(data=str(shared / "data/glue")),
    )
    evaluated = stages.evaluate(at, task, None, running)
    carry_out([evaluated])
    subject = classifier(at, evaluated, None, running.runs)
    graph = running.runs / "model.onnx"
    write_graph(subject.model, graph, segments=True, temperature=subject.temperature)
    return subject, graph


def _dynamic(source: Path, path: Path, subject: Subject) -> None:
    quantize_dynamic(source, path)


def _static(source: Path, path: Path, subject: Subject) -> None:
    class Rows(CalibrationDataReader):
        """Every eighth row, one a batch."""

        rows = iter(range(0, len(subject.encoded), 8))

        def get_next(self) -> Any:
            row = next(self.rows, None)
            if row is None:
                return None
            collate = PadCollator(subject.encoded.pad_id)
            return {name: each.numpy() for name, each in collate([subject.encoded.row(row)]).items()}

    quantize_static(source, path, Rows())


@pytest.mark.long
@pytest.mark.parametrize(
    ("quantise", "kept"),
    [
        pytest.param(_dynamic, False, id="dynamic by default"),
        pytest.param(_static, False, id="static by default"),
        pytest.param(lambda source, path, _: write_int8(source, path), True, id="portable"),
    ],
)
def test_of_a_real_model_the_gate_keeps_the_portable_int8_and_neither_of_the_defaults(
    quantise: Callable[..., None], kept: bool, teacher: tuple[Subject, Path], tmp_path: Path
) -> None:
    subject, graph = teacher
    quantise(graph, tmp_path / "int8.onnx", subject)
    files = figures_of(subject, graph, tmp_path / "int8.onnx")
    figures = files["int8.onnx"]
    print(figures, files["model.onnx"]["scores"])
    # Whatever the machine, the answers decide: speed is another reason.
    why = refusal(figures, Export(), fast_int8=False)
    assert (why is None) is kept, why
