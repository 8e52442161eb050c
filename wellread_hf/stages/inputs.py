"""What stages read: corpora, tasks and transfer sets, found and fingerprinted before anything runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any

from wellread_hf.data.corpus import Source, check_rows, is_to_be_made
from wellread_hf.settings import Running, Task, Transfer
from wellread_hf.store.graph import Stage, find
from wellread_hf.store.places import Location
from wellread_hf.store.progress import bar

TASK = "task"


def identity_of(settings: Any, later: Sequence[str]) -> dict[str, Any]:
    """Says what of a stage's settings decides its result.

    Fields that came `later` are left out at their defaults, so that digests stay what they were before them.
    """
    known = {field.name: field for field in fields(settings)}
    unsaid = {name for name in later if getattr(settings, name) == _default(known[name])}
    said = {name: value for name, value in asdict(settings).items() if name not in unsaid}
    # On two machines `auto` may be two things. Of these fp32 keeps that word: so it has been stored.
    if "optim" in said and settings.optim.bf16:
        said["optim"]["precision"] = "bf16"
    return said


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def find_sources(
    specs: Sequence[str], option: str, running: Running, after: Sequence[Stage]
) -> list[tuple[Source, Location]]:
    """Finds the sources of a corpus or transfer set."""
    sources = [Source.parse(spec) for spec in specs]
    return [
        (source, find(source.name, "dataset", option, running.runs, after, source.revision))
        for source in sources
    ]


def texts_of(sources: Sequence[tuple[Source, Location]]) -> Iterator[tuple[str, ...]]:
    """Streams the rows of all sources, one source after another."""
    for source, location in sources:
        yield from source.texts(location)


def check_sources(sources: Sequence[tuple[Source, Location]]) -> None:
    """Refuses sources whose first rows cannot be used; those of a stage that has yet to run pass.

    Raises:
        DataError: A column is missing, or a row is no text.
    """
    for source, location in sources:
        check_rows(source, location)


def source_identity(sources: Sequence[tuple[Source, Location]]) -> list[dict[str, Any]]:
    """Says what decides the text of sources: content and choice of rows, not where they lie."""
    identities = []
    for source, location in sources:
        said = identity_of(source, later=("rows",))
        identities.append(said | {"name": location.fingerprint, "revision": location.revision})
    return identities


def find_task(task: Task, running: Running, after: Sequence[Stage]) -> list[Location]:
    """Finds a task's data set, or its files in the order train, validation, test."""
    from wellread_hf.data.rows import task_home

    named = {"data": task_home(task), "validation": task.validation, "test": task.test}
    return [
        find(name, "dataset", f"`task.{field}`", running.runs, after, task.revision)
        for field, name in named.items()
        if name is not None
    ]


def check_task(task: Task, locations: Sequence[Location]) -> None:
    """Refuses a task whose rows cannot be used; one that a stage has yet to make passes.

    Raises:
        DataError: A file, split or column is missing, a row is no text, or there are too few to draw from.
        LabelError: A label is missing or none of the classes.
    """
    from wellread_hf.data.rows import draw_rows, facts_of, load_task

    if any(map(is_to_be_made, locations)):
        facts_of(task)
        return
    draw_rows(load_task(task, locations).train, task)


def task_identity(task: Task, locations: Sequence[Location]) -> Mapping[str, Any]:
    """Says what decides a task's rows."""
    places = {"data": None, "validation": task.validation is not None, "test": task.test is not None}
    return (
        identity_of(task, later=("multi_label",))
        | places
        | {"content": [location.fingerprint for location in locations]}
    )


def task_version(task: Task) -> int:
    """Returns the version of a stage that trains for a task's classes, or labels with them."""
    from wellread_hf.data.rows import finds_classes

    # In version 1 they were all numbers up to the largest one, and the numbers of those that have names.
    return 2 if finds_classes(task) else 1


def reading_version(*models: Location | None) -> int:
    """Returns what the version of a stage that reads texts with these models is raised by.

    What was wrong before, weights that did not fit their config and input that the config did not decide,
    was so with models from elsewhere; our own stages save a BERT and its tokenizer.
    """
    others = any(model is not None and not model.fingerprint.startswith("stage:") for model in models)
    return 2 if others else 0


class TransferSet:
    """A transfer set that was found: its identity, its texts, and its labels where it has them."""

    def __init__(self, transfer: Transfer, running: Running, after: Sequence[Stage]) -> None:
        self.transfer = transfer
        self.sources = {
            spec: find_sources([spec], "`transfer.sources`", running, after)
            for spec in transfer.sources
            if spec != TASK
        }

    @property
    def locations(self) -> list[Location]:
        """Where its text lies, the task's own rows apart."""
        return [location for found in self.sources.values() for _, location in found]

    @property
    def identity(self) -> Mapping[str, Any]:
        """Says what decides the transfer set, the task's own rows apart."""
        sources = [
            TASK if spec == TASK else source_identity(self.sources[spec]) for spec in self.transfer.sources
        ]
        return asdict(self.transfer) | {"sources": sources}

    def rows(self, task: Any) -> Any:
        """Reads and draws the rows of the transfer set for a `LoadedTask`.

        Returns:
            `Rows`; their labels are known only if all of them are the task's own.

        Raises:
            DataError: A source has another number of text columns than the task, or there are no rows.
        """
        from wellread_hf.data.rows import Rows, check_columns, draw_rows

        texts: list[tuple[str, ...]] = []
        for spec in self.transfer.sources:
            if spec == TASK:
                texts.extend(task.train.texts)
                continue
            check_columns(self.sources[spec][0][0], task.facts.columns)
            with bar(f"reading {Path(self.sources[spec][0][0].name).name}", "rows") as shown:
                for row in texts_of(self.sources[spec]):
                    texts.append(row)
                    shown.update()
        labels = task.train.labels if self.transfer.sources == (TASK,) else None
        return draw_rows(Rows(texts, labels), self.transfer)

    def check(self, task: Task, task_at: Sequence[Location]) -> None:
        """Refuses sources that cannot be used with a task, before anything runs.

        Raises:
            DataError: A column or text is missing, a source has another number of text columns, or there are
                too few rows to draw from.
        """
        from wellread_hf.data.rows import check_columns, check_draw, facts_of, load_task

        counts: list[int | None] = []
        for spec in self.transfer.sources:
            if spec == TASK:
                made = not any(map(is_to_be_made, task_at))
                counts.append(len(load_task(task, task_at).train.texts) if made else None)
                continue
            source, location = self.sources[spec][0]
            check_columns(source, facts_of(task).columns)
            counts.append(check_rows(source, location))
        known = [count for count in counts if count is not None]
        if len(known) == len(counts):
            check_draw(sum(known), self.transfer)
