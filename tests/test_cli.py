"""The command `wellread`."""

import re
import time

import pytest
from recipe_runs import run_command

from wellread_hf.students import STUDENTS

WELLREAD = ".venv/bin/wellread"


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


@pytest.mark.parametrize("command", [[WELLREAD], [".venv/bin/python", "-m", "wellread_hf.cli"]])
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
