"""Sweeps and a family on Ray: a machine or the driver lost; addresses that are none; early stopping."""

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from recipe_runs import recipe, run_command, run_here
from sweeps import boards, ended, options, results, rows, started, wait_for

from wellread_hf.errors import SettingsError
from wellread_hf.experiments.engines import check_engine
from wellread_hf.experiments.scheduler import Job
from wellread_hf.experiments.sweep_settings import Engine
from wellread_hf.results.trials import Trial
from wellread_hf.students import STUDENTS, Student

pytest.importorskip("ray")


def _listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


silent_port = pytest.fixture(_listener)


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# Half of the undisturbed sweep; a worker takes long to start.
HALF = ("--tasks", "stsb")


def _same(runs: Path, undisturbed: Path) -> None:
    """The same table, trial for trial, and the same choice from it."""
    expected = results(undisturbed)
    assert results(runs) == {name: trial for name, trial in expected.items() if trial["task"] == "stsb"}
    assert len(rows(runs)) == 4
    ((_, ours),), ((_, all_tasks),) = boards(runs).items(), boards(undisturbed).items()
    for entry in ("scores", "points", "runs"):
        assert json.loads(ours)[entry] == {"stsb": json.loads(all_tasks)[entry]["stsb"]}


@pytest.mark.long
def test_one_of_two_machines_is_lost_and_the_table_is_the_same(
    undisturbed: Path, encoder: Path, tmp_path: Path
) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        words = options(encoder, tmp_path, *HALF, "--engine", "ray", "--address", cluster.address)
        with started(*words) as process:
            wait_for(lambda: rows(tmp_path), process, 240)
            cluster.remove_node(second, allow_graceful=False)
            _, err = process.communicate(timeout=300)
            assert process.returncode == 0, err
            assert "Traceback" not in err
    finally:
        cluster.shutdown()
    _same(tmp_path, undisturbed)


@pytest.mark.long
def test_a_family_goes_on_from_its_checkpoints_when_one_of_two_machines_is_lost(tmp_path: Path) -> None:
    """Two students side by side: the one whose machine is lost begins no step again that it had saved."""
    from ray.cluster_utils import Cluster

    written: dict[Path, set[int]] = {}

    def students_with_checkpoints() -> int:
        for mark in tmp_path.glob("pretrain-*/checkpoints/*/complete.json"):
            # The trainer deletes older checkpoints meanwhile.
            with suppress(FileNotFoundError):
                written.setdefault(mark, set()).add(mark.stat().st_mtime_ns)
        return len({mark.parents[2] for mark in written})

    def trained() -> bool:
        students_with_checkpoints()
        return len([*tmp_path.glob("pretrain-*/stage.json")]) == 2

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        words = ("--preset", "smoke", "--no-grow", "--tokens", "500000", "--running.checkpoint-steps", "50")
        ray = ("--engine", "ray", "--address", cluster.address, "--running.runs", str(tmp_path))
        with started(*words, *ray, recipe="family") as process:
            wait_for(lambda: students_with_checkpoints() == 2, process, 400)
            assert not [*tmp_path.glob("pretrain-*/stage.json")]
            cluster.remove_node(second, allow_graceful=False)
            wait_for(trained, process, 400)
            _, err = process.communicate(timeout=400)
            assert process.returncode == 0, err
            assert "Traceback" not in err
    finally:
        cluster.shutdown()
    # A student that had begun at step 0 again would have written its first checkpoints a second time.
    assert {len(times) for times in written.values()} == {1}


@pytest.mark.long
def test_the_driver_is_killed_and_the_table_is_the_same(
    undisturbed: Path, encoder: Path, tmp_path: Path
) -> None:
    words = options(encoder, tmp_path, *HALF, "--engine", "ray")
    with started(*words) as process:
        wait_for(lambda: rows(tmp_path), process, 240)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert 1 <= len(rows(tmp_path)) < 4
        with started(*words) as again:
            _, err = again.communicate(timeout=300)
            assert again.returncode == 0, err
    _same(tmp_path, undisturbed)
    # What Ray keeps while it works is gone.
    assert not list(tmp_path.glob("sweep-*/ray"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["closed", "silent", "unroutable", "auto"])
def test_an_address_without_a_cluster_is_reported_within_ten_seconds(
    kind: str, silent_port: int, encoder: Path, tmp_path: Path
) -> None:
    address = {
        "closed": f"127.0.0.1:{_closed_port()}",
        "silent": f"127.0.0.1:{silent_port}",
        "unroutable": "203.0.113.7:6379",
        "auto": "auto",
    }[kind]
    words = options(encoder, tmp_path / "runs", "--engine", "ray", "--address", address)
    elsewhere = {"RAY_TMPDIR": str(tmp_path)} if kind == "auto" else {}
    begun = time.monotonic()
    ran = run_command([sys.executable, recipe("sweep"), *words], **elsewhere)
    # Of these some are the start of Python on a busy machine.
    assert time.monotonic() - begun < 30
    assert ran.status == 2, ran.err
    assert f"error: --address {address}: expected a Ray cluster there, but " in ran.err
    assert "Traceback" not in ran.err
    # Nothing was read or trained before.
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("address", ["somewhere", "host:port", ":6379", "host:", "ray://host:10001"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="expected HOST:PORT"):
        check_engine(Engine(engine="ray", address=address))


@pytest.mark.slow
def test_without_ray_the_install_line_is_shown(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("wellread_hf.experiments.on_ray")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails
    ran = run_here(capfd, "sweep", *options(encoder, tmp_path, "--engine", "ray"))
    assert ran.status == 2
    assert 'pip install "wellread-hf[cluster]"' in ran.err


def test_a_larger_student_takes_more() -> None:
    from wellread_hf.experiments.on_ray import size_of

    sizes = [size_of(student) for student in sorted(STUDENTS, key=Student.parameters)]
    assert sizes == sorted(sizes)
    assert sizes[0] == (1, 0.125)
    assert sizes[-1] == size_of(None) == (4, 1.0)


def test_a_job_never_asks_for_more_than_a_machine_has() -> None:
    from wellread_hf.experiments.on_ray import _share
    from wellread_hf.store.stage import Stage

    stage = Stage(kind="x", name="x", root=Path("x"), identity={}, work=lambda stage: {})
    job = Job(stage=stage, student=Student(12, 768))
    default = Engine(engine="ray")
    assert _share(job, default, [(2, 0)]) == {"CPU": 2, "GPU": 0}
    assert _share(job, default, [(1, 0), (64, 8)]) == {"CPU": 4, "GPU": 1}
    # What two machines have together, none of them has.
    assert _share(job, default, [(64, 0), (2, 1)]) == {"CPU": 2, "GPU": 1}
    given = Engine(engine="ray", trial_cpus=3, trial_gpus=0.25)
    assert _share(job, given, [(64, 8)]) == {"CPU": 3, "GPU": 0.25}
    with pytest.raises(SettingsError, match=r"CPUs and GPUs: 2 and 1, 64 and 0\), got 3 and 0.25; give less"):
        _share(job, given, [(64, 0), (2, 1)])


def test_early_stopping_compares_only_likes() -> None:
    """Fed with results by hand: each kind's poorer trials stop, however good another kind's are."""
    from types import SimpleNamespace

    from wellread_hf.experiments.on_ray import AshaByKind
    from wellread_hf.store.stage import Stage

    stage = Stage(kind="x", name="x", root=Path("x"), identity={}, work=lambda stage: {})
    kinds = ["a", "b", "a", "b", "a", None]
    jobs = [Job(stage=stage, student=STUDENTS[0], compared=kind, metric="accuracy") for kind in kinds]
    scheduler = AshaByKind(jobs)
    trials = [SimpleNamespace(trial_id=str(job), config={"job": job}) for job in range(len(jobs))]

    def decision(job: int, score: float, evaluation: int = 1) -> Any:
        return scheduler.on_trial_result(None, trials[job], {"evaluation": evaluation, "score": score})

    assert decision(0, 0.9) == "CONTINUE"
    assert decision(1, 0.2) == "CONTINUE"
    assert decision(2, 0.5) == "STOP"
    assert decision(3, 0.3) == "CONTINUE"
    assert decision(4, 0.95) == "CONTINUE"
    assert decision(5, 0.0) == "CONTINUE"
    assert scheduler.on_trial_result(None, trials[0], {"result": {}}) == "CONTINUE"
    # Between the rungs 2 and 4 nothing is decided.
    assert decision(0, 0.9, 2) == "CONTINUE"
    assert decision(4, 0.1, 3) == "STOP"


@pytest.mark.long
@pytest.mark.slow
def test_a_poor_trial_is_stopped_for_good(encoder: Path, tmp_path: Path) -> None:
    words = options(
        encoder,
        tmp_path,
        *("--engine", "ray", "--asha", "--tasks", "stsb", "--learning-rates", 1e-3, 1e-9, "--seeds", 2),
        *("--tuning.epochs", 16, "--trial-cpus", 2),
    )
    with started(*words) as process:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    found: dict[float, list[Trial]] = {}
    for trial in rows(tmp_path):
        found.setdefault(trial.learning_rate, []).append(trial)
    assert "stopped" in {trial.state for trial in found[1e-9]}
    assert "done" in {trial.state for trial in found[1e-3]}
    for trial in (trial for trials in found.values() for trial in trials):
        assert trial.score is not None
        assert (trial.state == "done") == (tmp_path / trial.folder / "stage.json").is_file()
    stopped = sum(trial.state == "stopped" for trial in rows(tmp_path))
    assert re.search(rf"│ \d of 4 +│ {stopped} ", out)
    before = ended(tmp_path)
    with started(*words) as process:
        assert process.wait(timeout=120) == 0
    assert ended(tmp_path) == before
    assert sum(trial.state == "stopped" for trial in rows(tmp_path)) == stopped
