"""A family in one command: from text to a Hub and back, and what is wrong is found before anything trains."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.mark.long
@pytest.mark.slow
def test_a_family_whose_push_was_cut_is_pushed_in_order_once_and_loads_elsewhere(
    tmp_path: Path, hub: HubServer, toy_tokenizer: Any
) -> None:
    """The smaller student is taken over, the other one grows from it."""
    runs, release = tmp_path / "runs", _release(tmp_path / "release", toy_tokenizer)
    words = (*SMOKE, runs, "--adopt", "2-128", "--weights", release, "--publish", USER)
    # One after another; killed where the second one's commit is sent, which the Hub does not take.
    family = [sys.executable, recipe("family"), *map(str, words), "--publishing.jobs", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | hub.environment(tmp_path / "home", USER)
    with subprocess.Popen(family, cwd=ROOT, env=environment) as process:
        second = "^POST /api/models/alice/bert-2-256/commit/"
        hub.before(second, lambda _: process.kill())
        hub.fault(second)
        assert process.wait(timeout=500) == -signal.SIGKILL
    commits = {name: len(hub.repository(f"{USER}/{name}").commits) for name in ("bert-2-128", "bert-2-256")}
    assert commits == {"bert-2-128": 2, "bert-2-256": 1}
    ended = {path: path.stat().st_mtime_ns for path in runs.glob("*/stage.json")}
    again = _run(hub, tmp_path / "home", *words)
    assert again.status == 0, again.err
    assert "bert-2-128" in again.out
    # Nothing is trained or committed twice; each was one commit after the empty first one.
    assert ended == {path: path.stat().st_mtime_ns for path in runs.glob("*/stage.json")}
    for name, made in {"bert-2-128": "weights from elsewhere", "bert-2-256": "grown from"}.items():
        assert len(hub.repository(f"{USER}/{name}").commits) == 2
        card = hub.repository(f"{USER}/{name}").read("README.md").decode()
        assert "**This is a toy**" in card
        assert "| STS-B | PF |" in card
        assert "| STS-B | PD |" in card
        assert made in card
    (collection,) = hub.state.collections.values()
    assert [item["id"] for item in collection.items] == [f"{USER}/bert-2-128", f"{USER}/bert-2-256"]
    assert [item["note"]["text"].rpartition("parameters, ")[2] for item in collection.items] == [
        "weights from elsewhere, adopted",
        "grown from bert-2-128, pre-trained",
    ]
    script = ROOT / "tests/hub/load_family.py"
    loaded = run_command(
        [sys.executable, script, USER, "bert-2-256"], **hub.environment(tmp_path / "fresh", USER)
    )
    assert loaded.status == 0, loaded.err
    assert set(json.loads(loaded.out.splitlines()[-1])["logits"]) == {"bert-2-256"}
    (record,) = runs.glob("family-*/stage.json")
    assert json.loads(record.read_text())["outcome"]["students"].keys() == {"bert-2-128", "bert-2-256"}


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


def _release(folder: Path, tokenizer: Any) -> Path:
    """Saves a toy of 2-128 as Google's release has its files: a bare config, words, and weights."""
    import torch
    from safetensors.torch import save_model
    from transformers import BertConfig, BertForPreTraining

    folder.mkdir()
    words = tokenizer.get_vocab()
    sizes = {"hidden_size": 8, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    torch.manual_seed(0)
    save_model(
        BertForPreTraining(BertConfig(**sizes, vocab_size=len(words))), str(folder / "model.safetensors")
    )
    (folder / "config.json").write_text(json.dumps(sizes | {"vocab_size": len(words)}))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(words, key=words.__getitem__)))
    return folder
