"""What came down is what went up: hashes of a download, which the client does not check, and a load."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from wellread_hf.errors import HubError, SettingsError, SourceError, library_errors_as, one_line
from wellread_hf.hub.calls import Calls, Limits, Pause, bounded_client
from wellread_hf.hub.files import LocalFile, Upload
from wellread_hf.hub.names import is_repo_id
from wellread_hf.hub.repository import files_at, same

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
# The same of an ONNX file, which comes from the Hub where a commit is given.
_ONNX = """
import json, sys, numpy, onnxruntime
name, revision, file = sys.argv[1:]
if revision:
    from huggingface_hub import hf_hub_download
    name = hf_hub_download(name, file, revision=revision)
session = onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"])
inputs = {given.name: numpy.ones((2, 3), numpy.int64) for given in session.get_inputs()}
print(json.dumps(session.run(None, inputs)[0].flatten().tolist()))
"""
# Two processes may pick different kernels; anything that matters is far above it.
_TOLERANCE = 1e-5


def check_download(api: HfApi, calls: Calls, repo: str, upload: Upload, revision: str) -> None:
    """Downloads every file of an upload into a fresh cache and compares the bytes.

    Raises:
        HubError: A file arrived with other bytes.
    """
    # Fresh: a damaged file in the usual cache lies under the name of the right hash.
    with tempfile.TemporaryDirectory(prefix="wellread-") as cache:
        wrong = []
        for path, file in upload.files.items():
            found = _download(api, calls, repo, upload.repo_type, path, revision, Path(cache))
            if LocalFile("file", found).sha256 != file.sha256:
                wrong.append(path)
    if wrong:
        raise HubError(
            f"{repo}: {', '.join(wrong)} came down from {revision[:8]} with other bytes than went up; try "
            "again, and report it to the Hub's support if it stays so"
        )


def check_loads(api: HfApi, repo: str, upload: Upload, revision: str) -> None:
    """Loads a pushed model in a process and cache of its own and compares its logits with the local one's.

    Its ONNX files likewise, where ONNX Runtime is installed.

    Raises:
        HubError: It does not load, or gives other logits.
    """
    folder = Path(str(upload.files["model.safetensors"].content)).parent
    # The weights of a branch are those of main.
    checks: list[tuple[str, str, tuple[str, ...]]] = [] if upload.branch else [(_LOGITS, str(folder), ())]
    if find_spec("onnxruntime") is not None:
        onnx = {path: str(file.content) for path, file in upload.files.items() if path.endswith(".onnx")}
        checks += [(_ONNX, local, (path,)) for path, local in onnx.items()]
    with tempfile.TemporaryDirectory(prefix="wellread-") as home:
        environment = {"HF_HOME": home, "HF_TOKEN": str(api.token), "HF_ENDPOINT": api.endpoint}
        for program, local, file in checks:
            here = _logits(program, [local, "", *file], {})
            there = _logits(program, [repo, revision, *file], environment)
            worst = max(abs(a - b) for a, b in zip(here, there, strict=True))
            # A NaN is no small difference.
            if not worst <= _TOLERANCE:
                raise HubError(
                    f"{repo}: {''.join(file) or 'the model'} loaded from {revision[:8]}: its logits differ "
                    f"from those here by {worst:.2g}; look into it before anyone uses it"
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
        SettingsError: The deadline is not a finite time above 0.
        SourceError: The id is not a repository's.
        HubError: A file is damaged, which the message names and where it lies; or the Hub does not answer, or
            with something that cannot be read.
    """
    if not is_repo_id(repo):
        raise SourceError(
            f"{repo!r} is no repository's id: expected NAME or NAMESPACE/NAME; give a branch, tag or commit "
            "with `revision`"
        )
    if not 0 < deadline < inf:
        raise SettingsError(f"`deadline`: expected a finite number of minutes above 0, got {deadline / 60:g}")
    calls = Calls(Limits(deadline=deadline), Pause())
    unread = library_errors_as(HubError, f"{repo}: what the Hub answered cannot be read")
    with bounded_client(deadline), unread:
        info: Any = calls(
            f"looking at {repo}", lambda: api.repo_info(repo, repo_type=kind, revision=revision or None)
        )
        # One commit for all files, whatever is pushed meanwhile.
        commit = str(info.sha)
        found = {}
        for path, entry in calls(f"listing {repo}", lambda: files_at(api, repo, kind, commit)).items():
            found[path] = _download(api, calls, repo, kind, path, commit, cache)
            if not same(LocalFile("file", found[path]), entry):
                raise HubError(
                    f"{repo}: {one_line(path)} at {one_line(str(found[path].resolve()))} is not what the Hub "
                    "says it is (wrong hash); delete that file and run again"
                )
    return commit, found


def _download(
    api: HfApi, calls: Calls, repo: str, kind: str, path: str, revision: str, cache: Path | None
) -> Path:
    return Path(
        calls(
            f"downloading {one_line(path)} of {repo}",
            lambda: api.hf_hub_download(repo, path, repo_type=kind, revision=revision, cache_dir=cache),
        )
    )


def _logits(program: str, words: Sequence[str], environment: Mapping[str, str]) -> list[float]:
    # The client reads HF_HOME and HF_ENDPOINT when it is imported, so it takes a process of its own.
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=os.environ | dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # The last line of a traceback is the error itself.
        said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise HubError(f"{words[0]}: does not load in a process of its own: {said[-1][:300]}")
    logits: list[float] = json.loads(done.stdout.splitlines()[-1])
    return logits
