"""Measurements of finished models and of students with random weights, as records have them."""

import json
from functools import partial
from pathlib import Path

import pytest

from wellread_hf.errors import ExportError, StoreError
from wellread_hf.serving.onnx_model import OnnxModel
from wellread_hf.settings import Budget, Measure, Running
from wellread_hf.stages import budget, budgeting, measure, timed
from wellread_hf.store.graph import carry_out
from wellread_hf.store.records import StageRecord
from wellread_hf.students import Student

GRAPHS = ("onnx-fp32", "onnx-int8")
QUICKLY = Measure(
    lengths=(16, 1_024), batch=4, threads=(1,), formats=GRAPHS, seconds=0.05, starts=1, vocabulary=90
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> StageRecord:
    stage = measure(["2-128"], None, QUICKLY, Running(runs=tmp_path_factory.mktemp("runs")))
    carry_out([stage])
    assert json.loads((stage.folder / "measurements.json").read_text()) == stage.record.outcome
    return stage.record


def test_a_student_by_name_is_measured_in_each_format_with_random_weights(measured) -> None:
    assert measured.name == "bert-2-128"
    assert [each["format"] for each in measured.outcome["candidates"]] == list(GRAPHS)
    for each in measured.outcome["candidates"]:
        # One text at a time, then four; not at 1,024 tokens, which no student takes.
        assert [(point["batch"], point["length"]) for point in each["latency"]] == [(1, 16), (4, 16)]
        assert each["start_s"] > 0
        # Less than this process, which has loaded torch.
        assert 10 < each["peak_mb"] < 250
    fp32, int8 = measured.outcome["candidates"]
    assert int8["bytes"] < 0.5 * fp32["bytes"]


def test_ratios_are_to_the_reference_and_every_absolute_figure_needs_a_steady_one(measured) -> None:
    assert measured.outcome["reference"] == "bert-2-128, onnx-fp32"
    fp32, int8 = measured.outcome["candidates"]
    for point, other in zip(fp32["latency"], int8["latency"], strict=True):
        assert point["ratio"] == 1
        low, high = other["interval"]
        assert 0 < low <= other["ratio"] <= high
        assert (point["p50_ms"] is None) == (other["p50_ms"] is None)
        if point["p50_ms"] is not None:
            assert other["per_second"] == pytest.approx(1e3 * other["batch"] / other["p50_ms"])
    known = all(point["p50_ms"] is not None for point in fp32["latency"])
    assert measured.outcome["steady"] is known


@pytest.mark.parametrize("length", [8, 64, 500])
def test_a_text_of_so_many_tokens_has_exactly_these(tmp_path, length) -> None:
    (candidate,) = budgeting.random_student(Student(2, 128), 90, ["onnx-fp32"], tmp_path)
    from wellread_hf.stages.measuring import _texts

    model = OnnxModel(tmp_path, "fp32", 1)
    for text in (*_texts([])(candidate, length), budgeting._text(90, length)):
        assert len(model.encode([text])[0]) == length


def test_a_killed_budget_goes_on_after_the_students_that_it_has_measured(tmp_path, monkeypatch) -> None:
    settings = Budget(students=("2-128", "4-128"), vocabulary=90, formats=("onnx-fp32",), seconds=0.05)
    stage, seen = budget(settings, Running(runs=tmp_path)), []
    made = budgeting.random_student

    def killed_at(name, student, *given):
        seen.append(student.name)
        if student.name == name:
            raise KeyboardInterrupt
        return made(student, *given)

    monkeypatch.setattr(budgeting, "random_student", partial(killed_at, "bert-4-128"))
    with pytest.raises(KeyboardInterrupt):
        carry_out([stage])
    assert stage.state == "half done"
    monkeypatch.setattr(budgeting, "random_student", partial(killed_at, None))
    carry_out([stage])
    assert seen == ["bert-2-128", "bert-4-128", "bert-4-128"]
    assert [each["model"] for each in stage.record.outcome["candidates"]] == ["bert-2-128", "bert-4-128"]
    assert not (stage.folder / "checkpoints").exists()


def test_what_does_not_answer_in_a_fresh_process_is_refused_with_the_reason(tmp_path) -> None:
    with pytest.raises(ExportError, match=r"does not answer in a fresh process: .*config.json"):
        timed.fresh_start(Path(tmp_path), "onnx-fp32", "a text")


def test_without_the_milliseconds_needed_nothing_counts_as_measured(tmp_path) -> None:
    # 64 tokens are not among the lengths, so these are as unknown as on a busy machine.
    stage = measure(["2-128"], None, QUICKLY, Running(runs=tmp_path), needed=(64, 1))
    with pytest.raises(StoreError, match=r"too busy to measure milliseconds; end what else runs"):
        carry_out([stage])
    assert stage.state != "done"
    assert not (stage.folder / "checkpoints").exists()
