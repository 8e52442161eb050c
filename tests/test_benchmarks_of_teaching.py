"""The benchmarks of distilling, labelling, fine-tuning, packing, starting, growth run; both sides checked."""

import json

import numpy as np
import pytest

from benchmarks import distill, distill_overhead, finetune, growth, label, pack, prompted, startup, tagging
from benchmarks.sst2 import ROWS_OF_LENGTH, encoded, rows


@pytest.fixture(autouse=True)
def without_data_of_ones_own(monkeypatch):
    for name in ("SST2", "TOKENIZER", "TEXT", "TEXTBREWER"):
        monkeypatch.delenv(name, raising=False)


def test_the_rows_are_as_long_as_those_of_sst2():
    texts, labels = rows(4000)
    lengths = encoded(texts).lengths
    expected = np.average(np.arange(len(ROWS_OF_LENGTH)) + 3, weights=ROWS_OF_LENGTH)
    assert sum(ROWS_OF_LENGTH) == 67_349
    assert abs(lengths.mean() - expected) < 0.5
    assert lengths.min() >= 3
    assert lengths.max() <= 66
    assert len(labels) == len(texts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "benchmark",
    [
        distill,
        distill_overhead,
        pytest.param(finetune, marks=pytest.mark.long),
        label,
        prompted,
        tagging,
        pytest.param(pack, marks=pytest.mark.long),
    ],
)
def test_a_quick_run_checks_both_sides_and_gives_figures(benchmark):
    figures = benchmark.run(rounds=1, quick=True)
    assert figures
    for figure in figures:
        assert figure.benchmark == benchmark.NAME
        assert len(figure.ratios) == len(figure.ours_values) == len(figure.theirs_values) == 1
        assert figure.minimum > 0
        assert figure.same
        # Tiny cases on a busy machine say nothing about a target.
        assert figure.target is None


@pytest.mark.parametrize("words", startup.COMMANDS.values())
def test_the_command_starts_without_any_heavy_package(words):
    assert startup.heavy_modules(words) == []


def test_a_heavy_package_would_be_seen(monkeypatch):
    # `json` stands for one: it is loaded by every start.
    monkeypatch.setattr(startup, "HEAVY", ("torch", "json"))
    assert startup.heavy_modules(["students"]) == ["json"]


def test_starts_are_held_against_the_limit():
    figures = startup.run(rounds=1, quick=True)
    assert [figure.case for figure in figures] == ["wellread --help", "wellread students"]
    assert all(set(figure.theirs_values) == {startup.LIMIT} for figure in figures)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.7])
def test_the_exponent_is_the_power_that_made_the_values(power):
    sizes = np.array([1.0, 4.0, 16.0])
    assert abs(growth.exponent(sizes, 3 * sizes**power) - power) < 1e-9


@pytest.mark.slow
def test_growth_writes_its_figures_and_a_picture(tmp_path):
    one = [1.0, 0.9, 1.1]
    kept = {
        "axis": "students", "sizes": [1, 2], "seconds": [1.0, 2.0], "MB": [3.0, 3.0],
        "exponents of time": one, "exponents of memory": one,
    }  # fmt: skip
    # The corpus' curve is measured; the others take the same way, and stay as they were found.
    (tmp_path / "growth.json").write_text(json.dumps({"students": kept}))
    growth.main(["--only", "corpus", "--rounds", "1", "--quick", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "growth.json").read_text())
    assert list(found) == ["students", "corpus"]
    assert found["students"] == kept
    assert found["corpus"]["rounds"] == 1
    assert len(found["corpus"]["exponents of time"]) == 3
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
