"""The transfer set: text that teachers label, of several sources, without held-out rows."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from wellread_hf.data.corpus import check_rows
from wellread_hf.settings import Running, Transfer
from wellread_hf.stages.guarding import VERSION, Guarded, counted, fingerprint
from wellread_hf.stages.inputs import FoundTask, Sources
from wellread_hf.store.progress import bar
from wellread_hf.store.records import digest
from wellread_hf.store.stage import Location

TASK = "task"


class TransferSet:
    """A transfer set that was found: its identity, its texts, and its labels where it has them."""

    def __init__(self, transfer: Transfer, running: Running) -> None:
        self.transfer, self.runs = transfer, running.runs
        self.sources = {
            spec: Sources([spec], "transfer.sources", running) for spec in transfer.sources if spec != TASK
        }

    @property
    def locations(self) -> list[Location]:
        """Where its text lies, the task's own rows apart."""
        return [location for source in self.sources.values() for location in source.locations]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the transfer set, the task's own rows apart."""
        sources = [TASK if spec == TASK else self.sources[spec].identity for spec in self.transfer.sources]
        said = asdict(self.transfer) | {"sources": sources}
        # What was stored before there was a guard keeps its digest where there is none.
        return said | {"guard": VERSION} if said.pop("guard") else said

    def rows(self, task: Any) -> Any:
        """Reads and draws the rows of the transfer set for a `LoadedTask`.

        Returns:
            `Rows`; their labels are known only if all of them are the task's own.

        Raises:
            DataError: A source has another number of text columns than the task, or there are no rows.
        """
        from wellread_hf.data.draws import draw_rows
        from wellread_hf.data.rows import Rows

        # Text from elsewhere has no labels, and a hard-label loss needs one for each row.
        labels = task.train.labels if self.transfer.sources == (TASK,) else None
        found = self._guarded(task).find_once(self.runs) if self.transfer.guard else None
        with bar("reading the transfer set", "rows") as shown:
            every = Rows([*counted(self._texts(task), shown)], labels)
        return draw_rows(every, self.transfer, found.numbers if found else ())

    def stream(self, task: Any) -> Any:
        """Counts and draws the rows of the transfer set for a `LoadedTask`, and keeps none.

        Returns:
            `DrawnTexts`.

        Raises:
            DataError: As from `rows`.
        """
        from wellread_hf.data.draws import DrawnTexts, drawn
        from wellread_hf.data.guard import Found

        if self.transfer.guard:
            found = self._guarded(task).find_once(self.runs)
        else:
            with bar("reading the transfer set", "rows") as shown:
                found = Found(sum(1 for _ in counted(self._texts(task), shown)))
        chosen = drawn(found.rows, self.transfer, found.numbers)
        return DrawnTexts(lambda: self._texts(task), chosen, found)

    def _guarded(self, task: Any) -> Guarded:
        """Returns its rows beside those of the task's validation and test sets."""
        both = {
            "sources": self.identity["sources"],
            "task": fingerprint(task.train.texts) if TASK in self.transfer.sources else None,
            "held_out": fingerprint(task.held_out),
            "guard": VERSION,
        }
        if not task.facts.tagging:
            return Guarded(digest(both), lambda: self._texts(task), task.held_out)
        # What is nearly the same is found by runs of words in a text.
        held_out = [*map(_as_text, task.held_out)]
        return Guarded(digest(both | {"words": True}), lambda: map(_as_text, self._texts(task)), held_out)

    def _texts(self, task: Any) -> Iterator[tuple[str, ...]]:
        from wellread_hf.data.rows import check_columns

        for spec in self.transfer.sources:
            if spec == TASK:
                yield from task.train.texts
                continue
            check_columns(self.sources[spec].found[0][0], task.facts.columns)
            yield from self.sources[spec].texts(task.facts.tagging)

    def check(self, task: FoundTask) -> None:
        """Refuses sources that cannot be used with a task, before anything runs.

        Raises:
            DataError: A column or text is missing, a source has another number of text columns, or there are
                too few rows to draw from.
        """
        from wellread_hf.data.draws import check_draw
        from wellread_hf.data.rows import check_columns
        from wellread_hf.data.tags import check_words
        from wellread_hf.data.task_facts import facts_of

        check_one = check_words if task.task.tagging else check_rows
        counts: list[int | None] = []
        for spec in self.transfer.sources:
            if spec == TASK:
                # A stage that has yet to run has no rows to count.
                counts.append(None if task.is_pending else len(task.load().train.texts))
                continue
            source, location = self.sources[spec].found[0]
            check_columns(source, facts_of(task.task).columns)
            counts.append(check_one(source, location))
        known = [count for count in counts if count is not None]
        if len(known) == len(counts):
            out = self._guarded(task.load()).find().numbers if self.transfer.guard and any(known) else ()
            check_draw(sum(known), self.transfer, len(out))


def _as_text(words: tuple[str, ...]) -> tuple[str, ...]:
    return (" ".join(words),)
