"""A branch beside main, and a static Space: the same safety as a model's repository."""

from typing import Any

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import CARD, only_reads, push, states, upload

from wellread_hf.hub.files import LocalFile, Upload

pytestmark = pytest.mark.usefixtures("quick_waits")
NAME = "alice/bert-2-128"
PAGE = {"README.md": b"---\ntitle: Students\nsdk: static\n---\n", "index.html": b"<!doctype html>\n"}


def both(card: bytes = CARD) -> list[Upload]:
    return [upload(card=card), upload(card=CARD + b"int8.\n", branch="int8")]


def space() -> Upload:
    files = {path: LocalFile(path, content) for path, content in PAGE.items()}
    return Upload(name="students", files=files, repo_type="space")


def test_a_branch_starts_from_what_was_pushed_and_has_its_own_files(hub: HubServer, api: HfApi) -> None:
    report = push(api, *both())
    assert (report.status, states(report)) == (0, ["created", "created"]), report
    repository = hub.repository(NAME)
    assert repository.read("README.md") == CARD
    assert repository.read("README.md", "int8") == CARD + b"int8.\n"
    branch = repository.commit("int8")
    assert (branch.parent, branch.id) == (repository.head, report.repositories[1].new)
    assert repository.tags == {"v1.0": repository.head}
    hub.clear_requests()
    assert states(push(api, *both())) == ["unchanged", "unchanged"]
    assert only_reads(hub)


def test_a_dry_run_shows_the_branch(hub: HubServer, api: HfApi) -> None:
    report = push(api, *both(), dry_run=True)
    assert [result.repo for result in report.repositories] == [NAME, f"{NAME}@int8"]
    assert only_reads(hub)


def test_a_branch_that_was_created_and_not_filled_is_filled(hub: HubServer, api: HfApi) -> None:
    push(api, upload())
    api.create_branch(NAME, branch="int8")
    report = push(api, *both())
    assert states(report) == ["unchanged", "updated"]
    assert hub.repository(NAME).read("README.md", "int8") == CARD + b"int8.\n"


def test_no_branch_without_main(hub: HubServer, api: HfApi) -> None:
    hub.fault(f"POST /api/models/{NAME}/commit/main", status=403, times=None)
    report = push(api, *both())
    assert (report.status, states(report)) == (1, ["failed", "failed"])
    assert "main was not pushed" in report.repositories[1].error
    assert "int8" not in hub.repository(NAME).branches


PLACES = {
    "creation": f"POST /api/models/{NAME}/branch/",
    "commit": f"POST /api/models/{NAME}/commit/int8",
    "first look": f"GET /api/models/{NAME}/revision/int8",
}
FAULTS: dict[str, dict[str, Any]] = {"500": {"status": 500}, "answer lost": {"kind": "drop_after"}}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_the_branch_has_one_commit_more(
    place: str, fault: str, hub: HubServer, api: HfApi
) -> None:
    hit = hub.fault(PLACES[place], **FAULTS[fault])
    report = push(api, *both())
    assert hit.hits >= 1
    assert (report.status, states(report)) == (0, ["created", "created"]), report
    repository = hub.repository(NAME)
    assert repository.commit("int8").parent == repository.head


def test_a_space_replaces_the_page_that_the_hub_begins_it_with(hub: HubServer, api: HfApi) -> None:
    hub.fault("POST /api/repos/create", "drop_after")
    report = push(api, space(), upload(), collection="Well-read students")
    assert (report.status, states(report)) == (0, ["created", "created"]), report
    repository = hub.repository("alice/students", "space")
    assert repository.private
    assert len(repository.commits) == 2
    assert {path: repository.read(path) for path in PAGE} == PAGE
    # The collection is of models.
    (collection,) = hub.state.collections.values()
    assert [item["id"] for item in collection.items] == [NAME]
    hub.clear_requests()
    assert states(push(api, space())) == ["unchanged"]
    assert only_reads(hub)


def test_a_space_that_somebody_filled_meanwhile_is_not_overwritten(hub: HubServer, api: HfApi) -> None:
    def appear(request: Any) -> None:
        api.create_repo("alice/students", private=True, repo_type="space", space_sdk="static")
        hub.repository("alice/students", "space").commit_directly({"index.html": b"theirs"})

    hub.before("POST /api/repos/create", appear)
    report = push(api, space())
    assert (report.status, states(report)) == (5, ["conflict"])
    assert hub.repository("alice/students", "space").read("index.html") == b"theirs"
