"""The command `wellread`."""

import json
import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from recipe_runs import run_command

from wellread_hf.store.records import StageRecord
from wellread_hf.students import STUDENTS

WELLREAD = ".venv/bin/wellread"
LIBGOMP = Path(find_spec("torch").origin).parent / "lib" / "libgomp.so.1"


def test_students_prints_the_24_in_order() -> None:
    started = time.monotonic()
    ran = run_command([WELLREAD, "students"])
    seconds = time.monotonic() - started
    assert ran.status == 0, ran.err
    head, *rows = ran.out.splitlines()
    assert head.split() == ["name", "alias", "layers", "hidden", "heads", "parameters", "release"]
    assert [row.split()[0] for row in rows] == [student.name for student in STUDENTS]
    assert len(rows) == 24
    for row, student in zip(rows, STUDENTS, strict=True):
        assert f"{student.parameters():,}" in row
        assert row.endswith(student.release)
    # Loading torch alone takes longer than this on a busy machine.
    assert seconds < 4


@pytest.mark.parametrize("command", [[WELLREAD], [".venv/bin/python", "-m", "wellread_hf.cli.wellread"]])
def test_help_lists_the_subcommands(command: list[str]) -> None:
    ran = run_command([*command, "--help"])
    assert ran.status == 0, ran.err
    assert "Compact BERTs by Pre-trained Distillation" in ran.out
    assert re.search(r"students +Print the 24 students", ran.out)


@pytest.mark.parametrize("words", [[], ["studnets"]])
def test_a_missing_or_unknown_subcommand_is_refused(words: list[str]) -> None:
    ran = run_command([WELLREAD, *words])
    assert ran.status == 2
    assert "students" in ran.out + ran.err
    assert "Traceback" not in ran.out + ran.err


def test_losses_draws_the_logs_of_training_stages(tmp_path: Path) -> None:
    folder = tmp_path / "pretrain-a-0"
    folder.mkdir()
    log = [{"loss": 9 - step / 50, "step": step} for step in range(50, 300, 50)]
    (folder / "log.json").write_text(json.dumps([*log, {"eval_loss": 4.5, "step": 250}]))
    StageRecord(
        kind="pretrain",
        name="a",
        digest="0" * 64,
        settings={},
        inputs={},
        outcome={"unigram_loss": 6.8},
        seconds=1.0,
        versions={},
        command="",
    ).write(folder)
    out = tmp_path / "losses.png"
    ran = run_command([WELLREAD, "losses", folder, "--out", out])
    assert (ran.status, ran.out.strip()) == (0, str(out)), ran.err
    assert out.read_bytes().startswith(b"\x89PNG")
    (folder / "log.json").unlink()
    ran = run_command([WELLREAD, "losses", folder, "--out", tmp_path / "none.png"])
    assert ran.status == 2
    assert "has no log.json: expected a stage that trains" in ran.err
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "GOMP_SPINCOUNT = '10000'"),
        ({"GOMP_SPINCOUNT": "70"}, "GOMP_SPINCOUNT = '70'"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "OMP_WAIT_POLICY = 'ACTIVE'"),
    ],
)
@pytest.mark.skipif(not LIBGOMP.is_file(), reason="torch carries another OpenMP here")
def test_idle_threads_sleep_soon_unless_the_user_says_otherwise(
    given: dict[str, str], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Recipes that other tests ran in this process have set it.
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    # `OMP_DISPLAY_ENV` lets the library say what it has read; by then recipes must not have loaded torch.
    code = (
        "import ctypes, sys; from wellread_hf.cli.exits import report_errors\n"
        "import recipes.pd, recipes.study\n"
        "assert 'torch' not in sys.modules\n"
        f"with report_errors(True, str): ctypes.CDLL({str(LIBGOMP)!r})"
    )
    ran = run_command([sys.executable, "-c", code], **given, OMP_DISPLAY_ENV="VERBOSE")
    assert ran.status == 0, ran.err
    assert found in ran.err
    # Spins for ever, or as many as the library thinks fit: ours are not put beside the user's choice.
    assert "OMP_WAIT_POLICY" not in given or "GOMP_SPINCOUNT = '10000'" not in ran.err
