"""What a report is made of: sections with charts and tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wellread_hf.results.svg import Chart
from wellread_hf.results.tables import Table


class Sortable(NamedTuple):
    """A table as the page shows it: sortable, one row marked."""

    caption: str
    table: Table
    marked: int | None = None

    @property
    def numbers(self) -> list[int]:
        """The columns that hold numbers alone; a column without any cell holds none."""
        columns = ([row[place] for row in self.table.rows] for place in range(len(self.table.head)))
        filled = [[str(cell) for cell in column if cell is not None] for column in columns]
        return [
            place
            for place, cells in enumerate(filled)
            if cells and all(cell.lstrip("−-")[:1].isdigit() for cell in cells)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page; empty parts are left out."""

    id: str
    title: str
    text: str
    charts: Sequence[Chart] = ()
    tables: Sequence[Sortable] = ()
    confusions: Sequence[tuple[str, Table, Sequence[Sequence[int]]]] = ()  # caption, counts, tenths of a row
    filters: Sequence[str] = ()
    missing: Sequence[tuple[str, str]] = ()  # what, and the command that makes it
