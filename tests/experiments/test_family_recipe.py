"""A family in one command: from text to a Hub and back, and what is wrong is found before anything trains."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer
from recipe_runs import ROOT, Ran, recipe, run_command, run_here

SMOKE = ("--preset", "smoke", "--running.runs")
USER = "alice"


def _run(hub: HubServer, home: Path, *words: object) -> Ran:
    return run_command([sys.executable, recipe("family"), *words], **hub.environment(home, USER))


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add_user(USER, "token-of-alice")
        yield server


@pytest.mark.slow
def test_a_family_is_pushed_in_order_once_and_loads_elsewhere(tmp_path: Path, hub: HubServer) -> None:
    runs = tmp_path / "runs"
    words = (*SMOKE, runs, "--publish", USER)
    first = _run(hub, tmp_path / "home", *words)
    assert first.status == 0, first.err
    assert "bert-2-128" in first.out
    (family,) = runs.glob("family-*/stage.json")
    ended = {path: path.stat().st_mtime_ns for path in runs.glob("*/stage.json")}
    again = _run(hub, tmp_path / "home", *words)
    assert again.status == 0, again.err
    # Nothing is trained or committed twice; each was one commit after the empty first one.
    assert ended == {path: path.stat().st_mtime_ns for path in runs.glob("*/stage.json")}
    for name in ("bert-2-128", "bert-2-256"):
        assert len(hub.repository(f"{USER}/{name}").commits) == 2
        card = hub.repository(f"{USER}/{name}").read("README.md").decode()
        assert "**This is a toy**" in card
        assert "| STS-B | PF |" in card
        assert "| STS-B | PD |" in card
    script = ROOT / "tests/hub/load_family.py"
    loaded = run_command(
        [sys.executable, script, USER, "bert-2-256"], **hub.environment(tmp_path / "fresh", USER)
    )
    assert loaded.status == 0, loaded.err
    assert set(json.loads(loaded.out.splitlines()[-1])["logits"]) == {"bert-2-256"}
    assert json.loads(family.read_text())["outcome"]["students"].keys() == {"bert-2-128", "bert-2-256"}


def test_a_namespace_without_rights_is_refused_before_anything_trains(tmp_path: Path, hub: HubServer) -> None:
    ran = _run(hub, tmp_path / "home", *SMOKE, tmp_path / "runs", "--publish", "somebody")
    assert ran.status == 4, ran.out
    assert "alice may write to alice" in ran.err
    assert not [*tmp_path.glob("runs/pretrain-*")]


def test_students_of_two_vocabularies_are_refused(
    tmp_path: Path, encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--adopt", "2-128", "--weights", encoder, "--tokenizer", _other_words(tmp_path))
    ran = run_here(capfd, "family", *SMOKE, tmp_path / "runs", *words)
    assert ran.status == 2, ran.out
    assert "for bert-2-128" in ran.err or "for the others" in ran.err
    assert "expected the words of" in ran.err
    assert not [*tmp_path.glob("runs/p*")]


def _other_words(folder: Path) -> Path:
    """Saves a tokenizer of a few words."""
    from transformers import BertTokenizer

    words = folder / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film"]))
    BertTokenizer(str(words)).save_pretrained(folder / "words")
    return folder / "words"
