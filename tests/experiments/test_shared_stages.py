"""A stage that shares itself out: done on every free place of a Ray cluster, a lost machine or not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sweeps import ROOT, wait_for

from wellread_hf.experiments.scheduler import Job, Result
from wellread_hf.store.stage import Stage

pytest.importorskip("ray")

# A stage of forty files, each the work of a fifth of a second, as one job of a Ray cluster.
DRIVER = """
import os, sys, time
from pathlib import Path
from wellread_hf.experiments.engines import opened
from wellread_hf.experiments.scheduler import Job, run
from wellread_hf.experiments.sweep_settings import Engine
from wellread_hf.store.stage import Stage

def work(stage):
    from wellread_hf.store.claims import claims
    from wellread_hf.store.records import write_atomically
    paths = [stage.folder / f"part-{number:02d}" for number in range(40)]
    for index, mine in claims(paths):
        if mine:
            with (stage.root / "begun").open("a") as log:
                log.write(f"{os.getpid()} {index}\\n")
            # A worker takes long to start: none goes on before the other has begun.
            while len({line.split()[0] for line in (stage.root / "begun").read_text().splitlines()}) < 2:
                time.sleep(0.05)
            time.sleep(0.2)
            write_atomically(paths[index], str(index))
    return {}

root = Path(sys.argv[1])
stage = Stage(kind="test", name="shared", root=root, identity={}, work=work, shared=True)
ends = []
with opened(Engine(engine="ray", address=sys.argv[2], trial_cpus=1), root) as engine:
    failed = run([Job(stage=stage)], engine, lambda job, result: ends.append(result.state))
assert not failed, failed
assert ends == ["done"], ends
"""


def _begun(root: Path) -> list[list[str]]:
    log = root / "begun"
    return [line.split() for line in log.read_text().splitlines()] if log.is_file() else []


@pytest.mark.long
def test_two_machines_share_a_stage_and_the_parts_of_a_lost_one_are_made_again(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path), cluster.address],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: len({worker for worker, _ in _begun(tmp_path)}) == 2, process, 400)
        cluster.remove_node(second, allow_graceful=False)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    finally:
        cluster.shutdown()
    (folder,) = tmp_path.glob("test-shared-*")
    assert sorted(path.name for path in folder.glob("part-*")) == [f"part-{n:02d}" for n in range(40)]
    assert json.loads((folder / "stage.json").read_text())["kind"] == "test"
    # What the lost machine had begun is all that was done twice.
    begun = [part for _, part in _begun(tmp_path)]
    assert set(begun) == {str(number) for number in range(40)}
    assert len(begun) - len(set(begun)) <= 1


def test_a_shared_stage_takes_every_place_and_ends_once() -> None:
    from types import SimpleNamespace

    from wellread_hf.experiments.on_ray import _places, _Results

    assert _places({"CPU": 2, "GPU": 0.0}, [(8, 0), (3, 0), (1, 0)]) == 5
    assert _places({"CPU": 1, "GPU": 0.5}, [(8, 1), (64, 0), (1, 4)]) == 3
    stage = Stage(kind="x", name="x", root=Path("x"), identity={}, work=lambda stage: {}, shared=True)
    jobs, ends = [Job(stage=stage)] * 3, list[Result]()

    def ended(states: list[str]) -> list[str]:
        ends.clear()
        results = _Results(jobs, lambda job, result: ends.append(result))
        for number, state in enumerate(states):
            last = {"result": {"state": state}}
            results.on_trial_complete(0, [], SimpleNamespace(config={"job": number}, last_result=last))
        return [result.state for result in ends]

    assert ended(["failed", "done", "done"]) == ["done"]
    assert ended(["done", "failed"]) == ["done"]
    assert ended(["failed", "failed"]) == []
    assert ended(["failed", "failed", "failed"]) == ["failed"]
