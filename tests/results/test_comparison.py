"""The comparison of methods: numbers by hand, table, chart."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from wellread_hf.results.comparison import report, show_report
from wellread_hf.results.tables import CHART, RESULTS, TABLE
from wellread_hf.store.graph import carry_out
from wellread_hf.store.stage import Stage


def _run(
    root: Path, kind: str, name: str, outcome: Mapping[str, Any], after: Sequence[Stage] = (), **identity: Any
) -> Stage:
    return Stage(
        kind=kind,
        name=name,
        root=root,
        identity={"name": name, **identity},
        inputs=after,
        work=lambda stage: outcome,
    )


def _tuned(
    root: Path,
    kind: str,
    name: str,
    score: float,
    after: Sequence[Stage] = (),
    mlm_loss: float | None = None,
    weights: str | None = None,
    **more: Any,
) -> Stage:
    outcome = {"metric": "accuracy", "validation": {"accuracy": score}, "seconds_training": 10 * score}
    return _run(
        root, kind, name, outcome | {"mlm_loss_at_start": mlm_loss} | more, after, start={"weights": weights}
    )


@pytest.fixture
def compared(tmp_path: Path) -> Stage:
    """Two methods, two seeds, a teacher: PF and PD-F start from encoders, PD-F through PD."""
    mlm = {"held_out_loss": 4.25, "unigram_loss": 6.5, "tokens": 123_456, "seconds_training": 60.0}
    encoders = [_run(tmp_path, "pretrain", f"encoder{seed}", mlm) for seed in (0, 1)]
    methods = {
        "Basic": [_tuned(tmp_path, "finetune", f"basic{seed}", 0.5 + 0.1 * seed) for seed in (0, 1)],
        "PD-F": [
            _tuned(tmp_path, "finetune", f"f{seed}", 0.8,
                   [_tuned(tmp_path, "distill", f"pd{seed}", 0.7, [encoders[seed]])], 4.25, "a student")
            for seed in (0, 1)
        ],
    }  # fmt: skip
    stage = report("sst2", "2-128", methods, _tuned(tmp_path, "finetune", "teacher", 0.9), tmp_path)
    carry_out([stage])
    return stage


def test_the_table_says_score_seeds_and_where_a_method_started(compared: Stage) -> None:
    lines = (compared.folder / TABLE).read_text().splitlines()
    assert lines[0] == (
        "| method | accuracy, validation (%) | seeds | each seed | MLM loss at start | training s |"
    )
    # 50 and 60: mean 55, each 5 away, the root of 50 / 1 is 7.07.
    assert lines[2] == "| Basic | 55.0 ± 7.1 | 2 | 50.0, 60.0 | random weights | 6 |"
    assert lines[3] == "| PD-F | 80.0 ± 0.0 | 2 | 80.0, 80.0 | 4.25 | 8 |"
    assert lines[4] == "| Teacher | 90.0 | 1 | 90.0 | random weights | 9 |"
    assert "held-out loss 4.25 nats (word frequencies alone: 6.50) after 123,456 tokens in 60 s" in lines[6]


@pytest.mark.parametrize(
    ("second", "undecided"),
    [
        # Means 55 and 64, standard deviations 7.1 and 1.4.
        ((0.63, 0.65), False),
        # 55 and 63: 8 apart, and the spreads reach 8.5.
        ((0.62, 0.64), True),
        # One run has no spread to compare with.
        ((0.56,), False),
    ],
)
def test_differences_within_the_spread_over_seeds_are_named(
    tmp_path: Path, second: tuple[float, ...], undecided: bool
) -> None:
    methods = {
        name: [_tuned(tmp_path, "finetune", f"{name}{seed}", score) for seed, score in enumerate(scores)]
        for name, scores in {"PF": (0.5, 0.6), "PD": second}.items()
    }
    stage = report("sst2", "compared", methods, None, tmp_path)
    carry_out([stage])
    said = "- within the spread over seeds, so not decided: PF 55.0 ± 7.1 and PD 63.0 ± 1.4"
    assert (said in (stage.folder / TABLE).read_text()) is undecided
    assert ("not decided" in (stage.folder / TABLE).read_text()) is undecided


@pytest.mark.parametrize(
    ("changed", "row"),
    [
        # Encoders from elsewhere have no held-out loss of ours.
        ({"weights": "hub:x"}, "| PF | 50.0 | 1 | 50.0 | not known |"),
        ({"test": {"accuracy": 0.75}}, "| PF | 75.0 | 1 | 75.0 |"),
        # Records sort their keys, so "accuracy" comes before MRPC's first metric, F1.
        ({"metric": "f1", "validation": {"accuracy": 0.7, "f1": 0.8}}, "| PF | 80.0 |"),
    ],
    ids=["start from elsewhere", "labelled test set", "metric that chose the checkpoint"],
)
def test_what_a_table_says_of_one_run(changed: dict[str, Any], row: str, tmp_path: Path) -> None:
    run = _tuned(tmp_path, "finetune", "pf", 0.5, **changed)
    stage = report("mrpc", "2-128", {"PF": [run]}, None, tmp_path)
    carry_out([stage])
    lines = (stage.folder / TABLE).read_text().splitlines()
    assert lines[2].startswith(row)
    split = "test" if "test" in changed else "validation"
    assert f"| {changed.get('metric', 'accuracy')}, {split} (%) |" in lines[0]


def test_the_numbers_and_the_chart_are_beside_it(compared: Stage) -> None:
    results = json.loads((compared.folder / RESULTS).read_text())
    assert [result["method"] for result in results] == ["Basic", "PD-F", "Teacher"]
    assert results[0]["scores"] == pytest.approx([50, 60])
    assert all(Path(folder).is_dir() for result in results for folder in result["folders"])
    picture = (compared.folder / CHART).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
    assert compared.record.outcome["results"] == results


def test_it_is_printed_with_folders_ready_to_load(
    compared: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    show_report(None, [compared])
    shown = capsys.readouterr().out
    assert "55.0 ± 7.1" in shown
    assert str(compared.folder / CHART) in shown
    for result in json.loads((compared.folder / RESULTS).read_text()):
        for folder in result["folders"]:
            assert folder in shown


def test_methods_at_the_share_of_the_commonest_class_are_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"class_counts": {"validation": {"[red]": 6, "b": 4}}}
    methods = {
        name: [_tuned(tmp_path, "finetune", name, score, **counts)]
        for name, score in (("Basic", 0.5), ("PF", 0.6), ("PD", 0.9))
    }
    stage = report("mine", "2-128", methods, None, tmp_path)
    carry_out([stage])
    show_report(None, [stage])
    shown = capsys.readouterr()
    assert "the commonest class on validation, '[red]': 60.0 %" in shown.out
    (sentence,) = stage.record.outcome["warnings"]
    assert sentence.startswith(
        "accuracy 60.0 % of Basic, PF at best, on validation, is no better than the share of the commonest "
        "class, 60.0 % '[red]'"
    )
    assert shown.err.count(sentence) == 1
