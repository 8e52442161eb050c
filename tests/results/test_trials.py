"""Trials of a sweep: how each ended comes back whole whatever happens; the choice on dev, against pandas."""

import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from boards import done
from hypothesis import given, settings
from hypothesis import strategies as st

from wellread_hf.errors import NotFiniteError, StoreError
from wellread_hf.results.trials import (
    PLAN,
    Trial,
    best_points,
    ended_trials,
    read_trials,
    write_plan,
    write_trial,
)

PLANNED = Trial(
    digest="d0",
    folder="finetune-0",
    student="bert-2-128",
    task="sst2",
    method="pf",
    learning_rate=3e-4,
    batch_size=32,
    seed=0,
)
FAILED = replace(PLANNED, state="failed", seconds=2.0, error='it "went" wrong')
STOPPED = replace(PLANNED, state="stopped", scores={"accuracy": 0.5}, seconds=1.5)
DONE = replace(
    PLANNED, state="done", scores={"accuracy": 0.8}, seconds=12.5, settings={"tuning": {"seed": 0}}
)


def numbered(trial: Trial, number: int, **changed: Any) -> Trial:
    return replace(trial, digest=f"d{number}", folder=f"finetune-{number}", **changed)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "sweep 1?#%41"
    folder.mkdir()
    return folder


def test_trials_come_back_as_they_ended_in_the_plans_order(sweep: Path) -> None:
    ended = [numbered(FAILED, 2), numbered(DONE, 0), numbered(STOPPED, 3)]
    write_plan(sweep, [numbered(PLANNED, number) for number in (2, 0, 3, 1)])
    assert read_trials(sweep) == []
    for trial in ended:
        if trial.state == "done":
            done(sweep.parent, trial)
        write_trial(sweep, trial)
    assert read_trials(sweep) == ended
    assert ended_trials(sweep, [numbered(PLANNED, 1), numbered(PLANNED, 0)]) == [ended[1]]
    done(sweep.parent, numbered(DONE, 2))
    write_trial(sweep, numbered(DONE, 2))
    assert read_trials(sweep) == [numbered(DONE, 2), *ended[1:]]
    assert [path.name for path in (sweep / "trials").iterdir()] == ["finetune-3.json"]


def test_a_sweep_that_is_over_knows_its_trials_without_their_folders(sweep: Path) -> None:
    done(sweep.parent, DONE)
    write_plan(sweep, ended_trials(sweep, [PLANNED]))
    shutil.rmtree(sweep.parent / DONE.folder)
    assert read_trials(sweep) == [DONE]
    # One that goes on trains what is gone.
    assert ended_trials(sweep, [PLANNED]) == []


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_a_finished_trial_has_a_finite_score(score: float | None) -> None:
    scores = {} if score is None else {"accuracy": score}
    with pytest.raises(NotFiniteError, match=f"expected a done trial's .* got {score} of accuracy"):
        replace(DONE, scores=scores)
    with pytest.raises(NotFiniteError, match="expected a stopped trial's dev score to be a finite number"):
        replace(STOPPED, scores={"accuracy": float("nan")})


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_trials import FAILED, PLANNED, numbered
from wellread_hf.results.trials import write_plan, write_trial
sweep, first = Path(sys.argv[1]), int(sys.argv[3])
write_plan(sweep, [numbered(PLANNED, number) for number in range(1000)])
for number in range(first, 1000):
    write_trial(sweep, numbered(FAILED, number, error=f"{number} " * 2_000))
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_files_to_readers_beside_it(sweep: Path) -> None:
    moments, last = random.Random(0), -1
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, sweep, Path(__file__).parent, str(last + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert int(writer.stdout.readline()) == last + 1
            until = time.monotonic() + moments.uniform(0, 0.1)
            while time.monotonic() < until:
                found = read_trials(sweep)
                assert {trial.error for trial in found} == {
                    f"{number} " * 2_000 for number in range(len(found))
                }
            writer.kill()
            last = [last + 1, *(int(line) for line in writer.stdout.read().split())][-1]
        # The trial that was being written may be there; those that were reported must be.
        assert last + 1 <= len(read_trials(sweep)) <= last + 2
        last = len(read_trials(sweep)) - 1


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        (PLAN, "", "trials.json: expected the trials of a sweep: "),
        (PLAN, '[{"digest": "d0"}]', "it writes the plan anew, and finished trials are not repeated"),
        (PLAN, "[1]", "expected the trials of a sweep"),
        ("trials/finetune-0.json", '{"state": "fai', "expected how a trial ended: "),
        ("trials/finetune-0.json", "{}", "delete the file and run the sweep again"),
        ("../finetune-1/stage.json", "{", "stage.json cannot be read"),
        ("../finetune-1/stage.json", None, "expected the record of a trial: KeyError 'validation'"),
    ],
)
def test_a_damaged_file_is_reported_in_one_sentence(
    sweep: Path, file: str, text: str | None, words: str
) -> None:
    trials = [numbered(FAILED, 0), numbered(DONE, 1)]
    done(sweep.parent, trials[1])
    write_plan(sweep, [numbered(PLANNED, 0), numbered(PLANNED, 1)])
    write_trial(sweep, trials[0])
    path = sweep / file
    if text is None:
        text = json.dumps(json.loads(path.read_text()) | {"outcome": {}})
    path.write_text(text)
    with pytest.raises(StoreError) as refusal:
        read_trials(sweep)
    assert words in str(refusal.value)


def test_a_folder_without_a_plan_is_reported(sweep: Path) -> None:
    with pytest.raises(StoreError, match=r"found no .*trials.json; wellread sweep writes it"):
        read_trials(sweep)


GRID = ["student", "method", "task", "learning_rate", "batch_size", "seed"]


def _trial(key: tuple[object, ...], state: Any, sixteenths: int) -> Trial:
    # Sixteenths have exact sums, so that ties are ties however they are added up.
    scores = {} if state == "failed" else {"accuracy": sixteenths / 16}
    return numbered(PLANNED, hash(key), **dict(zip(GRID, key, strict=True)), state=state, scores=scores)


trials = st.lists(
    st.builds(
        _trial,
        st.tuples(
            st.sampled_from(["bert-2-128", "bert-4-256"]),
            st.sampled_from(["pf", "pd"]),
            st.sampled_from(["sst2", "rte"]),
            st.sampled_from([1e-4, 3e-4]),
            st.sampled_from([8, 32]),
            st.integers(0, 2),
        ),
        st.sampled_from(["done", "done", "done", "failed", "stopped"]),
        st.integers(0, 3),
    ),
    max_size=60,
    unique_by=lambda trial: trial.digest,
)


@settings(derandomize=True, deadline=None)
@given(trials, st.sets(st.integers(0, 2), min_size=1).map(sorted))
def test_the_best_points_are_those_that_pandas_finds(rows: list[Trial], seeds: list[int]) -> None:
    table = pd.DataFrame([[*(getattr(row, name) for name in GRID), row.score, row.state] for row in rows],
                         columns=[*GRID, "score", "state"])  # fmt: skip
    finished = table[(table.state == "done") & table.seed.isin(seeds)]
    means = finished.groupby(GRID[:-1]).score.agg(["mean", "count"]).reset_index()
    whole = means[means["count"] == len(seeds)]
    order = whole.sort_values(["mean", "learning_rate", "batch_size"], ascending=[False, True, True])
    expected = {
        (row.student, row.method, row.task): (row.learning_rate, row.batch_size, row.mean)
        for row in order.drop_duplicates(["student", "method", "task"]).itertuples()
    }
    best = best_points(rows, seeds)
    found = {key: (p.learning_rate, p.batch_size, sum(p.scores) / len(p.scores)) for key, p in best.items()}
    assert found == expected
    for point in best.values():
        assert [run.seed for run in point.trials] == seeds


def test_without_seeds_nothing_is_chosen() -> None:
    assert best_points([DONE], []) == {}
