"""Real processes: killed, interrupted, two at a time, and what they let out."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from push_process import BIG
from pushes import CARD, TOKEN, only_reads, push, states, upload

from wellread_hf.hub.push_report import Report

HERE = Path(__file__).parent
NAME = "alice/bert-2-128"
NAMES = ("bert-2-128", "bert-2-256", "bert-2-512")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(hub: HubServer, tmp_path: Path) -> Start:
    """Begins a push; the report goes to the folder of the test."""
    paths = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1])])

    def started(*names: str, report: str = "report.json", **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, HERE / "push_process.py", str(tmp_path / report), *names],
            env=hub.environment(tmp_path / "home", "alice") | {"PYTHONPATH": paths} | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def again(api: HfApi, *names: str) -> Report:
    """The same push, in this process."""
    return push(api, *(upload(name, weights=BIG) for name in names), collection="Well-read students")


def pushed_once(hub: HubServer, name: str = NAME) -> None:
    repository = hub.repository(name)
    assert [commit.title for commit in repository.commits[1:]] == ["initial commit"]
    assert repository.read("model.safetensors") == BIG
    assert repository.read("README.md") == CARD
    assert repository.tags == {"v1.0": repository.head}


@pytest.mark.parametrize("place", ["^PUT", "POST /api/models/.*/commit/"])
def test_killed_and_run_again_is_one_commit(place: str, hub: HubServer, start: Start, api: HfApi) -> None:
    # In the middle of the upload, or when the commit is made and not yet answered.
    reached = threading.Event()
    hub.after(place, lambda _: (reached.set(), hub._api.closing.wait(0.5)))
    process = start(NAMES[0])
    assert reached.wait(60)
    process.send_signal(signal.SIGKILL)
    assert ended(process)[0] == -signal.SIGKILL
    hub.clear_faults()
    assert again(api, NAMES[0]).status == 0
    pushed_once(hub)
    hub.clear_requests()
    assert states(again(api, NAMES[0])) == ["unchanged"]
    assert only_reads(hub)


PHASES = {
    "who": "GET /api/whoami",
    "plan": "GET /api/models/alice/bert-2-256$",
    "upload": "^PUT",
    "commit": "/commit/",
    "collection": "POST /api/collections$",
}


@pytest.mark.parametrize("phase", PHASES)
def test_interrupted_it_ends_with_130_and_a_report_and_the_next_run_goes_on(
    phase: str, hub: HubServer, start: Start, api: HfApi, tmp_path: Path
) -> None:
    running: list[subprocess.Popen[str]] = []

    def interrupt(request: Any) -> None:
        running[0].send_signal(signal.SIGINT)
        # The process hears of it before the answer comes. What it asked for is done by then: a Hub that does
        # it only after the next run has looked would have two collections of one title, whatever asks.
        hub._api.closing.wait(0.3)

    ready = threading.Event()
    hub.before("GET /api/whoami", lambda _: ready.wait(60))
    hub.after(PHASES[phase], interrupt)
    running.append(start(*NAMES))
    ready.set()
    status, _, err = ended(running[0])
    assert status == 130, err
    assert "Traceback" not in err
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["status"], report["problem"]) == (130, "interrupted")
    reported = {one["repo"].partition("/")[2]: one["state"] for one in report["repositories"]}
    assert list(reported) == list(NAMES)
    for name, state in reported.items():
        if state == "created":
            pushed_once(hub, f"alice/{name}")
        else:
            assert state in ("not begun", "create", "interrupted")
    assert list(reported.values()).count("created") < 3 or phase == "collection"

    hub.clear_faults()
    assert again(api, *NAMES).status == 0
    for name in NAMES:
        pushed_once(hub, f"alice/{name}")
    (collection,) = hub.state.collections.values()
    assert [item["id"] for item in collection.items] == [f"alice/{name}" for name in NAMES]


@pytest.mark.parametrize("place", ["GET /api/models/alice/bert-2-128$", "/commit/"])
def test_two_processes_at_the_same_time_agree(place: str, hub: HubServer, start: Start) -> None:
    meet = threading.Barrier(2)
    hub.before(place, lambda _: meet.wait(60), times=2)
    both = [start(NAMES[0], report=f"{number}.json") for number in range(2)]
    for process in both:
        status, out, err = ended(process)
        assert status == 0, (out, err)
    pushed_once(hub)
    assert not meet.broken


def test_two_processes_with_different_contents_do_not_overwrite_each_other(
    hub: HubServer, start: Start, api: HfApi
) -> None:
    meet = threading.Barrier(2)
    hub.before("/commit/", lambda _: meet.wait(60), times=2)
    process = start(NAMES[0])
    report = push(api, upload(card=CARD + b"Mine.\n"))
    status, _, _ = ended(process)
    assert sorted([report.status, status]) == [0, 5]
    assert len(hub.repository(NAME).commits) == 2


@pytest.mark.slow
@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["plain", "debug"])
def test_the_token_is_nowhere(debug: tuple[str, ...], hub: HubServer, finished: Path, tmp_path: Path) -> None:
    hub.fault("/commit/", status=500)
    hub.fault("^PUT", "drop_upload")
    hub.fault("POST /api/collections$", status=403, times=None)
    command = [sys.executable, "-m", "wellread_hf.cli.wellread", "publish", finished, "--namespace", "alice"]
    environment = hub.environment(tmp_path / "home", "alice") | {"HF_DEBUG": "1" if debug else ""}
    done = subprocess.run(
        [*command, *debug],
        env=environment | {"PYTHONPATH": str(HERE.parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    repository = hub.repository(NAME)
    assert "created" in done.stdout
    for text in (done.stdout, done.stderr, (tmp_path / "push-report.json").read_text()):
        assert TOKEN not in text
    for path in repository.files():
        assert TOKEN.encode() not in repository.read(path)
    stored = hub.requests("/bucket/")
    assert stored
    assert TOKEN not in str(stored)
    assert TOKEN not in str([record.path for record in hub.requests()])
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_a_hub_without_xet_is_reported_in_a_sentence(
    hub: HubServer, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Xet's own client needs certificates, or the lack of a setting for them, even where it uses none.
    monkeypatch.delenv("SSL_CERT_DIR")
    process = start(NAMES[0], HF_HUB_DISABLE_XET="0")
    status, _, err = ended(process)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (status, report["repositories"][0]["state"]) == (1, "failed"), err
    assert report["repositories"][0]["error"].endswith(
        "this Hub has no Xet storage; set HF_HUB_DISABLE_XET=1 and run the same command again"
    )
    assert len(hub.repository(NAME).commits) == 1
