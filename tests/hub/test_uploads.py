"""What must not be pushed is refused here: status 2, one sentence, not a single request."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import HubServer
from pushes import TOKEN, Wellread, only_reads
from safetensors.numpy import load_file, save_file

from wellread_hf.errors import PublishError
from wellread_hf.hub.files import LocalFile, Upload
from wellread_hf.hub.uploads import check_uploads
from wellread_hf.store.records import outputs_of

# Put together here, so that nothing in this repository looks like a token.
LIKE_A_TOKEN = "hf" + "_" + "aB3" * 11


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "runs" / finished.name))


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _link(run: Path) -> None:
    (run / "config.json").rename(run.parent / "config.json")
    (run / "config.json").symlink_to(run.parent / "config.json")


def _linked_picture(run: Path) -> None:
    (run / "scores.png").symlink_to("/etc/hostname")


def _cut(run: Path) -> None:
    os.truncate(run / "model.safetensors", (run / "model.safetensors").stat().st_size - 100)


def _no_safetensors(run: Path) -> None:
    (run / "model.safetensors").rename(run / "pytorch_model.bin")


def _token_in_weights(run: Path) -> None:
    path = run / "model.safetensors"
    save_file(load_file(path), path, metadata={"format": "pt", "note": LIKE_A_TOKEN})


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (_link, "config.json is a link"),
    "linked picture": (_linked_picture, "scores.png is a link"),
    "pickle": (lambda run: (run / "training_args.bin").write_bytes(b"\x80\x04."), "training_args.bin is not"),
    ".env": (lambda run: (run / ".env").write_text("A=b"), ".env is not among the files"),
    "code": (lambda run: (run / "modeling.py").write_text("pass"), "modeling.py is not among the files"),
    "sub-folder": (lambda run: (run / "checkpoint-1").mkdir(), "checkpoint-1 is a folder"),
    "pipe": (lambda run: os.mkfifo(run / "vocab.txt"), "vocab.txt is no ordinary file"),
    "cut weights": (_cut, "is damaged"),
    "no safetensors": (_no_safetensors, "pytorch_model.bin is not among the files"),
    "no tokenizer": (lambda run: (run / "tokenizer.json").unlink(), "tokenizer.json missing"),
    "no architectures": (
        lambda run: _edit(run / "config.json", architectures=None),
        "expected architectures",
    ),
    "damaged tokenizer": (
        lambda run: (run / "tokenizer.json").write_text('{"a": '),
        "tokenizer.json: not JSON",
    ),
    "list for an object": (lambda run: (run / "tokenizer_config.json").write_text("[]"), "a JSON object"),
    "token": (lambda run: _edit(run / "tokenizer_config.json", x=LIKE_A_TOKEN), "looks like a token"),
    # In JSON a line break before it is the letter n.
    "token on a line": (
        lambda run: _edit(run / "tokenizer_config.json", chat_template=f"hello\n{LIKE_A_TOKEN}_"),
        "looks like a token",
    ),
    "our token": (lambda run: _edit(run / "tokenizer_config.json", x=f"a{TOKEN}b"), "looks like a token"),
    "token in the weights": (_token_in_weights, "model.safetensors holds what looks like a token"),
    "no record": (lambda run: (run / "stage.json").unlink(), "found no stage.json"),
}


def _refused(ended: tuple[int, str, str], sentence: str, hub: HubServer) -> None:
    status, out, err = ended
    assert status == 2
    assert not out
    assert not hub.requests()
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line.startswith("error: ")
    assert sentence in line
    assert "Traceback" not in err
    assert LIKE_A_TOKEN not in err


@pytest.mark.parametrize("wrong", WRONG)
def test_files_that_must_not_be_pushed(wrong: str, run: Path, wellread: Wellread, hub: HubServer) -> None:
    spoil, sentence = WRONG[wrong]
    spoil(run)
    _refused(wellread("publish", run, "--namespace", "alice"), sentence, hub)
    assert not Path("push-report.json").exists()


@pytest.mark.parametrize(
    "name",
    ["Bert", "..", "a..b", "a--b", "../x", "x" * 97, "", "a b", "-a", "a-", "a.git", "ü", "a/b", "a\n"],
)
def test_names_that_are_none(name: str, run: Path, wellread: Wellread, hub: HubServer) -> None:
    status, _, err = wellread("publish", run, "--namespace", "alice", f"--name={name}")
    assert status == 2
    assert not hub.requests()
    assert err.count("error: ") == 1
    assert "Traceback" not in err


def test_two_runs_of_one_name(run: Path, wellread: Wellread, hub: HubServer) -> None:
    other = shutil.copytree(run, run.with_name("adopt-bert-2-128-" + "b" * 12))
    ended = wellread("publish", run, other, "--namespace", "alice")
    _refused(ended, "two repositories are named bert-2-128", hub)
    _refused(wellread("publish", run, other, "--namespace", "alice", "--name", "x"), "--name x", hub)


def test_a_folder_that_is_a_link_or_missing(run: Path, wellread: Wellread, hub: HubServer) -> None:
    linked = run.with_name("linked")
    linked.symlink_to(run)
    _refused(wellread("publish", linked, "--namespace", "alice"), "not a link to one", hub)
    _refused(wellread("publish", "nowhere", "--namespace", "alice"), "nowhere", hub)
    _refused(wellread("publish", run), "--namespace is missing", hub)


def test_everything_that_is_wrong_is_reported_at_once(run: Path, wellread: Wellread, hub: HubServer) -> None:
    _edit(run / "tokenizer_config.json", x=LIKE_A_TOKEN)
    (run / "vocab.txt").write_text(LIKE_A_TOKEN)
    ended = wellread("publish", run, "--namespace", "alice")
    _refused(ended, "tokenizer_config.json holds", hub)
    assert "vocab.txt holds" in ended[2]


def test_weights_that_are_not_those_that_were_scored_are_refused(
    run: Path, wellread: Wellread, hub: HubServer
) -> None:
    _edit(run / "stage.json", outputs=outputs_of(run))
    weights = run / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    sentence = f"{weights} was changed since its stage wrote it; delete {run / 'stage.json'} and run"
    _refused(wellread("publish", run, "--namespace", "alice"), sentence, hub)
    content[-1] ^= 1
    weights.write_bytes(content)
    assert wellread("publish", run, "--namespace", "alice", "--dry-run")[0] == 0


@pytest.mark.parametrize("name", ["../../../etc/hostname", "/etc/hostname", "/dev/zero", "."])
def test_a_record_of_files_elsewhere_is_refused(
    name: str, run: Path, wellread: Wellread, hub: HubServer
) -> None:
    outputs = {name: {"sha256": "0" * 64, "size": 0, "mtime_ns": 0, "ctime_ns": 0}}
    _edit(run / "stage.json", outputs=outputs)
    _refused(wellread("publish", run, "--namespace", "alice"), "delete", hub)


@pytest.mark.parametrize("outputs", [7, ["x"], {"model.safetensors": 7}, {"model.safetensors": {}}, "x"])
def test_a_record_of_outputs_that_is_none_is_refused(
    outputs: object, run: Path, wellread: Wellread, hub: HubServer
) -> None:
    _edit(run / "stage.json", outputs=outputs)
    _refused(wellread("publish", run, "--namespace", "alice"), "outputs cannot be read", hub)


def test_what_wellread_card_or_a_kill_left_in_the_folder_is_in_nobodys_way(
    run: Path, wellread: Wellread, hub: HubServer
) -> None:
    _edit(run / "stage.json", outputs=outputs_of(run))
    # A kill between the record and the tidying after it.
    (run / "checkpoints" / "checkpoint-7").mkdir(parents=True)
    (run / "checkpoints" / "checkpoint-7" / "optimizer.pt").write_bytes(b"")
    for name in (".lock", "switches.json", "log.json.123.part", "curve.png"):
        (run / name).write_bytes(b"")
    (run / ".eval_results").mkdir()
    (run / "README.md").write_text("old")
    (run / "log.json").write_text("[]")
    assert wellread("publish", run, "--namespace", "alice")[0] == 0
    files = set(hub.repository("alice/bert-2-128").files())
    assert files >= {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
    assert not files & {"log.json", "stage.json", "switches.json", ".lock"}
    assert not [file for file in files if "checkpoint" in file or file.endswith(".part")]
    assert hub.repository("alice/bert-2-128").read("README.md") != b"old"


def test_the_command_from_plan_to_report(run: Path, wellread: Wellread, hub: HubServer) -> None:
    words = ("publish", run, "--namespace", "alice")
    status, out, _ = wellread(*words, "--dry-run")
    assert (status, only_reads(hub), Path("push-report.json").exists()) == (0, True, False)
    for shown in (
        "plan for",
        hub.endpoint,
        "as alice",
        "private",
        "bert-2-128",
        "create",
        "model.safetensors",
    ):
        assert shown in out
    assert "1.8 MB" in out

    status, out, _ = wellread(*words, "--dry-run", "--json")
    plan = json.loads(out)
    assert (plan["endpoint"], plan["user"], plan["visibility"]) == (hub.endpoint, "alice", "private")
    (planned,) = plan["repositories"]
    assert (planned["state"], "model.safetensors" in planned["files"]) == ("create", True)

    status, out, _ = wellread(*words)
    assert status == 0
    for shown in ("created", "collection: ", "report: push-report.json"):
        assert shown in out
    report = json.loads(Path("push-report.json").read_text())
    (pushed,) = report["repositories"]
    assert pushed["new"] == hub.repository("alice/bert-2-128").head
    assert pushed["files"] == planned["files"]
    assert (
        pushed["bytes"]
        == planned["bytes"]
        == sum(
            entry.size for path, entry in hub.repository("alice/bert-2-128").files().items() if path[0] != "."
        )
    )
    hub.clear_requests()
    status, out, _ = wellread(*words, "--json", "--report", "deep/er/report.json")
    assert (status, only_reads(hub)) == (0, True)
    assert json.loads(out) == json.loads(Path("deep/er/report.json").read_text())

    status, out, _ = wellread(*words, "--public")
    assert (status, "blocked" in out) == (1, True)


def test_a_report_that_cannot_be_written_does_not_hide_what_was_done(
    run: Path, wellread: Wellread, hub: HubServer
) -> None:
    status, out, err = wellread("publish", run, "--namespace", "alice", "--report", "/proc/report.json")
    assert (status, "created" in out) == (2, True)
    assert "what was pushed is pushed" in err


def test_brackets_in_what_the_hub_says_are_no_markup(run: Path, wellread: Wellread, hub: HubServer) -> None:
    hub.fault("/preupload/", status=403, body="no [/red] way [bold]", times=None)
    status, out, _ = wellread("publish", run, "--namespace", "alice")
    assert status == 1
    assert "[/red]" in out
    assert "[bold]" in out


@pytest.mark.parametrize(
    "path", ["README.md", "config.json", "vocab.txt", "stage.json", ".eval_results/glue.yaml"]
)
def test_no_text_goes_up_with_a_secret(path: str) -> None:
    key = "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----"
    held = Upload(name="x", files={path: LocalFile(path, f"first line\n{key}\n".encode())})
    with pytest.raises(PublishError, match="a private key"):
        check_uploads([held], token=None)
