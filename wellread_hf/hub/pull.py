"""Soft labels from the Hub: a labelling stage that somebody else has run."""

import re
import shutil
import tempfile
from pathlib import Path

from huggingface_hub import HfApi

from wellread_hf.errors import StoreError, library_errors_as, one_line
from wellread_hf.hub.calls import Limits, client
from wellread_hf.hub.download import fetch_repository
from wellread_hf.labelling.soft_labels import SoftLabels
from wellread_hf.store.records import RECORD, StageRecord, commit

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*-[0-9a-f]{64}")


def pull_soft_labels(
    repo: str,
    runs: Path,
    revision: str | None = None,
    api: HfApi | None = None,
    deadline: float = Limits().deadline,
) -> Path:
    """Fetches a data set of soft labels and checks it; afterwards it is a finished stage like our own.

    Takes the same `repo`, `revision`, `api` and `deadline` as `verify`; returns the stage's folder in `runs`.

    Raises:
        HubError: A file is damaged, or the Hub does not answer.
        SourceError: The id is not a repository's.
        StoreError: It is no data set of soft labels, or `runs` cannot be written to.
    """
    api = api or client()
    with library_errors_as(StoreError, f"`runs` {runs}", "give a folder that can be written to"):
        runs.mkdir(parents=True, exist_ok=True)
        # Within `runs`, since the last step is a renaming, which works only within one file system.
        beside = tempfile.TemporaryDirectory(prefix=".pull-", dir=runs)
    with beside:
        _, files = fetch_repository(api, repo, "dataset", revision, Path(beside.name) / "cache", deadline)
        whole = Path(beside.name) / "whole"
        whole.mkdir()
        with library_errors_as(StoreError, f"{repo}: expected soft labels, which cannot be read"):
            for path, where in files.items():
                if path == RECORD or path.endswith(".safetensors"):
                    # The name alone: a path from outside could lead out of the folder.
                    shutil.copyfile(where, whole / Path(path).name)
            record = StageRecord.read(whole)
            # It becomes a folder's name: nothing from outside may lead out of `runs`.
            if record.kind != "label" or not _NAME.fullmatch(f"{record.name}-{record.digest}"):
                kind = one_line(str(record.kind))
                raise StoreError(f"{repo}: expected soft labels, got the outputs of a stage {kind!r}")
            SoftLabels.open(whole)
        folder = runs / f"label-{record.name}-{record.digest[:12]}"
        # A folder without a record is a stage that never finished.
        if not (folder / RECORD).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            commit(whole, folder)
    return folder
