"""Finished studies shown in a page of documentation: verdicts, pictures, and each study's page beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wellread_hf.errors import SettingsError, StoreError
from wellread_hf.records import RECORD, StageRecord, write_atomically
from wellread_hf.study.running import CHART, RESULTS, TABLE
from wellread_hf.study.writing import in_words, table

# What stands between these two lines is replaced; the rest of the page is its author's.
BEGIN, END = "<!-- studies: begin -->", "<!-- studies: end -->"
_PICTURES_A_ROW = 4


def collect(folders: Sequence[Path], page: Path) -> None:
    """Copies studies to a folder `studies` beside a page and writes their verdicts into it.

    Args:
        folders: Folders runs/study-... and runs/studies-..., which stand for all of theirs.
        page: A Markdown file with the lines `BEGIN` and `END`.

    Raises:
        StoreError: A folder is none of a finished study.
        SettingsError: The page is not there, or has no such lines; or two studies share name and task.
    """
    found: dict[str, Mapping[str, Any]] = {}
    studies = [study for folder in folders for study in _studies(folder)]
    before, after = _around(page)
    for folder in studies:
        study = json.loads((folder / RESULTS).read_text())
        name = f"{study['study']}-{study['task']}"
        if name in found:
            raise SettingsError(f"{folder}: expected each study once a task, got {name} twice; leave one out")
        found[name] = study
    for name, folder in zip(found, studies, strict=True):
        there = page.parent / "studies" / name
        there.mkdir(parents=True, exist_ok=True)
        for file in (TABLE, CHART, RESULTS):
            write_atomically(there / file, (folder / file).read_bytes())
    write_atomically(page, f"{before}{BEGIN}\n\n{overview(found)}\n\n{END}{after}")


def overview(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Writes a table of verdicts, a study a row and a task a column, and shows all pictures under it.

    Args:
        found: What stands in each `results.json`, by the name of its folder.
    """
    tasks = {study["task"]: f"{study['task']}, {len(study['seeds'])} seeds" for study in found.values()}
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
    return table(["study", *tasks.values()], rows) + "\n\n" + "\n".join(shown)


def _verdicts(name: str, study: Mapping[str, Any] | None) -> str:
    if study is None:
        return "not run"
    found = [(each["finding"], in_words(each["verdict"])) for each in study["findings"]]
    confirmed = sum(verdict == "confirmed" for _, verdict in found)
    others = dict.fromkeys(verdict for _, verdict in found if verdict != "confirmed")
    said = [f"**[{confirmed} of {len(found)} confirmed](studies/{name}/{TABLE})**"]
    said += [
        f"{other}: {', '.join(f'“{finding}”' for finding, verdict in found if verdict == other)}"
        for other in others
    ]
    return "; ".join(said)


def _studies(folder: Path) -> list[Path]:
    record = StageRecord.read(folder)
    if record.kind == "studies":
        return [folder.parent / name for name in record.outcome["studies"]]
    if record.kind != "study":
        raise StoreError(
            f"{folder}: expected a finished study, study-... or studies-..., got a stage {record.kind!r} "
            f"by its {RECORD}; run recipes/study.py and name what it wrote"
        )
    return [folder]


def _around(page: Path) -> tuple[str, str]:
    """Returns what stands before and after the place of the studies."""
    text = page.read_text() if page.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SettingsError(
            f"--page {page}: expected a Markdown file with the lines {BEGIN} and {END}, between which the "
            "studies go, got none of that kind; write them where you want the studies"
        )
    return before, after
