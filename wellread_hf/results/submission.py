"""The zip that GLUE's server takes, from stored predictions; and a zip's scores where there are labels."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wellread_hf.data.predictions import LABEL, Predictions, check_test_rows, file_name, parse
from wellread_hf.errors import DataError, SettingsError, StoreError, library_errors_as, nearest
from wellread_hf.metrics.average import Average, average, set_score
from wellread_hf.metrics.scores import scores_of
from wellread_hf.results.tables import RESULTS
from wellread_hf.store.records import StageRecord, file_digest, write_atomically
from wellread_hf.tasks import GLUE_SETS

# The first date that a zip can hold: the same predictions give the same bytes whenever they are packed.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
BASELINE = "baseline"
# Bytes of a file of predictions or of a zip of them; QQP's has 4 MB.
_LARGEST = 1 << 26
_EXPECTED = "expected predictions as this version stores them"
_AGAIN = "run wellread glue again"


@dataclass(frozen=True, slots=True)
class Scored:
    """A submission's scores on the labels that there are."""

    scores: Mapping[str, Mapping[str, float]]  # metrics by set, 0 to 1
    rows: Mapping[str, int]  # labelled rows by set
    average: Average | None  # over the tasks among them; None where AX is alone

    @property
    def name(self) -> str:
        """What the average may be called: a GLUE score if all rows of all tasks have labels."""
        assert self.average is not None
        if all(rows == GLUE_SETS[name].test_rows for name, rows in self.rows.items()):
            return self.average.name("test")
        return f"{self.average.listing}, on the rows with labels"


def submit(runs: Sequence[Path], out: Path, baseline_for_missing: bool = False) -> dict[str, str]:
    """Packs stored test predictions for GLUE's server, and writes `OUT.json`: the source of each file.

    Args:
        runs: Folders of finished `predict` stages, or of `glue` stages, of which each task's seed with
            the best dev score is taken.
        out: The zip; the same predictions give the same bytes.
        baseline_for_missing: Fill what no run predicts: the most frequent class of the training rows, in
            STS-B their mean.

    Returns:
        For each file of the zip its stage's folder, or `baseline`.

    Raises:
        SettingsError: No run is given, a task twice, or one is missing and not to be filled.
        StoreError: A folder is of another stage, or its files are damaged.
        DataError: Rows are missing, doubled or too many, or the set has no such value.
    """
    if not runs:
        raise SettingsError("expected a folder of predictions, runs/glue-... or runs/predict-..., got none")
    if out.is_dir():
        raise SettingsError(f"`out` {out}: expected a file to write, got a folder; give a file's name")
    chosen = _chosen(runs)
    missing = [rows.title for rows in GLUE_SETS.values() if rows.task not in chosen]
    if missing and not baseline_for_missing:
        raise SettingsError(
            f"expected predictions of all of GLUE's tasks, {', '.join(missing)} are missing; predict them "
            "(wellread glue), or fill them with `baseline_for_missing`"
        )
    files: dict[str, str] = {}
    origins: dict[str, str] = {}
    for name, rows in GLUE_SETS.items():
        folder, file = chosen.get(rows.task), f"{rows.title}.tsv"
        if folder is None:
            predictions = Predictions(name, dict.fromkeys(range(rows.test_rows), rows.commonest))
        else:
            predictions = _stored(folder, name)
            check_test_rows(predictions, str(folder))
        files[file], origins[file] = predictions.text, str(folder or BASELINE)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, _packed(files))
        write_atomically(out.with_name(f"{out.name}.json"), json.dumps(origins, indent=1) + "\n")
    except OSError as error:
        raise StoreError(f"{out} cannot be written ({error}); give another place with `out`") from error
    return origins


def compare(submission: Path, labels: Sequence[Path]) -> Scored:
    """Scores a submission against labels, by GLUE's metrics.

    Args:
        submission: A zip as `submit` writes it.
        labels: Files named as in the zip, e.g. `SST-2.tsv`, with the header `index<TAB>label` and
            classes named as in the zip; of all rows or of some.

    Raises:
        DataError: A file is of another form, or has rows that the submission does not predict.
        StoreError: The zip cannot be read.
    """
    if not labels:
        raise SettingsError("expected a file of labels, e.g. SST-2.tsv, got none; give it with `labels`")
    titles = {rows.title: name for name, rows in GLUE_SETS.items()}
    scores: dict[str, Mapping[str, float]] = {}
    counts: dict[str, int] = {}
    for path in labels:
        if path.stem not in titles or path.suffix != ".tsv":
            raise DataError(
                f"{path}: expected a file named as in a submission, that is one of {', '.join(titles)} and "
                f".tsv; the nearest is {nearest(path.stem, titles, 1)}.tsv"
            )
        name = titles[path.stem]
        true = parse(_read(path), name, str(path), LABEL).values
        predicted = parse(_member(submission, path.name), name, f"{submission}: {path.name}").values
        missing = [index for index in true if index not in predicted]
        if missing or not true:
            found = f"{len(missing)} others (the first is row {missing[0]})" if missing else "none"
            raise DataError(f"{path}: expected labels of rows that {submission} predicts, got {found}")
        rows = sorted(true)
        scores[name] = scores_of(
            GLUE_SETS[name].metrics,
            np.array([predicted[row] for row in rows]),
            np.array([true[row] for row in rows]),
        )
        counts[name] = len(rows)
    # AX is no part of GLUE's average.
    averaged = {name: found for name, found in scores.items() if GLUE_SETS[name].dev is not None}
    return Scored(scores, counts, average(averaged) if averaged else None)


def _chosen(runs: Sequence[Path]) -> dict[str, Path]:
    """Returns the folder of predictions of each task."""
    found: dict[str, Path] = {}
    for run in runs:
        with library_errors_as(StoreError, f"{run}: {_EXPECTED}", _AGAIN):
            folders = _predicted(run)
        for task, folder in folders.items():
            if task in found:
                raise SettingsError(
                    f"expected one run of {task}, got {found[task]} and {folder}; leave out one of the two"
                )
            found[task] = folder
    return found


def _predicted(run: Path) -> dict[str, Path]:
    """Returns the folders of predictions that a run stands for, by task."""
    record = StageRecord.read(run)
    if record.kind == "predict":
        return {str(record.outcome["task"]): run}
    if record.kind == "glue":
        names = json.loads(_read(run / RESULTS))["runs"]
        # The server takes one run a task, and the choice may not look at test scores.
        return {task: max((run.parent / name for name in of), key=_dev) for task, of in names.items()}
    raise StoreError(
        f"{run} is the folder of a stage {record.kind!r}: expected predictions, runs/glue-... or "
        "runs/predict-...; wellread glue makes them"
    )


def _dev(folder: Path) -> float:
    """Returns the dev score that a run counts by; the first of equals is taken."""
    scores: Mapping[str, Mapping[str, float]] = StageRecord.read(folder).outcome["dev"]
    return float(np.mean([set_score(name, of) for name, of in scores.items()]))


def _stored(folder: Path, name: str) -> Predictions:
    path = folder / file_name(name, "test")
    with library_errors_as(StoreError, f"{folder}: {_EXPECTED}", _AGAIN):
        known: Any = StageRecord.read(folder).outcome["files"].get(path.name)
    # An edited file would be sent under the name of the run.
    if known is None or not path.is_file() or file_digest(path) != known["sha256"]:
        raise StoreError(
            f"{path} is missing, or is not what its stage wrote; delete {folder / 'stage.json'} and run "
            "wellread glue again"
        )
    return parse(_read(path), name, str(path))


def _packed(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    # Stored, not compressed: compressors differ between builds of Python, and this is 5 MB.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, _NO_TIME)
            # As on Unix, whatever system packs it.
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, text)
    return buffer.getvalue()


def _member(submission: Path, name: str) -> str:
    _check_file(submission)
    subject = f"{submission}: expected a zip of predictions with {name}"
    with library_errors_as(StoreError, subject, "wellread submission writes one"):
        # A zip may claim any sizes; no more than this is unpacked.
        with zipfile.ZipFile(submission) as archive, archive.open(name) as member:
            content = member.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise StoreError(f"{subject} of at most {_LARGEST >> 20} MB, got more; pack predictions alone")
        return content.decode()


def _read(path: Path) -> str:
    _check_file(path)
    with library_errors_as(StoreError, f"{path} cannot be read", "check the path, or write it again"):
        return path.read_text(encoding="utf-8")


def _check_file(path: Path) -> None:
    """Refuses what is no regular file, or is larger than any file of predictions."""
    if not path.is_file():
        raise StoreError(f"expected a file {path}, found none there; check the path")
    if path.stat().st_size > _LARGEST:
        raise StoreError(
            f"{path}: expected at most {_LARGEST >> 20} MB, got more; give a file of predictions"
        )
