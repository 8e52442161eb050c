"""Finished studies shown in a page of documentation: verdicts, pictures, and each study's page beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError, StoreError, library_errors_as
from wellread_hf.experiments.study.running import CHART, PREDICTIONS, RESULTS, TABLE
from wellread_hf.experiments.study.writing import page as written
from wellread_hf.results.tables import Table
from wellread_hf.store.records import RECORD, StageRecord, write_atomically

# What stands between these two lines is replaced; the rest of the page is its author's.
BEGIN, END = "<!-- studies: begin -->", "<!-- studies: end -->"
_PICTURES_A_ROW = 4


def collect(folders: Sequence[Path], page: Path) -> None:
    """Copies studies to a folder `studies` beside a page and writes their verdicts into it.

    Args:
        folders: Folders runs/study-... and runs/studies-..., which stand for all of theirs.
        page: A Markdown file with the lines `BEGIN` and `END`.

    Raises:
        StoreError: A folder is none of a finished study, or lacks a file.
        SettingsError: No study is named, or two that share name and task; or the page is not there, has no
            such lines, or cannot be written.
    """
    studies = [study for folder in folders for study in _studies(folder.resolve())]
    if not studies:
        raise SettingsError(
            "expected folders of finished studies, runs/study-... or runs/studies-..., got none; name what "
            "recipes/study.py wrote"
        )
    # Through a link its target is changed.
    page = page.resolve()
    try:
        before, after = _around(page)
        found, files = _read(studies)
        for name, contents in files.items():
            there = page.parent / "studies" / name
            there.mkdir(parents=True, exist_ok=True)
            for file, content in contents.items():
                write_atomically(there / file, content)
        write_atomically(page, f"{before}{BEGIN}\n\n{overview(found)}\n\n{END}\n{after}")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"`page` {page}: expected a Markdown file that can be read and written, with room for a folder "
            f"the folder studies beside it, but {error}; name another, or mend that"
        ) from error


def overview(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Writes a table of verdicts, a study a row and a task a column, and shows all pictures under it.

    Args:
        found: What stands in each `results.json`, by the name of its folder.
    """
    tasks = list(dict.fromkeys(study["task"] for study in found.values()))
    rows = []
    for name, title in {study["study"]: study["title"] for study in found.values()}.items():
        cells = [_verdicts(f"{name}-{task}", found.get(f"{name}-{task}")) for task in tasks]
        rows.append([title, *cells])
    width = 95 // _PICTURES_A_ROW
    shown = [
        f'<a href="studies/{name}/{TABLE}">'
        f'<img src="studies/{name}/{CHART}" width="{width}%" alt="{study["title"]}: {study["task"]}"></a>'
        for name, study in found.items()
    ]
    return Table(["study", *tasks], rows).markdown + "\n" + "\n".join(shown)


def _verdicts(name: str, study: Mapping[str, Any] | None) -> str:
    if study is None:
        return "not run"
    counts = [
        f"{_confirmed(asked)} of {len(asked)} {what}confirmed"
        for what, asked in (
            ("", [each for each in study["findings"] if not each["ours"]]),
            ("of our own questions ", [each for each in study["findings"] if each["ours"]]),
        )
        if asked
    ]
    said = [f"**[{', '.join(counts)}](studies/{name}/{TABLE})** ({len(study['seeds'])} seeds)"]
    others: dict[str, list[str]] = {}
    for each in study["findings"]:
        if each["verdict"] != "confirmed":
            why = f" ({each['note']})" if each["note"] else ""
            others.setdefault(each["verdict"] + why, []).append(f"“{each['finding']}”")
    said += [f"{other}: {', '.join(these)}" for other, these in others.items()]
    return "; ".join(said)


def _confirmed(findings: Sequence[Mapping[str, Any]]) -> int:
    return sum(each["verdict"] == "confirmed" for each in findings)


def _studies(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise StoreError(
            f"{folder}: expected the folder of a finished study, study-... or studies-..., found no folder; "
            "check the name"
        )
    record = StageRecord.read(folder)
    if record.kind == "studies":
        return [folder.parent / name for name in record.outcome["studies"]]
    if record.kind != "study":
        raise StoreError(
            f"{folder}: expected a finished study, study-... or studies-..., got a stage {record.kind!r} "
            f"by its {RECORD}; run recipes/study.py and name what it wrote"
        )
    return [folder]


def _read(
    studies: Sequence[Path],
) -> tuple[dict[str, Mapping[str, Any]], dict[str, Mapping[str, bytes]]]:
    """Returns each study's numbers and its files, by name and task."""
    found: dict[str, Mapping[str, Any]] = {}
    files: dict[str, Mapping[str, bytes]] = {}
    for folder in studies:
        for file in (TABLE, CHART, RESULTS, PREDICTIONS):
            if not (folder / file).is_file():
                raise StoreError(
                    f"{folder}: expected {file} in the folder of a finished study, found none; delete the "
                    "folder and run recipes/study.py again, nothing is trained twice"
                )
        study = _numbers(folder)
        name = f"{study['study']}-{study['task']}"
        if name in found:
            raise SettingsError(f"{folder}: expected each study once a task, got {name} twice; leave one out")
        found[name] = study
        files[name] = {file: (folder / file).read_bytes() for file in (TABLE, CHART, RESULTS, PREDICTIONS)}
    return found, files


def _numbers(folder: Path) -> Mapping[str, Any]:
    with library_errors_as(
        StoreError,
        f"{folder}: expected a {RESULTS} as this version writes it, got a damaged or another one",
        "delete the folder and run recipes/study.py again, nothing is trained twice",
    ):
        study: Mapping[str, Any] = json.loads((folder / RESULTS).read_text())
        # What this version cannot write down, it cannot show.
        written(study)
        overview({study["study"]: study})
    return study


def _around(page: Path) -> tuple[str, str]:
    """Returns what stands before and after the place of the studies."""
    if page.exists() and not page.is_file():
        raise SettingsError(f"`page` {page}: expected a Markdown file, got something else; name another")
    lines = page.read_text().splitlines(keepends=True)
    begins, ends = ([at for at, line in enumerate(lines) if line.strip() == mark] for mark in (BEGIN, END))
    if not (len(begins) == len(ends) == 1 and begins[0] < ends[0]):
        raise SettingsError(
            f"`page` {page}: expected a Markdown file with the lines {BEGIN} and {END}, once each in this "
            "order, between which the studies go, got none of that kind; write them where the studies belong"
        )
    return "".join(lines[: begins[0]]), "".join(lines[ends[0] + 1 :])
