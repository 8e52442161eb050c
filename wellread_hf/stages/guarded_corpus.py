"""The stage that finds rows of validation and test sets in a corpus, which packing leaves out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from wellread_hf.settings import Corpus, Running, Task
from wellread_hf.stages.guarding import VERSION, counted, found_in, report
from wellread_hf.stages.inputs import FoundTask, Sources
from wellread_hf.store.progress import bar
from wellread_hf.store.records import canonical_json, write_atomically
from wellread_hf.store.stage import Stage

_FILE = "found.json"


def guard(corpus: Corpus, tasks: Sequence[Task], running: Running) -> Stage | None:
    """Finds the held-out rows of tasks in a corpus, and those of `corpus.held_out`.

    A pair counts as two texts: a corpus has either without the other.

    Args:
        corpus: The text, and further rows to keep out of it.
        tasks: Whose validation and test rows are kept out, unless `corpus.guard` is off.
        running: How it is carried out.

    Returns:
        The stage; None where there is nothing to keep out.
    """
    found_tasks = [
        FoundTask(replace(task, train_rows=None, train_seed=0), running) for task in tasks if corpus.guard
    ]
    if not found_tasks and not corpus.held_out:
        return None
    sources = Sources(corpus.sources, "corpus.sources", running)
    others = Sources(corpus.held_out, "corpus.held_out", running)

    def held_out() -> Iterator[tuple[str, ...]]:
        rows = [*others.texts(), *(row for task in found_tasks for row in task.load().held_out)]
        return ((text,) for row in rows for text in row)

    def check() -> None:
        sources.check()
        others.check()
        for task in found_tasks:
            task.check()

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.guard import HeldOut

        index = HeldOut(held_out())
        with bar("looking for validation and test rows", "rows") as shown:
            # A pair is packed as one text.
            texts = ((" ".join(row),) for row in sources.texts())
            found = index.find(counted(texts, shown))
        report(found)
        write_atomically(stage.folder / _FILE, canonical_json(asdict(found)))
        return {"rows": found.rows, "held_out_rows": found.counts}

    return Stage(
        kind="guard",
        name="corpus",
        root=running.runs,
        identity={
            "sources": sources.identity,
            "held_out": others.identity,
            "tasks": [task.identity(uses_labels=False, chooses=False) for task in found_tasks],
            "guard": VERSION,
        },
        inputs=[
            *sources.locations,
            *others.locations,
            *(location for task in found_tasks for location in task.locations),
        ],
        work=work,
        check=check,
        solo=True,
    )


def left_out(guarded: Stage | None) -> frozenset[int]:
    """Returns the numbers of the rows that a finished guard has found in its corpus."""
    if guarded is None:
        return frozenset()
    found = found_in(guarded.folder / _FILE)
    assert found is not None  # the graph has checked the files of a finished stage
    return found.numbers
