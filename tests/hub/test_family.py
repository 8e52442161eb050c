"""All 24 go up, and come down by name in a process and cache that know nothing of us.

The models have the layers and heads of their names but a 16th of the width and a few words: the real ones
have 0.5 billion numbers together.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import HubServer
from huggingface_hub import HfApi
from load_family import logits_of
from pushes import CARD, TOKEN, push
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from wellread_hf.hub.files import Upload
from wellread_hf.hub.uploads import model_upload
from wellread_hf.students import STUDENTS, Student

HERE = Path(__file__).parent


def shrunk(student: Student, number: int, finished: Path, root: Path) -> Upload:
    folder = root / student.name
    tokenizer = AutoTokenizer.from_pretrained(finished)
    torch.manual_seed(number)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=student.hidden // 16,
        num_hidden_layers=student.layers,
        num_attention_heads=student.heads,
        intermediate_size=student.hidden // 4,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model_upload(folder, student.name, {"README.md": CARD}, f"student {number}")


@pytest.mark.slow
def test_all_24_load_by_name_in_a_fresh_process_and_then_offline(
    hub: HubServer, api: HfApi, finished: Path, tmp_path: Path, quick_waits: None
) -> None:
    uploads = [shrunk(student, number, finished, tmp_path) for number, student in enumerate(STUDENTS)]
    report = push(api, *reversed(uploads), collection="Well-read students")
    assert report.status == 0
    names = [student.name for student in STUDENTS]
    (collection,) = hub.state.collections.values()
    assert [item["id"] for item in collection.items] == [f"alice/{name}" for name in names]
    here = {name: logits_of(str(tmp_path / name)) for name in names}
    assert len({str(logits) for logits in here.values()}) == 24

    def load(**more: str) -> str:
        done = subprocess.run(
            [sys.executable, HERE / "load_family.py", "alice", *names],
            env=hub.environment(tmp_path / "home", "alice") | more,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    hub.clear_requests()
    fresh = json.loads(load())
    for name in names:
        assert fresh["logits"][name] == pytest.approx(here[name], abs=1e-4)
    assert only_gets(hub)
    assert TOKEN not in str(hub.requests("/bucket/"))
    hub.clear_requests()
    assert json.loads(load(HF_HUB_OFFLINE="1")) == fresh
    assert not hub.requests()


def only_gets(hub: HubServer) -> bool:
    requests = hub.requests()
    return bool(requests) and all(record.method in ("GET", "HEAD") for record in requests)
