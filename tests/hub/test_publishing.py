"""Pushing over real HTTP: one commit with the right bytes, whatever happens on the way."""

from typing import Any

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi

from wellread_hf.hub import calls
from wellread_hf.hub.parcels import LocalFile, Parcel
from wellread_hf.hub.publishing import Publishing, Report, publish

TOKEN = "token-of-alice"
CARD = b"---\nlicense: apache-2.0\nlanguage: en\n---\n# A student\n"
# Above what the hub of the tests takes in one piece: it goes up in parts.
WEIGHTS = bytes(range(256)) * 500


@pytest.fixture(autouse=True)
def quick_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_FIRST_WAIT", 0.01)
    # The client's own waits after a broken connection, in uploads.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


def parcel(name: str = "bert-2-128", card: bytes = CARD, weights: bytes = WEIGHTS) -> Parcel:
    contents = {"README.md": card, "config.json": b"{}", "model.safetensors": weights}
    return Parcel(
        name=name,
        files={path: LocalFile(path, content) for path, content in contents.items()},
        note=f"note of {name}",
    )


def push(api: HfApi, *parcels: Parcel, dry_run: bool = False, **settings: Any) -> Report:
    chosen = Publishing(**({"namespace": "alice", "collection": None} | settings))
    return publish(parcels or [parcel()], chosen, "1.0", dry_run, api)


def states(report: Report) -> list[str]:
    return [result.state for result in report.repositories]


def pushed_once(hub: HubServer, name: str = "alice/bert-2-128") -> None:
    """Exactly one commit after the first, with the right bytes."""
    repository = hub.repository(name)
    assert len(repository.commits) == 2, [commit.title for commit in repository.commits]
    assert repository.read("README.md") == CARD
    assert repository.read("model.safetensors") == WEIGHTS


def only_reads(hub: HubServer) -> bool:
    return all(record.method in ("GET", "HEAD") for record in hub.requests())


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
    push(api, parcel("there"), parcel("other"))
    hub.clear_requests()
    wanted = [parcel("there"), parcel("other", card=CARD + b"More.\n"), parcel("new")]
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


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", PLACES)
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
