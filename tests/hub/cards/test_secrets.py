"""Every kind of secret is seen in every kind of text, and nothing else is taken for one."""

import base64
import json
import time
from pathlib import Path

import numpy as np
import pytest
from goldens import GOLDEN

from wellread_hf.hub.cards.secrets import secrets_in
from wellread_hf.hub.cards.text import markdown
from wellread_hf.store.records import StageRecord

HERE = Path(__file__).parents[3]


def _jwt() -> str:
    parts = (json.dumps({part: "x" * 9}).encode() for part in ("alg", "sub"))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "." + "s" * 43


# Put together here, so that nothing in this repository looks like a secret.
SECRETS = {
    "Hub": "hf" + "_" + "aB3" * 11,
    "Hub, organisation": "api" + "_org_" + "aB3" * 11,
    "GitHub": "ghp" + "_" + "aB3d" * 9,
    "GitHub, fine-grained": "github" + "_pat_" + "1" * 22 + "_" + "a" * 59,
    "GitLab": "glpat" + "-" + "aB3d_" * 4,
    "Slack bot": "xoxb" + "-" + "1" * 12 + "-" + "2" * 13 + "-" + "aB3d" * 6,
    "Slack hook": "https://hooks.slack" + ".com/services/T0A/B0A/" + "aB3d" * 6,
    "Google": "AI" + "za" + "aB3d-" * 7,
    "npm": "npm" + "_" + "aB3d" * 9,
    "PyPI": "pypi" + "-" + "AgEIcHlwaS5vcmc" + "aB3d" * 20,
    "JSON Web Token": _jwt(),
    "PGP key": "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----",
    "RSA key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "encrypted key": "-----BEGIN ENCRYPTED " + "PRIVATE KEY-----",
    "OpenSSH key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "PuTTY key": "PuTTY-User-Key" + "-File-3: ssh-rsa",
    "W&B": "WANDB" + "_API_KEY=" + "0a1b" * 10,
    "W&B, in JSON": '"wandb' + '_key": "' + "0a1b" * 10 + '"',
    "W&B, netrc": "machine api.wandb" + ".ai login user password " + "0a1b" * 10,
    "AWS id": "AK" + "IA" + "A1B2" * 4,
    "AWS key": "AWS_SECRET" + "_ACCESS_KEY=" + "aB3/" * 10,
    "AWS key, quoted": "aws_secret" + '_access_key = "' + "aB3+" * 10 + '"',
    "address": "https://" + "reader:word" + "@example.org/x.git",
    "data base": "postgres://" + "reader:w$rd!" + "@db:5432/x",
    "OpenAI": "sk" + "-proj-" + "aB3d" * 12,
    "Anthropic": "sk" + "-ant-api03-" + "aB3d" * 12,
    "Stripe": "sk" + "_live_" + "aB3d" * 6,
    "SendGrid": "SG" + "." + "a" * 22 + "." + "b" * 43,
    "Azure": "AccountKey" + "=" + "aB3/" * 22,
}


@pytest.mark.parametrize("kind", SECRETS)
def test_every_kind_in_every_kind_of_text(kind: str) -> None:
    secret = SECRETS[kind]
    texts = {
        "alone": secret,
        "a line of a vocabulary": f"the\nquick\n{secret}\nfox\n",
        "a card": f"# A student\n\n```bash\npython recipes/pf.py {secret}\n```\n",
        "a table of a card": f"| {markdown(secret)} |",
        "JSON": json.dumps({"chat_template": f"hello\n{secret}\n"}),
        "JSON of escapes": '{"x": "' + "".join(f"\\u{ord(letter):04x}" for letter in secret) + '"}',
        "JSON, in a list": json.dumps({"labels": ["good", secret]}, indent=2),
    }
    missed = [name for name, text in texts.items() if not secrets_in(text)]
    assert not missed
    for found in secrets_in(secret):
        assert secret not in found


SHA = "0a1b" * 10
ORDINARY = {
    "digests of a record": StageRecord(
        kind="label",
        name="sst2",
        digest="0a1b" * 16,
        settings={"teacher": f"stage:{'12345678' * 8}:.", "task": {"content": [f"hub:wandb/x@{SHA}"]}},
        inputs={"runs/pack-128-0a1b2c3d4e5f": "0a1b" * 16},
        outcome={"sha256": "0a1b" * 16},
        seconds=1.0,
        versions={"torch": "2.13.0+cpu", "commit": "0a1b2c3d4e5f"},
        command=f"recipes/label.py --teacher wandb/x@{SHA}",
    ).text,
    "a commit on the Hub": f"[`wandb/x`](https://huggingface.co/wandb/x) at revision `{SHA}`",
    "AWS's own models": f"amazon/chronos on aws, revision {SHA}",
    "addresses": "https://example.org:8080/a@b and mail:someone@example.org, see http://127.0.0.1:3000",
    "words with hyphens": "a task-specific-student-of-a-very-long-name-and-disk-based-storage",
    "a stage's folder": "runs/finetune-bert-large-uncased-sst2-seed0-0a1b2c3d4e5f",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_text_is_no_secret(name: str) -> None:
    assert not secrets_in(ORDINARY[name])


def test_bytes_in_base64_are_no_secret() -> None:
    held = base64.b64encode(np.random.default_rng(0).bytes(1_000_000)).decode()
    assert not secrets_in(json.dumps({"precompiled_charsmap": held + "+AI" + "za" + "aB3d" * 9}))


@pytest.mark.parametrize("part", ["eyJ", "sk-", "//a", "BEGIN A ", "wandb ", "aws key ", "://a:", "AC", "1"])
def test_a_long_word_of_the_right_letters_takes_no_hours(part: str) -> None:
    started = time.monotonic()
    secrets_in(part * 50_000)
    assert time.monotonic() - started < 5


def test_what_is_published_is_no_secret(shared: Path) -> None:
    files = [*GOLDEN.glob("*.md"), *(HERE / "model_cards").iterdir(), *(HERE / "docs").glob("*.md")]
    # 30,522 WordPieces, some of every script.
    files += shared.glob("models/*/*.json")
    assert len(files) > 25
    assert not [path.name for path in files if secrets_in(path.read_text(encoding="utf-8"))]
