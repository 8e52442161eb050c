"""One table of results, from the same rows as Markdown, as CSV, and on the terminal."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

# Files of a stage that shows results: for people, for programs, and a chart of `results.charts`.
TABLE, RESULTS, CHART = "table.md", "results.json", "chart.png"
# Characters a line where the output is no terminal: every table fits, and takes no more than it needs.
_WIDTH = 1_000


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head, and sentences about them."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]  # as many cells as the head has; None is an empty one
    notes: Sequence[str] = ()

    @property
    def markdown(self) -> str:
        """The table and its notes as Markdown, with a line break at the end."""
        lines = [self.head, ["---"] * len(self.head), *map(_words, self.rows)]
        # A stroke within a cell would begin another.
        table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        notes = ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join([*table, *notes]) + "\n"

    @property
    def csv(self) -> str:
        """The table as CSV."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.head, *self.rows])
        return text.getvalue()

    def show(self, title: str) -> None:
        """Prints the table and its notes."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(title=escape(title))
        for name in self.head:
            # What does not fit goes on below; a folder name that is cut short is of no use.
            shown.add_column(Text(name), overflow="fold")
        for row in self.rows:
            # Bold is the only markup in cells.
            shown.add_row(*(Text(cell.replace("**", "")) for cell in _words(row)))
        console = Console(width=None if Console().is_terminal else _WIDTH)
        console.print(shown)
        for note in self.notes:
            print(f"- {note}")


def _words(row: Sequence[object]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in row]
