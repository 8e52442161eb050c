"""The benchmarks' harness: pairs, figures, their file and picture; masked LM, cohort and GPU run."""

import json
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest

import benchmarks
from benchmarks import __main__ as bench
from benchmarks import cohort, gpu, mlm, report, serve, sst2_chart, vocabulary_head
from benchmarks.figures import Figure, compared
from benchmarks.pairs import Peak, in_own_process, in_turn


def _figure(**changes):
    fields = {
        "benchmark": "mlm",
        "case": "2-128",
        "ours": "our Trainer",
        "theirs": "stock Trainer",
        "unit": "tokens/s",
        "ours_values": (10.0, 12.0, 30.0),
        "theirs_values": (5.0, 4.0, 6.0),
        "ratios": (2.0, 3.0, 5.0),
        "target": 2.5,
        "better": "higher",
        "same": "loss on one batch differs by 1e-07",
    }
    return Figure(**(fields | changes))


def test_two_sides_are_measured_in_turn_after_a_warm_up_of_each():
    calls = []

    def side(name):
        def measured():
            calls.append(name)
            return float(len(calls))

        return measured

    assert in_turn(side("ours"), side("theirs"), 2) == ((3.0, 5.0), (4.0, 6.0))
    assert calls == ["ours", "theirs"] * 3


def test_a_ratio_says_how_many_times_better_ours_is_pair_by_pair():
    assert compared((10.0, 12.0), (5.0, 4.0), "higher") == (2.0, 3.0)
    assert compared((5.0, 4.0), (10.0, 12.0), "lower") == (2.0, 3.0)


def test_a_figure_is_its_median_and_reached_at_its_target():
    figure = _figure()
    assert (figure.median, figure.minimum, figure.maximum, figure.reached) == (3.0, 2.0, 5.0, True)
    assert _figure(target=3.1).reached is False
    assert _figure(target=None).reached is None
    assert Figure.from_json(json.loads(json.dumps(figure.to_json()))) == figure


def test_one_benchmark_keeps_the_figures_of_the_others(tmp_path):
    report.merge(tmp_path, "mlm", [_figure()], {"rounds": 3})
    report.merge(tmp_path, "bare", [_figure(benchmark="bare")], {"rounds": 1})
    report.merge(tmp_path, "mlm", [_figure(case="4-256")], {"rounds": 5})
    found = json.loads((tmp_path / report.RESULTS).read_text())
    assert [(name, part["rounds"]) for name, part in found.items()] == [("bare", 1), ("mlm", 5)]
    assert report.kept_figures(tmp_path) == [_figure(benchmark="bare"), _figure(case="4-256")]


def test_the_table_marks_what_reached_its_target(capsys):
    report.print_table([_figure(), _figure(target=4.0), _figure(target=None, note="beside it")])
    lines = [line for line in capsys.readouterr().out.splitlines() if "2-128" in line]
    assert ["✓" in line for line in lines] == [True, False, False, False]
    assert ["✗" in line for line in lines] == [False, True, False, False]
    assert "3 (2 to 5)" in lines[0]
    assert lines[-1] == "- mlm, 2-128: beside it"


def test_a_peak_is_what_was_needed_meanwhile_and_not_what_is_left():
    assert 190 < in_own_process(_needs_200_megabytes) < 260


def _needs_200_megabytes():
    peak = Peak()
    np.ones(25_000_000).sum()
    return peak.megabytes


# Of the benchmarks in processes of their own this is the longest; `mlm-memory` and `bare` share its parts.
@pytest.mark.slow
@pytest.mark.parametrize(
    "benchmark",
    [
        pytest.param(mlm, marks=pytest.mark.long),
        vocabulary_head,
        pytest.param(cohort, marks=pytest.mark.long),
        pytest.param(serve, marks=pytest.mark.long),
    ],
)
def test_a_quick_run_checks_both_sides_and_gives_figures(benchmark):
    figures = benchmark.run(rounds=1, quick=True)
    assert figures
    for figure in figures:
        assert len(figure.ratios) == len(figure.ours_values) == len(figure.theirs_values) == 1
        assert figure.minimum > 0
        assert figure.same


@pytest.mark.slow
def test_the_command_writes_figures_and_a_picture(tmp_path, capsys):
    bench.main(["--only", "startup", "--rounds", "1", "--quick", "--out", str(tmp_path)])
    assert "wellread students" in capsys.readouterr().out
    found = json.loads((tmp_path / report.RESULTS).read_text())["startup"]
    assert found["rounds"] == 1
    assert str(tmp_path) not in found["command"]
    assert (tmp_path / report.PICTURE).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_gpu_benchmark_takes_the_same_ways_without_a_gpu(tmp_path, capsys):
    arguments = [
        "--students",
        "2-128",
        "--compiled",
        "--blocks",
        "2",
        "--seconds",
        "0.01",
        "--device",
        "cpu",
        "--out",
    ]
    gpu.main([*arguments, str(tmp_path)])
    found = json.loads((tmp_path / gpu.RESULTS).read_text())
    assert found["device"] == "CPU"
    assert [(row["student"], row["way"]) for row in found["rows"]] == [
        ("bert-2-128", "stock"),
        ("bert-2-128", "ours"),
    ]
    for row in found["rows"]:
        assert row["losses differ by"] < 1e-4
        assert len(row["tokens/s"]) == 3
        assert row["utilisation"] > 0
    assert "tokens/s" in capsys.readouterr().out


def test_the_readmes_picture_is_drawn_from_the_stored_study(tmp_path):
    means = {arm: [round(mark.mean, 1) for mark in marks] for arm, marks in sst2_chart.marks().items()}
    assert means == {
        "Basic": [74.0, 73.5],
        "Distillation": [78.8, 79.4],
        "PF": [76.9, 77.3],
        "PD": [81.4, 82.2],
    }
    sst2_chart.main(tmp_path / "sst2.png")
    assert (tmp_path / "sst2.png").read_bytes().startswith(b"\x89PNG")


# The other side of a pair, which needs a package that is nobody's requirement.
@pytest.mark.parametrize(
    "name", sorted({m.name for m in iter_modules(benchmarks.__path__)} - {"textbrewer_side"})
)
def test_every_module_of_the_benchmarks_can_be_loaded(name):
    import_module(f"benchmarks.{name}")


def test_every_benchmark_of_the_list_is_there():
    for module in bench.BENCHMARKS.values():
        assert Path(module.replace(".", "/") + ".py").is_file()


def test_the_first_of_near_duplicates_stays():
    from benchmarks.selection import first_of_near

    text = "a gripping , clever film that does not let you go until it is over and done with"
    texts = [(text,), ("another text",), (text.upper(),), (f"{text} .",), ("another text of other words",)]
    assert first_of_near(texts, 0.7).tolist() == [True, True, False, False, True]
