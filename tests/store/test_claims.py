"""Files shared out over real processes: each is made once, and a lost process's file by another."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wellread_hf.store.claims import claimed, claims
from wellread_hf.store.graph import carry_out
from wellread_hf.store.stage import Stage

# Notes each file that it begins and waits in the one that it is to be killed in.
WORKER = """
import sys, time
from pathlib import Path
from wellread_hf.store.claims import claims
folder, name, stops_in = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
paths = [folder / f"part-{number}" for number in range(8)]
for index, mine in claims(paths):
    if mine:
        with (folder / "log").open("a") as log:
            log.write(f"{name} {index}\\n")
        while index == stops_in:
            time.sleep(0.01)
        time.sleep(0.02)
        beside = paths[index].with_suffix(".part")
        beside.write_text(name)
        beside.replace(paths[index])
"""


def start(folder: Path, name: str, stops_in: int = -1) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder), name, str(stops_in)])


def begun(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines() if (folder / "log").is_file() else []


def paths(folder: Path, count: int = 8) -> list[Path]:
    return [folder / f"part-{number}" for number in range(count)]


def test_each_file_is_made_once_and_a_killed_process_s_file_by_the_other(tmp_path: Path) -> None:
    lost = start(tmp_path, "lost", stops_in=2)
    end = time.monotonic() + 60
    while "lost 2" not in begun(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.01)
    other = start(tmp_path, "other")
    while not all(path.is_file() for path in paths(tmp_path) if path.name != "part-2"):
        assert time.monotonic() < end
        time.sleep(0.01)
    # It waits for the one file that is claimed, and makes it once its owner is gone.
    assert not paths(tmp_path)[2].exists()
    assert other.poll() is None
    lost.send_signal(signal.SIGKILL)
    lost.wait(60)
    assert other.wait(60) == 0
    assert sorted(begun(tmp_path)) == sorted(
        [f"lost {number}" for number in (0, 1, 2)] + [f"other {number}" for number in range(2, 8)]
    )
    assert [path.read_text() for path in paths(tmp_path)] == ["lost"] * 2 + ["other"] * 6
    assert not list(tmp_path.glob(".*")), "a claim was left"


def test_files_that_others_make_can_be_left_out(tmp_path: Path) -> None:
    (one, other), found = paths(tmp_path, 2), []
    for index, mine in claims([one, other]):
        assert mine
        found.append((index, list(claims([one, other], wait=False)) if index else None))
        (one, other)[index].write_text("whole")
    assert found == [(0, None), (1, [(0, False)])]
    assert list(claims([one, other])) == [(0, False), (1, False)]


def test_a_damaged_file_is_made_again_and_a_failure_gives_the_claim_back(tmp_path: Path) -> None:
    (path,) = paths(tmp_path, 1)
    path.write_text("damaged")

    def attempt(content: str | None) -> list[bool]:
        asked = []
        for _, mine in claims([path], lambda path: path.read_text() == "whole"):
            asked.append(mine)
            if content is None:
                raise ValueError("no")
            path.write_text(content)
        return asked

    with pytest.raises(ValueError, match="no"):
        attempt(None)
    assert attempt("whole") == [True]
    assert attempt("another") == [False]


def test_a_run_that_ends_after_another_finished_the_stage_leaves_nothing_behind(tmp_path: Path) -> None:
    def planned(work: Callable[[Stage], dict[str, int]]) -> Stage:
        return Stage(kind="test", name="late", root=tmp_path, identity={}, work=work, shared=True)

    def late(stage: Stage) -> dict[str, int]:
        carry_out([planned(lambda _: {"first": 1})])
        # As a claim does that comes after the others' clean-up.
        with claimed(stage.folder / "checkpoints" / "part"):
            return {"first": 0}

    stage = planned(late)
    carry_out([stage])
    assert stage.record.outcome == {"first": 1}
    assert not (stage.folder / "checkpoints").exists()
