"""What `make demo-hub` runs, on what a smoke test of the chain leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recipe_runs import ROOT, run_here


@pytest.mark.long
@pytest.mark.slow
def test_the_demo_pushes_pushes_again_verifies_and_loads(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(capfd, "pd", "--preset", "smoke", "--running.runs", tmp_path / "runs")
    assert ran.status == 0, ran.err
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub_server", "--", sys.executable, "-m", "tests.hub_server.demo"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    plan, push, again, checked, loaded = _parts(done.stdout)
    assert plan.count("create ") == push.count("created") == again.count("unchanged") == 3
    assert "every hash is right; loads as BertForSequenceClassification" in checked
    assert loaded.count("ive (") == 3


def _parts(out: str) -> list[str]:
    titles = ("What would be pushed", "The push", "The same again", "Every byte checked", "pipeline(")
    starts = [out.index(title) for title in titles]
    return [out[start:end] for start, end in zip(starts, [*starts[1:], len(out)], strict=True)]
