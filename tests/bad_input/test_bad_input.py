"""Every line of `table.txt` is an input: it ends in time, in one sentence or with the right result."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from bad_input.lines import Line, message_in, nothing_half_written, read_lines
from recipe_runs import RECIPES, run_here

from wellread_hf.cli.wellread import COMMANDS

# Far more than any takes, on a busy machine too.
SECONDS = 120
LINES = list(read_lines())


def test_the_table_has_inputs_for_every_recipe_and_every_command() -> None:
    assert len(LINES) >= 250
    assert {line.command for line in LINES} >= {*RECIPES, *(f"wellread {name}" for name in COMMANDS)}


@pytest.fixture
def limit() -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> NoReturn:
        pytest.fail(f"a hang: more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_network", "limit")
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.text[:70])
def test_an_input_ends_in_one_sentence_or_with_the_right_result(
    line: Line,
    place: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    runs = tmp_path / "runs"
    filled = {"{9}": "9" * 5000, "{s}": "\udcff", "{x}": "x" * 300, "{runs}": str(runs)}
    words = [re.sub(r"\{[9sx]\}|\{runs\}", lambda match: filled[match[0]], word) for word in line.words]
    if line.command in RECIPES and "--running.runs" not in words:
        words += ["--running.runs", str(runs)]
    ran = run_here(capfd, line.command, *words)
    assert ran.status == line.status, f"{ran.out}\n{ran.err}"
    message = ran.out + ran.err if line.status == 0 else message_in(ran)
    for answer in line.answers:
        assert answer in message, message
    nothing_half_written(runs, ran.out)
    if not line.leaves and line.status and runs.is_dir():
        assert not [path for path in runs.iterdir() if path.is_dir()], message
