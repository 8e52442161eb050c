"""The cards of the 24 from records alone, and the records of a family to keep where its weights are not."""

import re
from dataclasses import replace
from pathlib import Path

from wellread_hf.errors import StoreError
from wellread_hf.hub.cards.facts import Facts, Sibling
from wellread_hf.hub.cards.run_facts import facts_of_run, facts_of_student
from wellread_hf.hub.cards.siblings import encoders_of, siblings_table, task_title
from wellread_hf.hub.cards.text import without_places
from wellread_hf.results.charts import draw_panels, metric_in_words
from wellread_hf.results.figures import Mark
from wellread_hf.results.lineage import Stages, each_read_once
from wellread_hf.results.tables import CHART, TABLE
from wellread_hf.store.records import RECORD, canonical_json
from wellread_hf.students import STUDENTS, Student

_RECORDS = "records"


def facts_of_family(runs: Path | None, namespace: str | None = None) -> dict[Student, Facts]:
    """Returns the facts of all 24: of those that were made, from their records; weights are not needed.

    Args:
        runs: Folder of stages, or of records that were kept; None: of none.
        namespace: User or organisation.
    """
    found = {student: facts_of_student(student, namespace=namespace) for student in STUDENTS}
    if runs is not None:
        with each_read_once():
            stages = Stages.read(runs.absolute())
            for student, record in encoders_of(stages).items():
                found[student] = facts_of_run(stages.folders[record.digest], namespace=namespace)
    return found


def family_files(runs: Path) -> dict[str, bytes]:
    """Returns what is kept of a family: its records, a table, and a picture where there are scores.

    The records are those of the encoder of each size, and of all that led to them or started from them, with
    the places of this machine taken out of their commands.

    Raises:
        StoreError: There are fewer than two encoders.
    """
    stages = Stages.read(runs)
    encoders = encoders_of(stages)
    if len(encoders) < 2:
        raise StoreError(
            f"expected encoders of two sizes or more in {runs}, found {len(encoders)}; name another"
        )
    files: dict[str, bytes] = {}
    for digest in sorted(_connected(stages, {record.digest for record in encoders.values()})):
        record, folder = stages.records[digest], stages.folders[digest]
        kept = replace(record, command=without_places(record.command))
        files[f"{_RECORDS}/{folder.name}/{RECORD}"] = kept.text.encode()
        # A card reads from it which student a model is.
        if (config := folder / "config.json").is_file():
            files[f"{_RECORDS}/{folder.name}/config.json"] = config.read_bytes()
    first = facts_of_run(stages.folders[next(iter(encoders.values())).digest])
    siblings = [replace(each, this=False) for each in first.siblings]
    files[TABLE] = siblings_table(siblings).markdown.encode()
    if any(each.results for each in siblings):
        files[CHART] = draw_siblings(siblings)
    return files


def _connected(stages: Stages, encoders: set[str]) -> set[str]:
    """Returns the digests of stages that led to encoders, started from them, or led to what did."""
    reads = {
        digest: set(_named(canonical_json(record.settings))) for digest, record in stages.records.items()
    }
    started = {
        record.digest
        for record in stages.of_kind("finetune", "distill")
        if (encoder := stages.producer(stages.start(record)["weights"])) and encoder.digest in encoders
    }
    found: set[str] = set()
    left = [*encoders, *started]
    while left:
        digest = left.pop()
        if digest in stages.records and digest not in found:
            found.add(digest)
            left += reads[digest]
    return found


def _named(settings: str) -> list[str]:
    # Stages are named by digests, alone or within `stage:DIGEST:PATH`.
    return re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", settings)


def draw_siblings(siblings: list[Sibling]) -> bytes:
    """Draws scores against parameters, a panel a task, a series a method and width; returns a PNG."""
    panels: dict[str, dict[str, list[Mark]]] = {}
    for each in siblings:
        for result in each.results:
            title = f"{task_title(result)}: {metric_in_words(result.first.metric)} (%)"
            adopted = ", adopted" if each.tokens is None else ""
            label = f"{result.method}, H = {each.student.hidden}{adopted}, ours on dev"
            values = [100 * value for value in result.first.values]
            panels.setdefault(title, {}).setdefault(label, []).append(
                Mark.of(each.student.parameters(), values)
            )
    return draw_panels({title: (panels[title], {}) for title in sorted(panels)})
