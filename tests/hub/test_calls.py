"""Waiting: as long as the Hub asks for, all workers together, never beyond what was allowed."""

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import only_reads, push, pushed_once, states, upload

from wellread_hf.errors import HubError, TryLaterError
from wellread_hf.hub import calls
from wellread_hf.hub.calls import Calls, Limits, Pause, Stopped, requested_wait

NAMES = ("bert-2-128", "bert-2-256", "bert-2-512")
QUOTA = "You have exceeded the rate limit for repository creation, you can retry this action in {}."


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of all workers: noted, and cut to a moment."""
    noted: list[float] = []
    wait = Pause.wait

    def shortened(self: Pause, seconds: float = 0.0) -> None:
        if seconds:
            noted.append(seconds)
        wait(self, min(seconds, 0.01))

    monkeypatch.setattr(Pause, "wait", shortened)
    monkeypatch.setattr(Pause, "extend", lambda self, seconds: noted.append(-seconds))
    return noted


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"RateLimit": '"api";r=0;t=55'}, "", 56),
        ({"RateLimit": '"api";r=12;t=55'}, "", None),
        ({"Retry-After": "7"}, "", 8),
        ({"Retry-After": "soon"}, "", None),
        ({"Retry-After": "9" * 30}, "", 7 * 86400),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, "", 0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00"}, "", None),
        ({}, QUOTA.format("43 minutes"), 2580),
        ({}, QUOTA.format("about 1 hour"), 3600),
        ({}, "try again after 20 seconds", 20),
        ({}, "128 commits per hour are allowed", None),
        ({}, "", None),
    ],
)
def test_what_the_hub_asks_for(headers: dict[str, str], message: str, seconds: float | None) -> None:
    assert requested_wait(headers, message) == seconds


def test_a_date_is_a_wait_until_then() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert requested_wait({"Retry-After": then}, "") == pytest.approx(90.5, abs=3)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        ({"headers": {"RateLimit": '"api";r=0;t=33'}}, 34),
        ({"headers": {"Retry-After": "21"}}, 22),
        ({"body": QUOTA.format("3 minutes")}, 180),
    ],
)
@pytest.mark.parametrize(
    "place", ["POST /api/repos/create", "/preupload/", "^PUT", "/commit/", "GET .*/refs"]
)
def test_the_wait_that_is_asked_for_is_taken_by_all(
    place: str, fault: dict[str, Any], seconds: float, hub: HubServer, api: HfApi, waits: list[float]
) -> None:
    limited = hub.fault(place, status=429, **fault)
    assert push(api).status == 0
    assert limited.hits == 1
    # By everyone, then by the one that met it.
    assert waits == [-seconds, seconds]
    pushed_once(hub)


def test_a_429_pauses_all_workers(hub: HubServer, api: HfApi) -> None:
    limited, read_back = threading.Event(), list[float]()
    limited_at: list[float] = []

    def note(request: Any) -> None:
        limited_at.append(time.monotonic())
        limited.set()

    def after_it(request: Any) -> None:
        # Long enough for the other worker to hear of its 429.
        limited.wait(20)
        hub._api.closing.wait(0.5)

    hub.fault("bert-2-128/preupload", status=429, headers={"Retry-After": "1"})
    hub.after("bert-2-128/preupload", note)
    hub.before("bert-2-256/commit/", after_it)
    hub.before("GET .*bert-2-256/tree/", lambda _: read_back.append(time.monotonic()), times=None)
    assert push(api, *(upload(name) for name in NAMES[:2]), jobs=2).status == 0
    assert read_back[-1] - limited_at[0] >= 1.9


def test_a_quota_beyond_max_wait_ends_the_run_and_says_when_to_come_back(hub: HubServer, api: HfApi) -> None:
    hub.fault("POST /api/repos/create", nth=2, status=429, body=QUOTA.format("43 minutes"), times=None)
    started = time.monotonic()
    report = push(api, *(upload(name) for name in NAMES), jobs=1, collection="Well-read students")
    assert time.monotonic() - started < 20
    assert (report.status, states(report)) == (1, ["created", "failed", "interrupted"])
    back = (datetime.now() + timedelta(minutes=43)).astimezone()
    times = [f"{back + timedelta(minutes=shift):%H:%M}" for shift in (-1, 0)]
    assert any(f"run the same command again after {shown}" in report.problem for shown in times)
    assert "`max_wait` 44" in report.problem
    assert not hub.state.collections
    hub.clear_faults()
    report = push(api, *(upload(name) for name in NAMES), jobs=1)
    assert (report.status, states(report)) == (0, ["unchanged", "created", "created"])


def test_a_quota_within_max_wait_is_reported_and_waited_for(
    hub: HubServer, api: HfApi, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fault("POST /api/repos/create", status=429, body=QUOTA.format("43 minutes"))
    assert push(api, max_wait=45.0).status == 0
    assert waits == [-2580, 2580]
    assert "creating alice/bert-2-128: 429" in (printed := capsys.readouterr().err)
    assert "trying again in 2580 s" in printed


def test_waits_double_until_the_deadline_across_looks_at_the_head(
    hub: HubServer, api: HfApi, waits: list[float]
) -> None:
    hub.fault("/commit/", status=500, times=6)
    assert push(api).status == 0
    assert [round(wait / expected) for wait, expected in zip(waits, (1, 2, 4, 8, 16, 30), strict=True)] == [
        1
    ] * 6
    pushed_once(hub)


def test_who_is_stopped_while_waiting_stops() -> None:
    rest = Pause()
    rest.extend(60)
    rest.stopped.set()
    with pytest.raises(Stopped):
        Calls(Limits(), rest)("waiting", lambda: None)


def test_a_wait_beyond_the_deadline_is_not_begun(hub: HubServer, api: HfApi) -> None:
    hub.fault("GET /api/whoami", status=503, headers={"Retry-After": "100"}, times=None)
    with pytest.raises(HubError, match=r"no success within 30 s and 1 calls.*it goes on from here"):
        push(api, deadline=0.5)
    with pytest.raises(TryLaterError, match="to wait 2 minutes"):
        push(api, deadline=0.5, max_wait=1.0)


@pytest.mark.parametrize(
    ("place", "as_a_rule"),
    [("GET /api/models/alice/bert-2-128$", 2), ("/preupload/", 1), ("^PUT", 4), ("/commit/", 1)],
)
def test_a_server_that_hangs_is_left_and_asked_again(
    place: str,
    as_a_rule: int,
    hub: HubServer,
    api: HfApi,
    monkeypatch: pytest.MonkeyPatch,
    quick_waits: None,
) -> None:
    monkeypatch.setattr(calls, "_SILENCE_SECONDS", 0.3)
    late = threading.Event()
    hub.fault(place, "delay", seconds=1.0)
    hub.after(place, lambda _: late.set())
    assert push(api).status == 0
    assert len(hub.requests(place)) > as_a_rule
    # What hung is carried out late, when another has long been: it must not count.
    assert late.wait(5)
    pushed_once(hub)


def test_a_port_where_nobody_listens_ends_at_the_deadline(quick_waits: None) -> None:
    with pytest.raises(HubError, match="asking who is logged in: no success within"):
        push(HfApi(endpoint="http://127.0.0.1:9", token="any"), deadline=0.2 / 60)


def test_offline_is_reported_at_once(hub: HubServer, api: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        push(api)
    assert only_reads(hub)


def test_what_the_hub_says_cannot_steer_a_terminal(hub: HubServer, api: HfApi) -> None:
    hub.fault("GET /api/whoami", status=403, body="\x1b[2J[/red]no\nno")
    with pytest.raises(HubError) as refused:
        push(api)
    assert "[2J[/red]no no" in str(refused.value)
    assert str(refused.value).isprintable()
