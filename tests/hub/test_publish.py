"""Pushing over real HTTP: one commit with the right bytes, whatever happens on the way."""

from typing import Any

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import CARD, WEIGHTS, only_reads, push, pushed_once, states, upload

pytestmark = pytest.mark.usefixtures("quick_waits")


def test_a_push_is_one_commit_with_the_right_bytes_and_a_tag(hub: HubServer, api: HfApi) -> None:
    report = push(api)
    assert (report.status, states(report)) == (0, ["created"]), report
    pushed_once(hub)
    repository = hub.repository("alice/bert-2-128")
    assert repository.private
    (result,) = report.repositories
    assert repository.head == result.new
    assert result.bytes == len(CARD) + 2 + len(WEIGHTS)
    assert api.list_repo_refs("alice/bert-2-128").tags[0].name == "v1.0"
    assert api.list_repo_refs("alice/bert-2-128").tags[0].target_commit == result.new


def test_what_is_there_already_is_only_read_in_three_requests(hub: HubServer, api: HfApi) -> None:
    push(api)
    hub.clear_requests()
    report = push(api)
    assert (report.status, states(report)) == (0, ["unchanged"])
    assert only_reads(hub)
    assert len(hub.requests("bert-2-128")) == 3


def test_a_dry_run_sends_only_reads_and_says_what_would_be_done(hub: HubServer, api: HfApi) -> None:
    push(api, upload("there"), upload("other"))
    hub.clear_requests()
    wanted = [upload("there"), upload("other", card=CARD + b"More.\n"), upload("new")]
    report = push(api, *wanted, dry_run=True, tag="v2")
    assert only_reads(hub)
    assert states(report) == ["unchanged", "update", "create"]
    assert [sorted(result.files) for result in report.repositories] == [
        [],
        ["README.md"],
        ["README.md", "config.json", "model.safetensors"],
    ]
    assert report.repositories[1].bytes == len(CARD) + 6
    assert (report.user, report.visibility, report.endpoint) == ("alice", "private", hub.endpoint)


# Every place where a request of a push may fail.
PLACES = {
    "whoami": "GET /api/whoami-v2",
    "first look": "GET /api/models/alice/bert-2-128$",
    "creation": "POST /api/repos/create",
    "card check": "POST /api/validate-yaml",
    "preupload": "POST /api/models/alice/bert-2-128/preupload/",
    "batch": "POST /alice/bert-2-128.git/info/lfs/objects/batch",
    "upload": "^PUT ",
    "commit": "POST /api/models/alice/bert-2-128/commit/",
    "reading back": "GET /api/models/alice/bert-2-128/tree/",
    "tag": "POST /api/models/alice/bert-2-128/tag/",
    "refs": "GET /api/models/alice/bert-2-128/refs",
}
FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "502 of a proxy": {"status": 502, "body": "<html>bad gateway</html>"},
    "429": {"status": 429},
    "500 though it was done": {"kind": "status_after"},
    "dropped before": {"kind": "drop_before"},
    "dropped in the upload": {"kind": "drop_upload"},
    "dropped in the answer": {"kind": "drop_answer"},
    "answer lost": {"kind": "drop_after"},
}


# Twice in a row adds something where the second failure meets another state than the first one did.
CASES = [
    *((place, fault, 1) for place in PLACES for fault in FAULTS),
    *((place, fault, 2) for place in ("creation", "upload", "commit") for fault in ("500", "answer lost")),
]


@pytest.mark.parametrize(("place", "fault", "times"), CASES)
def test_whatever_fails_on_the_way_it_is_one_commit_in_the_end(
    place: str, fault: str, times: int, hub: HubServer, api: HfApi
) -> None:
    hit = hub.fault(PLACES[place], times=times, **FAULTS[fault])
    report = push(api)
    assert hit.hits >= 1
    assert (report.status, states(report)) == (0, ["created"]), report
    pushed_once(hub)
    hub.clear_faults()
    hub.clear_requests()
    assert states(push(api)) == ["unchanged"]
    assert only_reads(hub)
