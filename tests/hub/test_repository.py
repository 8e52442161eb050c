"""A push is not alone: foreign commits, refusals, visibility, tags, and what one failure costs the rest."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import CARD, WEIGHTS, only_reads, push, pushed_once, states, upload

from wellread_hf.errors import AuthenticationError, PublishError
from wellread_hf.hub import calls
from wellread_hf.hub.files import LocalFile, Upload
from wellread_hf.students import STUDENTS

pytestmark = pytest.mark.usefixtures("quick_waits")
NAME = "alice/bert-2-128"
COMMIT = f"POST /api/models/{NAME}/commit/"


def family(weights: bytes = b"weights") -> list[Upload]:
    return [upload(student.name, weights=weights) for student in STUDENTS]


def test_a_foreign_commit_in_between_is_a_conflict_and_stays(hub: HubServer, api: HfApi) -> None:
    hub.before(COMMIT, lambda _: hub.repository(NAME).commit_directly({"README.md": b"# Mine\n"}))
    report = push(api, upload(), upload("bert-4-256"))
    assert (report.status, states(report)) == (5, ["conflict", "created"])
    assert "somebody else's commit" in report.repositories[0].error
    assert hub.repository(NAME).read("README.md") == b"# Mine\n"
    assert len(hub.repository(NAME).commits) == 2


def test_a_foreign_commit_after_ours_whose_answer_was_lost_is_neither_overwritten_nor_a_conflict(
    hub: HubServer, api: HfApi
) -> None:
    hub.after(COMMIT, lambda _: hub.repository(NAME).commit_directly({"NOTES.md": b"mine"}))
    hub.fault(COMMIT, "drop_after")
    report = push(api)
    assert (report.status, states(report)) == (0, ["created"])
    assert len(hub.repository(NAME).commits) == 3
    assert hub.repository(NAME).read("NOTES.md") == b"mine"


@pytest.mark.parametrize(
    ("theirs", "state", "status"), [(b"# Mine\n", "conflict", 5), (CARD, "created", 0)], ids=["other", "same"]
)
def test_a_repository_that_appears_after_the_plan_is_not_overwritten(
    theirs: bytes, state: str, status: int, hub: HubServer, api: HfApi
) -> None:
    def appear(request: Any) -> None:
        api.create_repo(NAME, private=True)
        hub.repository(NAME).commit_directly({"README.md": theirs})

    hub.before("POST /api/repos/create", appear)
    report = push(api)
    assert (report.status, states(report)) == (status, [state])
    assert hub.repository(NAME).read("README.md") == theirs


def test_a_403_for_one_of_24_costs_that_one(hub: HubServer) -> None:
    hub.add_user("alice", "token-of-alice", may_write=lambda name: name != "alice/bert-6-512")
    api = HfApi(endpoint=hub.endpoint, token="token-of-alice")
    uploads = family()
    report = push(api, *uploads, collection="Well-read students")
    assert report.status == 1
    assert [result.repo for result in report.repositories if result.state == "failed"] == ["alice/bert-6-512"]
    assert states(report).count("created") == 23
    assert "the rights" in next(result.error for result in report.repositories if result.error)
    (collection,) = hub.state.collections.values()
    assert len(collection.items) == 23

    hub.add_user("alice", "token-of-alice")
    again = push(api, *uploads, collection="Well-read students")
    assert (again.status, states(again).count("unchanged"), states(again).count("created")) == (0, 23, 1)
    assert [item["id"] for item in collection.items] == [f"alice/{student.name}" for student in STUDENTS]


def test_no_more_repositories_at_once_than_jobs(hub: HubServer, api: HfApi) -> None:
    busy: set[str] = set()
    most: set[str] = set()
    three = threading.Event()

    def come(request: Any) -> None:
        nonlocal most
        busy.add(request.path)
        most = max(most, set(busy), key=len)
        if len(busy) >= 3:
            three.set()
        # The first ones wait for one another, and then for a fourth that must not come.
        three.wait(20)
        hub._api.closing.wait(0.3)

    hub.before("/preupload/", come, times=None)
    hub.after("/preupload/", lambda request: busy.discard(request.path), times=None)
    assert push(api, *family()[:6], jobs=3).status == 0
    assert len(most) == 3


@pytest.mark.parametrize("public", [False, True])
def test_visibility_that_differs_blocks_and_changes_nothing(public: bool, hub: HubServer, api: HfApi) -> None:
    api.create_repo(NAME, private=public)
    report = push(api, public=public)
    assert (report.status, states(report)) == (1, ["blocked"])
    assert f"would make it {'public' if public else 'private'}" in report.repositories[0].error
    assert hub.repository(NAME).private == public
    assert len(hub.repository(NAME).commits) == 1


def test_a_hub_that_makes_it_public_all_the_same_gets_no_files(hub: HubServer, api: HfApi) -> None:
    hub.after("POST /api/repos/create", lambda _: setattr(hub.repository(NAME), "private", False))
    report = push(api)
    assert (report.status, states(report)) == (1, ["failed"])
    assert "nothing was uploaded" in report.repositories[0].error
    assert not hub.requests("preupload|PUT|commit/")


def test_public_is_public_when_asked_for(hub: HubServer, api: HfApi) -> None:
    assert push(api, public=True, collection="Well-read students").status == 0
    assert not hub.repository(NAME).private
    assert not next(iter(hub.state.collections.values())).private


def test_a_tag_that_is_elsewhere_blocks_new_content(hub: HubServer, api: HfApi) -> None:
    push(api)
    head = hub.repository(NAME).head
    report = push(api, upload(card=CARD + b"More.\n"))
    assert (report.status, states(report)) == (1, ["blocked"])
    assert "v1.0" in report.repositories[0].error
    assert "`tag`" in report.repositories[0].error
    assert hub.repository(NAME).head == head
    report = push(api, upload(card=CARD + b"More.\n"), tag="v1.1")
    assert (report.status, states(report)) == (0, ["updated"])
    assert set(hub.repository(NAME).tags) == {"v1.0", "v1.1"}
    assert hub.repository(NAME).tags["v1.0"] == head


def test_a_tag_that_somebody_sets_elsewhere_meanwhile_is_reported(hub: HubServer, api: HfApi) -> None:
    repository = lambda: hub.repository(NAME)  # noqa: E731
    hub.before("/tag/", lambda _: repository().tags.update({"v1.0": repository().commits[-1].id}))
    report = push(api)
    assert (report.status, states(report)) == (1, ["failed"])
    assert "points to" in report.repositories[0].error


def test_what_is_there_without_its_tag_gets_the_tag_alone(hub: HubServer, api: HfApi) -> None:
    push(api)
    del hub.repository(NAME).tags["v1.0"]
    hub.clear_requests()
    assert states(push(api)) == ["unchanged"]
    assert [record.method for record in hub.requests() if record.method != "GET"] == ["POST"]
    assert hub.repository(NAME).tags == {"v1.0": hub.repository(NAME).head}
    pushed_once(hub)


def test_what_others_put_beside_it_stays_and_is_named(
    hub: HubServer, api: HfApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(api).repositories[0].foreign == []
    hub.repository(NAME).commit_directly({"extra.txt": b"theirs"})
    push(api, dry_run=True).show(dry_run=True)
    assert f"{NAME} also has extra.txt" in capsys.readouterr().out
    report = push(api, upload(card=CARD + b"More.\n"), tag="v2")
    assert states(report) == ["updated"]
    assert report.repositories[0].foreign == ["extra.txt"]
    assert hub.repository(NAME).read("extra.txt") == b"theirs"
    assert hub.repository(NAME).files().keys() == {".gitattributes", "extra.txt", *upload().files}


def test_a_file_that_changes_during_the_push_is_noticed(tmp_path: Path, hub: HubServer, api: HfApi) -> None:
    card = tmp_path / "README.md"
    card.write_bytes(CARD)
    moving = Upload(name="bert-2-128", files={"README.md": LocalFile("README.md", card)})
    hub.before("POST /api/repos/create", lambda _: card.write_bytes(CARD.replace(b"A student", b"Another")))
    report = push(api, moving)
    assert (report.status, states(report)) == (1, ["failed"])
    assert "there and here differ" in report.repositories[0].error
    assert not hub.repository(NAME).tags


def test_a_401_in_mid_run_stops_everything(hub: HubServer, api: HfApi) -> None:
    hub.fault(
        "GET /api/models/alice/bert-4-512$", status=401, body="Invalid username or password.", times=None
    )
    report = push(api, *family(), jobs=1)
    assert report.status == 4
    assert "does not accept the token" in report.problem
    at = [student.name for student in STUDENTS].index("bert-4-512")
    assert states(report)[: at + 1] == ["create"] * at + ["failed"]
    assert only_reads(hub)


def test_a_token_that_ends_during_the_push_stops_it(hub: HubServer, api: HfApi) -> None:
    uploads = family()[:6]
    hub.fault("POST /api/models/alice/bert-2-512/commit/", status=401, times=None)
    report = push(api, *uploads, jobs=1, collection="Well-read students")
    assert report.status == 4
    assert states(report) == ["created", "created", "failed", *["interrupted"] * 3]
    assert not hub.state.collections


def test_who_may_not_write_is_refused_before_anything_is_sent(hub: HubServer, api: HfApi) -> None:
    with pytest.raises(AuthenticationError, match="alice may write to alice, team") as refused:
        push(api, namespace="bob")
    assert refused.value.status == 4
    for token in (None, False):
        with pytest.raises(AuthenticationError, match="nobody is logged in"):
            push(HfApi(endpoint=hub.endpoint, token=token))
    with pytest.raises(AuthenticationError, match="does not accept the token"):
        push(HfApi(endpoint=hub.endpoint, token="of-nobody"))
    hub.add_user("carol", "token-of-carol", orgs=["team"], role="read")
    with pytest.raises(AuthenticationError, match="may only read"):
        push(HfApi(endpoint=hub.endpoint, token="token-of-carol"), namespace="carol")
    assert only_reads(hub)


@pytest.mark.parametrize("namespace", ["team", "alice"])
def test_a_team_is_a_namespace_too(namespace: str, hub: HubServer, api: HfApi) -> None:
    assert push(api, namespace=namespace).status == 0
    assert hub.repository(f"{namespace}/bert-2-128").private


@pytest.mark.parametrize("endpoint", ["http://hub.example.org", "http://127.0.0.1.example.org", "ftp://x"])
def test_a_token_does_not_travel_in_the_open(endpoint: str) -> None:
    with pytest.raises(PublishError, match="expected https"):
        push(HfApi(endpoint=endpoint, token="any"))


def test_an_answer_that_nobody_understands_costs_that_one(hub: HubServer, api: HfApi) -> None:
    hub.fault("POST .*bert-2-128/preupload", status=200, body="<html>", headers={}, times=1)
    hub.fault("POST .*bert-2-256/preupload", status=200, body='{"no": "files"}', times=None)
    report = push(api, *family()[:3])
    assert (report.status, states(report)) == (1, ["created", "failed", "created"])
    assert "unexpected" in report.repositories[1].error


def test_one_failure_for_good_ends_at_its_deadline_and_the_others_are_done(
    hub: HubServer, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_FIRST_WAIT", 0.1)
    bad = hub.fault(COMMIT, times=None, status=503)
    report = push(api, upload(), upload("bert-4-256"), deadline=1 / 60)
    assert (report.status, states(report)) == (1, ["failed", "created"])
    assert "run the same command again" in report.repositories[0].error
    # Each wait is twice the one before: no storm of tries.
    assert 2 <= bad.hits <= 5
    hub.clear_faults()
    assert push(api, upload(), upload("bert-4-256")).status == 0
    pushed_once(hub)


def test_a_creation_that_waits_does_not_hold_up_the_others(hub: HubServer, api: HfApi) -> None:
    hub.fault("POST /api/repos/create", status=503, headers={"Retry-After": "1"})
    report = push(api, *family()[:4])
    assert (report.status, states(report)) == (0, ["created"] * 4)
    *others, waited = sorted(result.seconds for result in report.repositories)
    assert max(others) < 2 <= waited


def test_a_hub_busy_with_another_creation_is_asked_again_in_good_time(hub: HubServer, api: HfApi) -> None:
    busy = hub.fault(
        "POST /api/repos/create",
        status=409,
        body="Cannot create repo: another conflicting operation is in progress",
        times=None,
    )
    report = push(api, deadline=0.3 / 60)
    assert (report.status, states(report)) == (1, ["failed"])
    assert "conflicting operation" in report.repositories[0].error
    assert busy.hits < 10
    hub.clear_faults()
    assert push(api).status == 0


def test_weights_of_the_same_name_are_compared_by_hash(hub: HubServer, api: HfApi) -> None:
    push(api)
    other = bytes(reversed(WEIGHTS))
    report = push(api, upload(weights=other), tag="v2", dry_run=True)
    assert list(report.repositories[0].files) == ["model.safetensors"]
