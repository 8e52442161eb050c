"""The collection: one, complete, in order, with a note each, found again."""

from typing import Any

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import only_reads, push, states, upload

from wellread_hf.errors import PublishError, SettingsError
from wellread_hf.hub.names import family_order
from wellread_hf.students import STUDENTS

TITLE = "Well-read students"
NAMES = ("bert-2-128", "bert-4-256", "bert-8-512", "bert-12-768", "bert-2-128-sst2", "a-thing")
pytestmark = pytest.mark.usefixtures("quick_waits")


def gather(api: HfApi, *names: str, **settings: Any) -> Any:
    return push(api, *(upload(name) for name in names), **({"collection": TITLE} | settings))


def listed(hub: HubServer) -> list[str]:
    (collection,) = hub.state.collections.values()
    return [item["id"].removeprefix("alice/") for item in collection.items]


def test_it_lists_every_model_in_order_with_a_note_and_is_found_again(hub: HubServer, api: HfApi) -> None:
    report = gather(api, *NAMES)
    (collection,) = hub.state.collections.values()
    assert report.collection == f"{hub.endpoint}/collections/{collection.slug}"
    assert (collection.title, collection.owner, collection.private) == (TITLE, "alice", True)
    assert listed(hub) == list(NAMES)
    assert [item["note"]["text"] for item in collection.items] == [f"note of {name}" for name in NAMES]
    hub.clear_requests()
    assert gather(api, *NAMES).status == 0
    assert len(hub.state.collections) == 1
    assert only_reads(hub)


def test_the_family_is_in_the_family_order_its_table() -> None:
    names = [student.name for student in STUDENTS]
    assert sorted(reversed(names), key=family_order) == names
    assert sorted(["x", "bert-2-128-sst2", *names], key=family_order) == [*names, "bert-2-128-sst2", "x"]


def test_later_runs_with_some_of_them_keep_the_family_order_all(hub: HubServer, api: HfApi) -> None:
    gather(api, "bert-12-768", "bert-4-256")
    gather(api, "bert-8-512")
    gather(api, "bert-2-128")
    assert listed(hub) == ["bert-2-128", "bert-4-256", "bert-8-512", "bert-12-768"]
    hub.clear_requests()
    gather(api, "bert-12-768")
    assert only_reads(hub)


def test_what_others_put_in_stays_behind_ours(hub: HubServer, api: HfApi) -> None:
    gather(api, "bert-4-256")
    (collection,) = hub.state.collections.values()
    HfApi(endpoint=hub.endpoint, token="token-of-bob").create_repo("bob/theirs", private=False)
    api.add_collection_item(collection.slug, "bob/theirs", "model", note="theirs")
    api.create_repo("alice/bert-2-128", repo_type="dataset")
    # A data set by the name of a model is not that model.
    api.add_collection_item(collection.slug, "alice/bert-2-128", "dataset")
    gather(api, "bert-2-128", "bert-4-256")
    assert [(item["type"], item["id"]) for item in collection.items] == [
        ("model", "alice/bert-2-128"),
        ("model", "alice/bert-4-256"),
        ("model", "bob/theirs"),
        ("dataset", "alice/bert-2-128"),
    ]
    assert collection.items[2]["note"]["text"] == "theirs"


def test_notes_follow_and_long_ones_are_cut(hub: HubServer, api: HfApi) -> None:
    gather(api, "bert-4-256")
    push(api, upload("bert-4-256", note="<b>ü</b>\n" * 200), collection=TITLE)
    (collection,) = hub.state.collections.values()
    assert collection.items[0]["note"]["text"] == ("<b>ü</b>\n" * 200)[:500]


PLACES = {
    "look": "GET /api/collections[?]",
    "creation": "POST /api/collections$",
    "read": "GET /api/collections/",
    "addition": "POST /api/collections/.*/items",
    "order": "PATCH /api/collections/",
}
FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "502 of a proxy": {"status": 502, "body": "<html>"},
    "dropped": {"kind": "drop_before"},
    "answer lost": {"kind": "drop_after"},
    "500 though it was done": {"kind": "status_after"},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", PLACES)
def test_whatever_fails_there_is_one_collection_with_each_model_once(
    place: str, fault: str, hub: HubServer, api: HfApi
) -> None:
    if place == "order":
        gather(api, "bert-4-256")
    hit = hub.fault(PLACES[place], **FAULTS[fault])
    assert gather(api, "bert-2-128", "bert-4-256").status == 0
    assert hit.hits == 1
    assert listed(hub) == ["bert-2-128", "bert-4-256"]


def test_a_collection_that_fails_costs_the_collection_alone(hub: HubServer, api: HfApi) -> None:
    hub.fault("POST /api/collections$", status=403, body="Not for you", times=None)
    report = gather(api, "bert-2-128")
    assert (report.status, states(report), report.collection) == (1, ["created"], None)
    assert "Not for you" in report.problem
    hub.clear_faults()
    report = gather(api, "bert-2-128")
    assert (report.status, states(report)) == (0, ["unchanged"])
    assert listed(hub) == ["bert-2-128"]


def test_an_item_that_somebody_takes_out_meanwhile_is_no_crash(hub: HubServer, api: HfApi) -> None:
    gather(api, "bert-2-128")
    (collection,) = hub.state.collections.values()
    hub.after("GET /api/collections/", lambda _: None)
    hub.before("GET /api/collections/", lambda _: collection.items.clear(), nth=2)
    assert gather(api, "bert-2-128").status == 0


def test_no_collection_when_none_is_wanted(hub: HubServer, api: HfApi) -> None:
    assert gather(api, "bert-2-128", collection=None).collection is None
    assert not hub.requests("collections")


@pytest.mark.parametrize(
    "wrong",
    [
        {"collection": ""},
        {"collection": " "},
        {"collection": "x" * 61},
        {"collection": "two\nlines"},
        {"tag": "a b"},
        {"tag": "a..b"},
        {"tag": "-x"},
        {"tag": "x.lock"},
        {"tag": "main"},
        {"tag": ""},
        {"tag": "v1\n"},
        {"jobs": 0},
        {"deadline": 0},
        {"max_wait": -1},
        {"namespace": ""},
        {"namespace": "a/b"},
        {"namespace": "../b"},
        {"namespace": "a b"},
        {"namespace": "ü"},
        {"namespace": "alice\n"},
    ],
    ids=str,
)
def test_settings_that_no_push_can_have_are_refused_before_anything_is_sent(
    wrong: dict[str, Any], hub: HubServer, api: HfApi
) -> None:
    with pytest.raises((PublishError, SettingsError), match=f"`{next(iter(wrong))}`") as refused:
        gather(api, "bert-2-128", **wrong)
    assert refused.value.status == 2
    assert not hub.requests()
