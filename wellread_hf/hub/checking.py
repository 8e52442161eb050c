"""What came down is what went up: hashes of a download, which the client does not check, and a load."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._validators import validate_repo_id

from wellread_hf.errors import HubError, SettingsError, SourceError, library_errors_as
from wellread_hf.hub.calls import Calls, Patience, Rest
from wellread_hf.hub.client import one_line, patient_client
from wellread_hf.hub.parcels import Parcel

# Runs where nothing of this package is imported, as on a user's machine.
_LOGITS = """
import json, sys, torch, transformers
transformers.utils.logging.set_verbosity_error()
name, revision = sys.argv[1], sys.argv[2] or None
config = transformers.AutoConfig.from_pretrained(name, revision=revision)
model = getattr(transformers, config.architectures[0]).from_pretrained(name, revision=revision).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(name, revision=revision)
with torch.no_grad():
    outputs = model(**tokenizer("the quick brown fox is not lazy at all .", return_tensors="pt"))
# Of a BERT with two heads those of both.
print(json.dumps(torch.cat([logits.flatten() for logits in outputs.to_tuple()]).tolist()))
"""
_TOLERANCE = 1e-5
_REMEDY = "give a branch, tag or commit with `revision`"


def check_download(api: HfApi, calls: Calls, repo: str, parcel: Parcel, revision: str) -> None:
    """Downloads every file of a parcel into a fresh cache and compares the bytes.

    Raises:
        HubError: A file arrived with other bytes.
    """
    wanted = {path: file.sha256 for path, file in parcel.files.items()}
    with tempfile.TemporaryDirectory(prefix="wellread-") as cache:
        found = {
            path: sha256(download(api, calls, repo, parcel.repo_type, path, revision, Path(cache)))
            for path in wanted
        }
    wrong = [path for path in wanted if found[path] != wanted[path]]
    if wrong:
        raise HubError(
            f"{repo}: {', '.join(wrong)} came down from {revision[:8]} with other bytes than went up; try "
            "again, and tell the Hub's support if it stays so"
        )


def check_loads(api: HfApi, repo: str, parcel: Parcel, revision: str) -> None:
    """Loads a pushed model in a process and cache of its own and compares its logits with the local one's.

    Raises:
        HubError: It does not load, or gives other logits.
    """
    local = Path(str(parcel.files["model.safetensors"].content)).parent
    with tempfile.TemporaryDirectory(prefix="wellread-") as home:
        here = _logits(str(local), "", {})
        there = _logits(
            repo, revision, {"HF_HOME": home, "HF_TOKEN": str(api.token), "HF_ENDPOINT": api.endpoint}
        )
    worst = max(abs(a - b) for a, b in zip(here, there, strict=True))
    # A NaN is no small difference.
    if not worst <= _TOLERANCE:
        raise HubError(
            f"{repo}: loaded from {revision[:8]} its logits differ from the local model's by {worst:.2g}; "
            "look into it before anyone uses it"
        )


def fetch_repository(
    api: HfApi, repo: str, kind: str, revision: str | None, cache: Path | None, deadline: float
) -> tuple[str, dict[str, Path]]:
    """Downloads a whole repository and compares every file with the hash that the Hub has of it.

    Args:
        api: The client.
        repo: Its id, from a command line.
        kind: `model` or `dataset`.
        revision: Branch, tag or commit.
        cache: Where to; None: the usual cache.
        deadline: Seconds after which nothing is tried again.

    Returns:
        The commit, and the files by path.

    Raises:
        SettingsError: The deadline is none.
        SourceError: It is no repository's id.
        HubError: A file is damaged, which the message names and where it lies; or the Hub does not answer, or
            with something that cannot be read.
    """
    sound = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo, re.ASCII)
    with library_errors_as(SourceError, f"{repo!r} is no repository's id", _REMEDY):
        if sound is None:
            raise ValueError("expected NAME or NAMESPACE/NAME")
        validate_repo_id(repo)
    if not 0 < deadline < inf:
        raise SettingsError(f"`deadline`: expected a finite number of minutes above 0, got {deadline / 60:g}")
    calls = Calls(Patience(deadline=deadline), Rest())
    unread = library_errors_as(HubError, f"{repo}: what the Hub answered cannot be read")
    with patient_client(deadline), unread:
        info = calls(
            f"looking at {repo}", lambda: api.repo_info(repo, repo_type=kind, revision=revision or None)
        )
        return str(info.sha), _whole(api, calls, repo, kind, str(info.sha), cache)


def _whole(
    api: HfApi, calls: Calls, repo: str, kind: str, revision: str, cache: Path | None
) -> dict[str, Path]:
    entries = calls(
        f"listing {repo}",
        lambda: [
            entry
            for entry in api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
            if isinstance(entry, RepoFile)
        ],
    )
    found = {}
    for entry in entries:
        path = download(api, calls, repo, kind, entry.path, revision, cache)
        good = sha256(path) == entry.lfs.sha256 if entry.lfs is not None else _blob_id(path) == entry.blob_id
        if not good:
            where = one_line(str(path.resolve()), 4_096)
            raise HubError(
                f"{repo}: {one_line(entry.path)} at {where} is not what the Hub says it is (wrong hash); "
                "delete that file and run again"
            )
        found[entry.path] = path
    return found


def download(
    api: HfApi, calls: Calls, repo: str, kind: str, path: str, revision: str, cache: Path | None
) -> Path:
    """Downloads one file; returns where it lies."""
    return Path(
        calls(
            f"downloading {one_line(path)} of {repo}",
            lambda: api.hf_hub_download(repo, path, repo_type=kind, revision=revision, cache_dir=cache),
        )
    )


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _blob_id(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _logits(name: str, revision: str, environment: Mapping[str, str]) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", _LOGITS, name, revision],
        env=os.environ | dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise HubError(f"{name}: does not load in a process of its own: {said[-1][:300]}")
    logits: Any = json.loads(done.stdout.splitlines()[-1])
    return list(logits)
