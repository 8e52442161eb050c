"""The built wheel in an empty folder: every recipe is a command, without a checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from recipe_runs import RECIPES, ROOT


@pytest.mark.slow
def test_a_wheel_brings_every_recipe_as_a_command(tmp_path: Path) -> None:
    def run(*words: object) -> str:
        # Neither the checkout nor its packages may be seen but through the wheel.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [*map(str, words)],
            cwd=tmp_path / "empty",
            env=environment | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (tmp_path / "empty").mkdir()
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path / "wheels")
    run(sys.executable, "-m", "pip", *build, ROOT)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    venv.create(tmp_path / "venv")
    python, packages = tmp_path / "venv/bin/python", sysconfig.get_paths()["purelib"]
    folder = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    )
    # A plain path: the .pth files of that folder, the editable install among them, are not read.
    (folder / "environment.pth").write_text(f"{packages}\n")
    command = tmp_path / "venv/bin/wellread"
    assert str(folder) in run(python, "-c", "import wellread_hf; print(wellread_hf.__file__)")
    listed = run(command, "--help")
    assert all(f"\n    {name}" in listed for name in RECIPES), listed
    ran = run(command, "pd", "--preset", "smoke")
    assert "PD-F" in ran
    assert list((tmp_path / "empty/runs").glob("report-*/table.md"))
