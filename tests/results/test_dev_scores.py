"""What is found from folders: each result once, dev alone, selection by the mean over seeds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from boards import board, sweep, trials_of

from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.results.dev_rows import DevScores
from wellread_hf.results.dev_scores import read_dev_scores
from wellread_hf.results.trials import PLAN
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS

ALL = tuple(GLUE_TASKS)
SST2 = {(1e-4, 32): [0.70, 0.80, 0.75], (3e-4, 8): [0.90, "failed", 0.95], (3e-4, 32): [0.74, 0.80, 0.80]}


def listed(found: DevScores) -> list[tuple[object, ...]]:
    return [
        (row.student.name, row.method, row.set, row.metric, [round(value, 6) for value in row.values])
        for row in found.rows
    ]


def test_a_scoreboard_is_read_with_what_its_trainings_were_set_to(tmp_path: Path) -> None:
    folder = board(tmp_path, {"mrpc": [0.8, 0.82], "sst2": [0.9, 0.7]}, rate=1e-4, batch=16)
    found = read_dev_scores([tmp_path], ALL)
    assert listed(found) == [
        ("bert-2-128", "pf", "sst2", "accuracy", [90, 70]),
        ("bert-2-128", "pf", "mrpc", "f1", [80, 82]),
        ("bert-2-128", "pf", "mrpc", "accuracy", [70, 72]),
    ]
    assert {(row.learning_rate, row.batch_size, row.seeds) for row in found.rows} == {(1e-4, 16, (0, 1))}
    assert {row.source for row in found.rows} == {folder.name}
    (mean,) = found.means
    assert mean.name == "mean of SST-2, MRPC (2 of GLUE's 9 tasks), dev"
    # Of seed 0: (90 + (80 + 70) / 2) / 2; of seed 1: (70 + (82 + 72) / 2) / 2.
    assert mean.values == pytest.approx((82.5, 73.5))
    assert read_dev_scores([folder], ALL) == found == read_dev_scores([tmp_path, folder], ALL)


def test_only_all_nine_tasks_make_a_glue_score(tmp_path: Path) -> None:
    board(tmp_path, {task: [0.5] for task in ALL}, from_mnli=["rte"])
    found = read_dev_scores([tmp_path], ALL)
    assert [mean.name for mean in found.means] == ["GLUE score, dev"]
    assert [row.set for row in found.rows if row.metric == GLUE_SETS[row.set].metrics[0]] == [
        name for name in GLUE_SETS if name != "ax"
    ]
    assert "RTE started from the model of MNLI" in found.notes[0]
    (mean,) = read_dev_scores([tmp_path], ("mnli",)).means
    assert mean.name == "mean of MNLI-m, MNLI-mm (1 of GLUE's 9 tasks), dev"


def test_a_running_sweep_shows_its_best_point_so_far(tmp_path: Path) -> None:
    rte = {(1e-4, 32): [0.6, "stopped", 0.5]}
    folder = sweep(
        tmp_path,
        *trials_of("sst2", SST2, "bert-2-128", "pd"),
        *trials_of("rte", rte, "bert-2-128", "pd"),
    )
    found = read_dev_scores([tmp_path], ALL)
    (row,) = found.rows
    # The point of 3e-4 and 8 has the highest scores, and failed in one seed.
    assert listed(found) == [("bert-2-128", "pd", "sst2", "accuracy", [74, 80, 80])]
    assert (row.learning_rate, row.batch_size, row.trials, row.seeds) == (3e-4, 32, (8, 1, 0), (0, 1, 2))
    assert found.notes == [
        f"{folder.name} is not over yet, trials 10 done, 1 failed, 1 stopped; selected by the mean dev score "
        "over seeds 0, 1, 2",
        f"{folder.name}, bert-2-128, PD, RTE: nothing selected, since no point of the grid is done in all "
        "seeds (trials 2 done, 0 failed, 1 stopped)",
    ]


def test_a_sweep_says_what_started_from_mnli(tmp_path: Path) -> None:
    points = {(3e-4, 32): [0.74]}
    trials = [trials_of(task, points, "bert-2-128", "pf")[0] for task in ("sst2", "rte", "stsb")]
    # RTE's start has a like name and is a model of somebody else's.
    starts = {"sst2": "stage:0123:.", "rte": "hub:0123", "stsb": "stage:4567:."}
    moved = [
        replace(
            trial,
            folder=trial.folder.replace("-x-", "-x-" if trial.task == "sst2" else "-bert-2-128-mnli-"),
            settings={**trial.settings, "start": {"weights": starts[trial.task]}},
        )
        for trial in trials
    ]
    folder = sweep(tmp_path, *moved)
    notes = read_dev_scores([tmp_path], ALL).notes
    assert f"{folder.name}: STS-B started from the model of MNLI" in notes
    assert len(notes) == 2
    assert len(read_dev_scores([tmp_path], ("sst2",)).notes) == 1


def test_a_sweep_and_the_scoreboard_it_leaves_are_one_result(tmp_path: Path) -> None:
    points = {(3e-4, 32): [0.74, 0.80]}
    sweep(tmp_path, *(row for task in ALL for row in trials_of(task, points, "bert-2-128", "pf")))
    alone = read_dev_scores([tmp_path], ALL)
    assert alone.means[0].name.startswith("mean of CoLA, SST-2, MRPC")
    folder = board(tmp_path, {task: [0.74, 0.80] for task in ALL})
    both = read_dev_scores([tmp_path], ALL)
    assert [row for row in listed(both) if row[2] != "mnli_mismatched"] == listed(alone)
    assert {row.trials for row in both.rows if row.set != "mnli_mismatched"} == {(2, 0, 0)}
    # The sweep has no scores on MNLI's mismatched rows, the scoreboard has all that the sweep has.
    assert [(mean.name, mean.source) for mean in both.means] == [("GLUE score, dev", folder.name)]


def test_other_settings_are_rows_of_their_own_also_where_scores_are_equal(tmp_path: Path) -> None:
    for rate in (1e-4, 3e-4):
        board(tmp_path, {"cola": [0.0, 0.0]}, rate=rate)
    rows = read_dev_scores([tmp_path], ALL).rows
    assert sorted(row.learning_rate or 0 for row in rows) == [1e-4, 3e-4]
    for found in tmp_path.glob("finetune-*"):
        shutil.rmtree(found)
    rows = read_dev_scores([tmp_path], ALL).rows
    assert [(row.learning_rate, row.batch_size) for row in rows] == [(None, None)] * 2
    # Only where it is known nowhere what was trained do equal scores make one result.
    for found in tmp_path.glob("predict-*"):
        shutil.rmtree(found)
    assert len(read_dev_scores([tmp_path], ALL).rows) == 1


def test_lora_and_full_fine_tuning_of_equal_scores_are_two_results(tmp_path: Path) -> None:
    scores = {"cola": [0.0, 0.0]}
    full = board(tmp_path, scores)
    low_rank = board(tmp_path, scores, lora=8)
    points = {(3e-4, 32): [0.0, 0.0]}
    sweep(tmp_path, *trials_of("cola", points, "bert-2-128", "pf", lora=8))
    found = read_dev_scores([tmp_path], ALL)
    assert {(row.title, row.lora_rank, row.trials) for row in found.rows} == {
        ("PF", None, None),
        ("PF, LoRA 8", 8, (2, 0, 0)),
    }
    assert sorted(mean.title for mean in found.means) == ["PF", "PF, LoRA 8"]
    # Without the trainings' own records the digests of what predicted are enough.
    for found in tmp_path.glob("finetune-*"):
        shutil.rmtree(found)
    rows = read_dev_scores([full, low_rank], ALL).rows
    assert [(row.lora_rank, row.learning_rate) for row in rows] == [(None, None)] * 2


def test_what_has_only_just_begun_is_passed_over(tmp_path: Path) -> None:
    board(tmp_path, {"sst2": [0.9]})
    (tmp_path / "glue-4-256-pf-0123456789ab").mkdir()
    (tmp_path / "sweep-y-0123456789ab").mkdir()
    sweep(tmp_path)
    found = read_dev_scores([tmp_path], ALL)
    assert len(found.rows) == 1
    assert (
        "trials 0 done, 0 failed, 0 stopped; selected by the mean dev score over seeds (none yet)"
        in (found.notes[0])
    )
    with pytest.raises(StoreError, match=r"expected a finished stage in .*glue-4-256-pf"):
        read_dev_scores([tmp_path / "glue-4-256-pf-0123456789ab"], ALL)


def test_students_stand_by_size_and_methods_in_the_papers_order(tmp_path: Path) -> None:
    for student, method in (("4-256", "pd"), ("2-128", "pd"), ("12-128", "pf"), ("4-256", "pf")):
        board(tmp_path, {"sst2": [0.9]}, student=student, method=method)
    points = {(3e-4, 32): [0.9]}
    trials = [trials_of("sst2", points, "bert-4-256", method) for method in ("distillation", "basic")]
    sweep(tmp_path, *(trial for of in trials for trial in of))
    assert [row[:2] for row in listed(read_dev_scores([tmp_path], ALL))] == [
        ("bert-2-128", "pd"),
        ("bert-12-128", "pf"),
        ("bert-4-256", "basic"),
        ("bert-4-256", "distillation"),
        ("bert-4-256", "pf"),
        ("bert-4-256", "pd"),
    ]


def _changed(folder: Path, **changed: object) -> None:
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | changed))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"split": "test"}, "expected scores on dev, got scores on 'test'"),
        ({"seeds": [0]}, "expected scores as this version writes them"),
        ({"method": "best"}, "by the method 'best'"),
        ({"scores": {"sst2": {"f1": [1.0, 1.0]}}}, "f1 of sst2"),
        ({"scores": {"sst2": {"accuracy": [1.0, None]}}}, "move it away and run the recipe again"),
        ({"scores": {"sst2": {"accuracy": [1.0, float("nan")]}}}, "scores (1.0, nan) of seeds"),
        ({"scores": []}, "has no attribute"),
        ({"student": "3-128"}, "expected one of the 24 students"),
        ({"runs": {}}, "KeyError 'sst2'"),
    ],
)
def test_a_scoreboard_of_another_form_is_refused(
    changed: dict[str, object], words: str, tmp_path: Path
) -> None:
    _changed(board(tmp_path, {"sst2": [0.9, 0.8]}), **changed)
    with pytest.raises(Exception) as refusal:  # noqa: PT011 -- the type is looked at next
        read_dev_scores([tmp_path], ALL)
    assert type(refusal.value).__module__ == "wellread_hf.errors"
    assert words in str(refusal.value)


def test_damaged_files_and_folders_without_scores_are_listed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a folder of runs"):
        read_dev_scores([], ALL)
    with pytest.raises(StoreError, match="there is no folder"):
        read_dev_scores([tmp_path / "missing"], ALL)
    with pytest.raises(StoreError, match=r"expected dev scores of sst2 in .*, found none; wellread glue"):
        read_dev_scores([tmp_path], ("sst2",))
    folder = sweep(tmp_path, *trials_of("rte", {(1e-4, 8): [0.5]}, "bert-2-128", "pf"))
    with pytest.raises(StoreError, match=r"expected dev scores of sst2 in .*, found none \(sweep-x"):
        read_dev_scores([tmp_path], ("sst2",))
    (folder / PLAN).write_bytes((folder / PLAN).read_bytes()[:50])
    with pytest.raises(StoreError, match=r"trials.json: expected the trials of a sweep: "):
        read_dev_scores([tmp_path], ("rte",))
    shutil.rmtree(folder)
    results = board(tmp_path, {"sst2": [0.9]}) / "results.json"
    results.write_text(results.read_text()[:50])
    with pytest.raises(
        StoreError, match=r"results.json: expected the results of a scoreboard: .* run the recipe again"
    ):
        read_dev_scores([tmp_path], ALL)
