"""Ids that are none, hubs that are not there, repositories made to do harm: one sentence each."""

import json
import socket
import time
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from pushes import Wellread, push

from wellread_hf.errors import HubError, SourceError, StoreError
from wellread_hf.hub.download import fetch_repository
from wellread_hf.hub.pull import pull_soft_labels
from wellread_hf.hub.uploads import upload_of_run
from wellread_hf.hub.verify import _check_front_matter, verify

pytestmark = pytest.mark.usefixtures("quick_waits")
NAME = "alice/labels"


def sentence(ended: tuple[int, str, str], status: int) -> str:
    """The one line that a refused command prints."""
    assert (ended[0], ended[1]) == (status, "")
    (line,) = ended[2].splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    return line


@pytest.mark.parametrize(
    "repo",
    ["ns/name@main", "ns/name/extra", "", " ", "ns/na me", "ns/ñame", "..", "ns/..", "../x", "ns/a--b",
     "/ns/name", "ns/", "ns/name\n", "ns/\x1b[31mname", "x" * 200, "https://huggingface.co/ns/name"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["verify", "pull"])
def test_an_id_that_is_none_is_refused_unasked(
    command: str,
    repo: str,
    wellread: Wellread,
    hub: HubServer,
) -> None:
    line = sentence(wellread(command, "--", repo), 2)
    assert "is no repository's id" in line
    assert "--revision" in line
    assert not hub.requests()


@pytest.mark.parametrize("command", ["verify", "pull"])
@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_a_deadline_is_a_time(command: str, minutes: str, wellread: Wellread) -> None:
    assert "--deadline" in sentence(wellread(command, "ns/name", f"--deadline={minutes}"), 2)


@pytest.mark.parametrize("command", ["verify", "pull"])
def test_without_a_hub_the_deadline_ends_it(
    command: str,
    wellread: Wellread,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}"
        )
        started = time.monotonic()
        line = sentence(wellread(command, "ns/name", "--deadline", "0.01"), 1)
    assert time.monotonic() - started < 5
    assert "no success within 1 s" in line


@pytest.mark.parametrize("command", ["verify", "pull"])
def test_a_hub_that_listens_and_says_nothing_is_left_at_the_deadline(
    command: str,
    wellread: Wellread,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        started = time.monotonic()
        line = sentence(wellread(command, "ns/name", "--deadline", "0.02"), 1)
    assert time.monotonic() - started < 6
    assert "Timeout" in line


def test_a_hub_that_never_answered_is_not_waited_for_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("wellread_hf.hub.calls.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("wellread_hf.hub.calls.Pause.wait", lambda self, s=0.0: clock.append(clock.pop() + s))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = HfApi(endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(HubError, match="no success within 60 s"):
            fetch_repository(nobody, "ns/name", "model", None, None, 3600)
    assert clock[0] <= 60


@pytest.mark.parametrize("path", ["a\x1b[31m\nb.json", "../../outside", "/outside"])
def test_names_of_files_cannot_steer_a_terminal_or_lead_out(
    path: str, hub: HubServer, api: HfApi, tmp_path: Path
) -> None:
    api.create_repo(NAME)
    entry = {"type": "file", "oid": "0" * 40, "size": 1, "path": path}
    hub.fault("/tree/", status=200, body=json.dumps([entry]), times=None)
    with pytest.raises(HubError) as refused:
        fetch_repository(api, NAME, "model", None, tmp_path / "cache", 1.0)
    assert str(refused.value).isprintable()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("answer", ["[]", "{}", "null", '{"id": 3}', "[" * 100_000, '{"sha": "' + "9" * 40])
def test_an_answer_that_cannot_be_read_is_refused(
    answer: str, hub: HubServer, api: HfApi, tmp_path: Path
) -> None:
    api.create_repo(NAME)
    hub.fault(f"/api/models/{NAME}$", status=200, body=answer, times=None)
    with pytest.raises((HubError, SourceError)):
        fetch_repository(api, NAME, "model", None, tmp_path / "cache", 0.1)


@pytest.mark.parametrize(
    "front",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "a: " + "[" * 50_000,
        "a: " + "{x: " * 500,
        "\n".join("  " * level + "a:" for level in range(200)),
        "<<: &a {<<: *a}",
        "a: [",
        "\x1b[31m: *x",
    ],
    ids=["bomb", "lists", "maps", "blocks", "itself", "cut", "escape"],
)
def test_yaml_that_a_few_lines_make_endless_is_refused(front: str) -> None:
    started = time.monotonic()
    with pytest.raises(Exception, match=r"YAML|expected|flow|alias|special"):
        _check_front_matter(f"---\n{front}\n---\n# A card\n")
    # Without the check the first takes hours; a busy machine takes seconds.
    assert time.monotonic() - started < 30
    _check_front_matter("---\nlicense: mit\nmodel-index:\n- name: x\n  results: [{task: {type: y}}]\n---\n")


def test_a_card_made_to_do_harm_is_refused_by_verify(
    hub: HubServer,
    api: HfApi,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    push(api, upload_of_run(finished, "alice"))
    hostile = "dataset: {type: 'a\\e[31m', name: 'b\\n'}, metrics: [{type: [x], value: 1}]"
    cards = {
        "": "---\na: &a [x]\nb: *a\n---\n",
        "UTF-8": "\ud800",
        "left out": f"---\nmodel-index:\n- name: x\n  results:\n  - {{task: {{type: y}}, {hostile}}}\n---\n",
    }
    for name, card in cards.items():
        content = card.encode("utf-16", "surrogatepass") if name == "UTF-8" else card.encode()
        hub.repository("alice/bert-2-128").commit_directly({"README.md": content})
        if name == "left out":
            (line,) = verify("alice/bert-2-128", with_scores=True, api=api).left_out
            assert line.isprintable()
            continue
        with pytest.raises(HubError, match="metadata cannot be read") as refused:
            verify("alice/bert-2-128", with_scores=True, api=api)
        assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "record", ["[" * 100_000, "[]", "{}", "9" * 5_000, '"\x1b[31m"', '{"kind": "label"}', ""], ids=str
)
def test_a_record_that_cannot_be_read_is_refused(
    record: str, hub: HubServer, api: HfApi, tmp_path: Path
) -> None:
    api.create_repo(NAME, repo_type="dataset")
    hub.repository(NAME, "dataset").commit_directly({"stage.json": record.encode()})
    with pytest.raises(StoreError) as refused:
        pull_soft_labels(NAME, tmp_path / "runs", api=api)
    assert str(refused.value).isprintable()
    assert not list((tmp_path / "runs").iterdir())


def test_runs_that_is_no_folder(api: HfApi, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="`runs`"):
        pull_soft_labels(NAME, tmp_path / "file", api=api)


@pytest.mark.parametrize("run", ["/etc/passwd", "/dev/null", "x" * 5_000, ".", "", "runs/none"])
def test_what_is_no_finished_stage_is_not_published(
    run: str,
    wellread: Wellread,
    hub: HubServer,
) -> None:
    line = sentence(wellread("publish", "--namespace", "alice", "--", run), 2)
    # What nobody would read to its end is cut.
    assert "stage.json" in line or "xxx..." in line
    assert not hub.requests()
