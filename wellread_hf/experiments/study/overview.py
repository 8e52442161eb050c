"""Finished studies shown in a page of documentation: verdicts, pictures, and each study's page beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError, StoreError, library_errors_as
from wellread_hf.experiments.study.page import page as page_of
from wellread_hf.experiments.study.studies import PREDICTIONS
from wellread_hf.results.tables import CHART, RESULTS, TABLE, Table
from wellread_hf.store.records import RECORD, StageRecord, write_atomically

# What stands between these two lines is replaced; the rest of the page is its author's.
BEGIN, END = "<!-- studies: begin -->", "<!-- studies: end -->"
_FILES = (TABLE, CHART, RESULTS, PREDICTIONS)
# Percent of a page's width that a picture takes: four in a row, and room between them.
_WIDTH = 23
_AGAIN = "delete the folder and run wellread study again, nothing is trained twice"


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
            "wellread study wrote"
        )
    # Through a link its target is changed.
    page = page.resolve()
    try:
        before, after = _around(page)
        found = _read(studies)
        for name, (folder, _) in found.items():
            there = page.parent / "studies" / name
            there.mkdir(parents=True, exist_ok=True)
            for file in _FILES:
                write_atomically(there / file, (folder / file).read_bytes())
        shown = overview({name: numbers for name, (_, numbers) in found.items()})
        write_atomically(page, f"{before}{BEGIN}\n\n{shown}\n\n{END}\n{after}")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"`page` {page}: expected a Markdown file that can be read and written, with room for a folder "
            f"studies beside it, got: {error}; name another page"
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
    pictures = [
        f'<a href="studies/{name}/{TABLE}">'
        f'<img src="studies/{name}/{CHART}" width="{_WIDTH}%" alt="{study["title"]}: {study["task"]}"></a>'
        for name, study in found.items()
    ]
    return Table(["study", *tasks], rows).markdown + "\n" + "\n".join(pictures)


def _verdicts(name: str, study: Mapping[str, Any] | None) -> str:
    if study is None:
        return "not run"
    counts, others = [], dict[str, list[str]]()
    for what, ours in (("", False), ("of our own questions ", True)):
        verdicts = [each["verdict"] for each in study["findings"] if each["ours"] == ours]
        if verdicts:
            counts.append(f"{verdicts.count('confirmed')} of {len(verdicts)} {what}confirmed")
    for each in study["findings"]:
        if each["verdict"] != "confirmed":
            why = f" ({each['note']})" if each["note"] else ""
            others.setdefault(each["verdict"] + why, []).append(f"“{each['finding']}”")
    parts = [f"**[{', '.join(counts)}](studies/{name}/{TABLE})** ({len(study['seeds'])} seeds)"]
    return "; ".join(parts + [f"{verdict}: {', '.join(these)}" for verdict, these in others.items()])


def _studies(folder: Path) -> list[Path]:
    expected = f"{folder}: expected the folder of a finished study, study-... or studies-..., "
    if not folder.is_dir():
        raise StoreError(f"{expected}found no folder; check the name")
    record = StageRecord.read(folder)
    if record.kind == "studies":
        return [folder.parent / name for name in record.outcome["studies"]]
    if record.kind != "study":
        raise StoreError(
            f"{expected}got a stage {record.kind!r} by its {RECORD}; run wellread study and name what it "
            "wrote"
        )
    return [folder]


def _read(studies: Sequence[Path]) -> dict[str, tuple[Path, Mapping[str, Any]]]:
    """Returns each study's folder and numbers, by name and task."""
    found: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for folder in studies:
        for file in _FILES:
            if not (folder / file).is_file():
                raise StoreError(
                    f"{folder}: expected {file} in the folder of a finished study, found none; {_AGAIN}"
                )
        with library_errors_as(
            StoreError, f"{folder}: expected a {RESULTS} as this version writes it", _AGAIN
        ):
            study: Mapping[str, Any] = json.loads((folder / RESULTS).read_text())
            # What this version cannot write down, it cannot show.
            page_of(study)
            overview({study["study"]: study})
        name = f"{study['study']}-{study['task']}"
        if name in found:
            raise SettingsError(f"{folder}: expected each study once a task, got {name} twice; leave one out")
        found[name] = (folder, study)
    return found


def _around(page: Path) -> tuple[str, str]:
    """Returns what stands before and after the place of the studies."""
    if page.exists() and not page.is_file():
        raise SettingsError(f"`page` {page}: expected a Markdown file, got something else; name another")
    lines = page.read_text().splitlines(keepends=True)
    begins, ends = ([at for at, line in enumerate(lines) if line.strip() == mark] for mark in (BEGIN, END))
    if not (len(begins) == len(ends) == 1 and begins[0] < ends[0]):
        raise SettingsError(
            f"`page` {page}: expected a Markdown file with the lines {BEGIN} and {END}, once each in this "
            "order, got none of that kind; write them where the studies belong"
        )
    return "".join(lines[: begins[0]]), "".join(lines[ends[0] + 1 :])
