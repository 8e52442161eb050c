"""Soft labels from the Hub: a labelling stage that somebody else has run."""

import re
import shutil
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, get_token

from wellread_hf.errors import StoreError
from wellread_hf.hub.calls import Calls, Patience, Rest
from wellread_hf.hub.checking import check_files
from wellread_hf.hub.client import patient_client
from wellread_hf.records import RECORD, StageRecord, commit
from wellread_hf.training.soft_labels import SoftLabels

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*-[0-9a-f]{64}")


def pull_soft_labels(repo: str, runs: Path, revision: str | None = None, api: HfApi | None = None) -> Path:
    """Fetches a data set of soft labels and checks it; afterwards it is a finished stage like our own.

    Args:
        repo: Id of the data set.
        runs: Folder of all stages.
        revision: Branch, tag or commit.
        api: Another Hub or user than the environment's.

    Returns:
        The stage's folder.

    Raises:
        HubError: A file is damaged, or the Hub does not answer.
        StoreError: It is no data set of soft labels.
    """
    api = api or HfApi(token=get_token())
    calls = Calls(Patience(), Rest())
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=runs) as beside:
        with patient_client():
            head = calls(f"looking at {repo}", lambda: api.dataset_info(repo, revision=revision)).sha
            files = check_files(api, calls, repo, "dataset", str(head), Path(beside) / "cache")
        whole = Path(beside) / "whole"
        whole.mkdir()
        for path, where in files.items():
            if path == RECORD or path.endswith(".safetensors"):
                shutil.copyfile(where, whole / Path(path).name)
        record = StageRecord.read(whole)
        # It becomes a folder's name: nothing from outside may lead out of `runs`.
        if record.kind != "label" or not _NAME.fullmatch(f"{record.name}-{record.digest}"):
            raise StoreError(f"{repo}: expected soft labels, got what a stage {record.kind!r} made")
        SoftLabels.open(whole)
        folder = runs / f"label-{record.name}-{record.digest[:12]}"
        if not (folder / RECORD).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            commit(whole, folder)
    return folder
