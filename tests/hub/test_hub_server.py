"""The hub of the tests, spoken to by the unmodified client."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    hf_hub_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

ROOT = Path(__file__).parents[2]
ALICE, BOB = "token-of-alice", "token-of-bob"
CARD = b"---\nlicense: mit\ntags: [bert]\nlanguage: en\n---\n# A model\n"
COMMIT = "POST /api/models/alice/m/commit/"
# Larger than what the fixture takes in one piece, and no multiple of a part.
WEIGHTS = bytes(range(256)) * 1000


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


@pytest.fixture
def repository(hub, api):
    api.create_repo("alice/m", private=False)
    return hub.repository("alice/m")


@pytest.fixture
def published(hub, api, repository):
    files = [add("README.md", CARD), add("model.safetensors", WEIGHTS), add("data/a.txt", b"a" * 1000)]
    api.create_commit("alice/m", files, commit_message="all")
    hub.clear_requests()
    return repository


def fetch(hub: HubServer, folder: Path, path: str, **options: object) -> Path:
    return Path(
        hf_hub_download("alice/m", path, endpoint=hub.endpoint, cache_dir=folder, token=ALICE, **options)
    )


def ask(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str | None = None
) -> tuple[int, bytes]:
    """What another client than the official one gets."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers or {}, method=method)
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


# Repositories


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_new_repository_has_one_commit_and_the_visibility_asked_for(hub, api, kind):
    url = api.create_repo("alice/m", private=True, repo_type=kind)
    assert (url.repo_id, url.repo_type) == ("alice/m", kind)
    info = api.repo_info("alice/m", repo_type=kind)
    assert info.private
    assert [file.rfilename for file in info.siblings] == [".gitattributes"]
    commits = hub.repository("alice/m", kind).commits
    assert [(one.title, one.id) for one in commits] == [("initial commit", info.sha)]
    assert len(info.sha) == 40


def test_creating_twice_is_a_conflict_that_changes_nothing(hub, api, repository):
    with pytest.raises(HfHubHTTPError, match="You already created this model repo") as error:
        api.create_repo("alice/m")
    assert status_of(error) == 409
    assert api.create_repo("alice/m", private=True, exist_ok=True).repo_id == "alice/m"
    assert not repository.private


def test_a_private_repository_is_seen_by_its_owners_only(hub, api):
    api.create_repo("team/m", private=True)
    hub.add_user("carol", "token-of-carol", orgs=["team"])
    assert HfApi(endpoint=hub.endpoint, token="token-of-carol").model_info("team/m").private
    for token, status in ((BOB, 404), (False, 401)):
        stranger = HfApi(endpoint=hub.endpoint, token=token)
        for ask in (stranger.model_info, stranger.list_repo_files):
            with pytest.raises(RepositoryNotFoundError) as error:
                ask("team/m")
            assert status_of(error) == status


def test_who_may_write(hub, api, repository):
    hub.add_user("reader", "token-of-reader", role="read")
    bob, reader = (HfApi(endpoint=hub.endpoint, token=token) for token in (BOB, "token-of-reader"))
    for refused in (
        lambda: bob.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/m"),
        lambda: bob.create_repo("alice/other"),
        lambda: bob.create_tag("alice/m", tag="v1"),
        lambda: reader.create_repo("reader/m"),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            refused()
        assert status_of(error) == 403
    hub.state.users["alice"].may_write = lambda name: name != "alice/m"
    with pytest.raises(HfHubHTTPError, match="403"):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/m")
    assert len(repository.commits) == 1


def test_whoami_gives_the_name_the_organizations_and_the_role(hub, api):
    account = api.whoami()
    assert (account["name"], [org["name"] for org in account["orgs"]]) == ("alice", ["team"])
    assert account["auth"]["accessToken"]["role"] == "write"
    with pytest.raises(HfHubHTTPError, match="Invalid user token") as error:
        HfApi(endpoint=hub.endpoint, token="nobody's").whoami()
    assert status_of(error) == 401


# Commits


def test_large_files_go_in_one_piece_or_in_parts_without_the_token(hub, api, repository):
    api.create_commit(
        "alice/m", [add("m.safetensors", WEIGHTS), add("v.bin", b"\0" * 50_000)], commit_message="m"
    )
    assert [len(hub.requests(f"PUT /bucket/.*/{number}[?]")) for number in range(1, 9)] == [1] * 7 + [0]
    assert len(hub.requests("^POST /bucket/.*/complete")) == 1
    stored = hub.requests(" /bucket/")
    assert {record.origin for record in stored} == {"storage"}
    assert ALICE not in str(stored)
    assert ALICE in str(hub.requests(COMMIT))
    assert sum(record.received for record in stored if record.method == "PUT") == len(WEIGHTS) + 50_000
    assert repository.read("m.safetensors") == WEIGHTS
    assert repository.files()["v.bin"].lfs


def test_the_storage_refuses_a_token_a_wrong_signature_and_other_bytes(hub, api, repository):
    content = b"some bytes"
    good = hub.state.signed("PUT", f"/bucket/{repository.key}/{hashlib.sha256(content).hexdigest()}")
    for url, body, headers, status in (
        (good, content, {"Authorization": f"Bearer {ALICE}"}, 400),
        (good[:-1], content, {}, 403),
        (good, b"other bytes", {}, 400),
    ):
        assert ask(url, body, headers, "PUT")[0] == status
    assert not repository.has(hashlib.sha256(content).hexdigest())


def test_a_commit_cannot_point_to_an_object_that_was_never_sent(hub, api, repository):
    lines = [
        {"key": "header", "value": {"summary": "m"}},
        {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 1}},
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    url = f"{hub.endpoint}/api/models/alice/m/commit/main"
    status, said = ask(url, body, {"Authorization": f"Bearer {ALICE}"})
    assert status == 400
    assert b"not in the storage" in said
    assert len(repository.commits) == 1


# Reading


def test_trees_and_paths(hub, api, published):
    tree = {entry.path: entry for entry in api.list_repo_tree("alice/m", recursive=True)}
    assert sorted(tree) == [".gitattributes", "README.md", "data", "data/a.txt", "model.safetensors"]
    large = tree["model.safetensors"]
    assert (large.lfs.sha256, large.size) == (hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    blob = b"blob %d\0" % len(CARD) + CARD
    assert tree["README.md"].blob_id == hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    assert [entry.path for entry in api.list_repo_tree("alice/m", "data")] == ["data/a.txt"]
    assert [entry.path for entry in api.get_paths_info("alice/m", ["data", "no"])] == ["data"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("alice/m", "no"))


def test_long_lists_come_in_pages():
    with HubServer(page_size=2) as hub:
        hub.add_user("alice", ALICE)
        api = HfApi(endpoint=hub.endpoint, token=ALICE)
        api.create_repo("alice/m")
        hub.repository("alice/m").commit_directly({f"{name}.txt": b"" for name in "abcd"})
        assert len(list(api.list_repo_tree("alice/m", recursive=True))) == 5
        assert len(hub.requests("/tree/")) == 3
        for name in "abc":
            api.create_collection(name, namespace="alice")
        assert [one.title for one in api.list_collections(owner="alice")] == ["a", "b", "c"]


def test_missing_files_and_revisions_differ(hub, api, published, tmp_path):
    with pytest.raises(EntryNotFoundError) as error:
        fetch(hub, tmp_path, "no.txt")
    assert error.value.response.headers["X-Repo-Commit"] == published.head
    with pytest.raises(RevisionNotFoundError):
        fetch(hub, tmp_path, "README.md", revision="no")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("bert", "README.md", endpoint=hub.endpoint, cache_dir=tmp_path, token=ALICE)


@pytest.mark.parametrize(("path", "origin"), [("data/a.txt", "api"), ("model.safetensors", "storage")])
def test_a_download_that_ends_early_is_resumed_by_a_range(
    hub, published, tmp_path, quick, monkeypatch, path, origin
):
    # What the client has of an unfinished chunk it throws away.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    pattern = f"^GET /{'bucket' if origin == 'storage' else 'alice'}/"
    fault = hub.fault(pattern, "drop_answer", at=700, clean=True)
    assert fetch(hub, tmp_path, path).read_bytes() == published.read(path)
    assert fault.hits == 1
    first, second = hub.requests(pattern)
    assert (first.status, second.status, first.origin) == (200, 206, origin)
    assert ("range", "bytes=700-") in [(name.lower(), text) for name, text in second.headers]


# Cards


@pytest.mark.parametrize(
    ("front", "complaint"),
    [
        ("- a list", "must be a mapping"),
        ("a: [", "Invalid YAML"),
        ("license: {a: b}", '"license" must be a string'),
        ("license: my-own", "my-own"),
        ("language: English", "English"),
        ("tags: bert", '"tags" must be a list of strings'),
        ("base_model_relation: distilled", '"base_model_relation" must be one of'),
        ("model-index: [{name: m, results: [{task: {type: t}}]}]", "dataset.name"),
        (
            "model-index:\n- name: m\n  results:\n"
            "  - {task: {type: t}, dataset: {type: d, name: n}, metrics: [{type: a}]}",
            r"metrics\[0\].value",
        ),
    ],
)
def test_a_bad_card_is_refused_before_and_at_the_commit(hub, api, repository, monkeypatch, front, complaint):
    card = add("README.md", f"---\n{front}\n---\ntext".encode())
    with pytest.raises(ValueError, match=complaint):
        api.create_commit("alice/m", [card], commit_message="m")
    monkeypatch.setattr(api, "_validate_yaml", lambda *_, **__: None)
    with pytest.raises(BadRequestError, match=complaint):
        api.create_commit("alice/m", [card], commit_message="m")
    assert len(repository.commits) == 1


def test_a_card_without_metadata_is_warned_about(hub, api, repository):
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api.create_commit("alice/m", [add("README.md", b"# text")], commit_message="m")
    assert len(repository.commits) == 2


# Collections


def test_titles_may_be_twice_but_not_too_long(hub, api):
    slugs = {api.create_collection("Twice", namespace="alice", exists_ok=True).slug for _ in range(2)}
    assert len(slugs) == 2
    with pytest.raises(BadRequestError, match="at most"):
        api.create_collection("x" * 61, namespace="alice")


# Faults and hooks


def test_an_error_answer_has_its_headers_and_the_form_of_the_hub(hub, api, repository, quick):
    message = "You have been rate-limited; you can retry this action in 43 minutes."
    fault = hub.fault(COMMIT, status=429, body=message, headers={"Retry-After": "7"})
    with pytest.raises(HfHubHTTPError, match="43 minutes") as error:
        api.create_commit("alice/m", [add("a", b"a")], commit_message="m")
    response = error.value.response
    assert (status_of(error), response.headers["Retry-After"]) == (429, "7")
    assert response.json() == {"error": message}
    assert response.headers["X-Error-Message"] == message
    assert (fault.hits, len(repository.commits)) == (1, 1)


def test_a_failure_of_the_hub_itself_is_not_taken_for_an_answer():
    def use():
        with HubServer() as hub:
            hub.add_user("alice", ALICE)
            HfApi(endpoint=hub.endpoint, token=ALICE).create_repo("alice/m")
            url = f"{hub.endpoint}/api/models/alice/m/preupload/main"
            assert ask(url, b"{}", {"Authorization": f"Bearer {ALICE}"})[0] == 500

    with pytest.raises(AssertionError, match="KeyError"):
        use()


# The log, and whole programs


def test_the_log_knows_who_asked_what_and_what_came_of_it(hub, api, repository):
    hub.clear_requests()
    api.upload_file(path_or_fileobj=b"hello", path_in_repo="a.txt", repo_id="alice/m")
    steps = [record.path.split("/")[-2] for record in hub.requests()]
    assert steps == ["preupload", "commit"]
    commit = hub.requests(COMMIT)[0]
    assert (commit.user, commit.status, commit.origin) == ("alice", 200, "api")
    assert commit.received > 100
    assert ask(f"{hub.endpoint}/api/agent-harnesses")[0] == 200
    assert len(hub.requests()) == 2


def run(hub: HubServer, home: Path, program: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=hub.environment(home, "alice"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_published_dataset_loads_in_a_fresh_process(hub, api, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    api.create_repo("alice/d", private=True, repo_type="dataset")
    pa.parquet.write_table(pa.table({"text": ["a", "b"], "label": [0, 1]}), tmp_path / "t.parquet")
    card = b"---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n---\n"
    files = [add("README.md", card), CommitOperationAdd("data/t.parquet", tmp_path / "t.parquet")]
    api.create_commit("alice/d", files, commit_message="m", repo_type="dataset")
    assert hub.repository("alice/d", "dataset").files()["data/t.parquet"].lfs
    said = run(
        hub,
        tmp_path / "home",
        "from datasets import load_dataset\nprint(load_dataset('alice/d', split='train')['label'][:])\n",
    )
    assert json.loads(said) == [0, 1]


def test_a_task_on_the_hub_is_read_as_one_that_lies_here(hub, api, tmp_path):
    api.create_repo("alice/d", private=True, repo_type="dataset")
    table = gzip.compress(b"text,label\n01,NA\nnan,null\n")
    files = [add("train.csv.gz", table), add("validation.csv.gz", table)]
    api.create_commit("alice/d", files, commit_message="m", repo_type="dataset")
    said = run(
        hub,
        tmp_path / "home",
        "from wellread_hf.data.rows import load_task\n"
        "from wellread_hf.store.places import locate\n"
        "from wellread_hf.settings import Task\n"
        "task = Task(name='mine', data='alice/d', columns=('text',))\n"
        "loaded = load_task(task, [locate('alice/d', 'dataset', 'task.data')])\n"
        "print(loaded.facts.labels, loaded.train.texts, loaded.train.labels.tolist())\n",
    )
    assert said == "('NA', 'null') [('01',), ('nan',)] [0, 1]\n"


def test_a_client_that_wants_xet_is_refused_at_once(hub, api, repository, monkeypatch):
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    # Xet's own client wants certificates even where it uses none.
    monkeypatch.delenv("SSL_CERT_DIR")
    with pytest.raises(Exception, match=r"404|xet|Xet"):
        api.create_commit("alice/m", [add("a.bin", b"\0")], commit_message="m")
    assert len(repository.commits) == 1


def test_the_program_runs_a_command_against_a_hub_and_cleans_up(tmp_path):
    program = (
        "import os, sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo('demo/m');"
        "print(api.whoami()['name'], api.model_info('demo/m').id, os.environ['HF_HOME']); sys.exit(7)"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "tests.hub_server", "--", sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 7, ran.stderr
    address, said = ran.stdout.splitlines()
    assert address.startswith("Hub: http://127.0.0.1:")
    assert said.startswith("demo demo/m ")
    assert list(tmp_path.iterdir()) == []
