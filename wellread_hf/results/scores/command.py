"""The work of `wellread scores`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from wellread_hf.errors import StoreError
from wellread_hf.results.comparison import print_table
from wellread_hf.results.scores.gather import gather
from wellread_hf.results.scores.picture import draw_scores
from wellread_hf.results.scores.tables import csv_text, markdown, means_table, rows_table
from wellread_hf.store.records import write_atomically
from wellread_hf.tasks import parse_glue_tasks


def show_scores(
    runs: Sequence[Path], csv: Path | None, markdown_file: Path | None, png: Path | None, tasks: str
) -> None:
    """Prints the dev scores that are found, and writes them where they are wanted.

    Args:
        runs: See `gather`.
        csv: A CSV file to write, or None.
        markdown_file: A Markdown file to write, or None.
        png: A picture to write, or None.
        tasks: GLUE's tasks joined by commas, or `all`.

    Raises:
        StoreError: Nothing is found, something is damaged, or a file cannot be written.
    """
    gathered = gather(runs, parse_glue_tasks(tasks))
    print_table("dev scores", rows_table(gathered))
    console = print_table("averages over tasks", means_table(gathered.means))
    contents: tuple[tuple[str, Path | None, Callable[[], bytes]], ...] = (
        ("`csv`", csv, lambda: csv_text(gathered).encode()),
        ("`markdown`", markdown_file, lambda: markdown(gathered).encode()),
        ("`png`", png, lambda: draw_scores(gathered.rows)),
    )
    for option, path, content in contents:
        if path is None:
            continue
        try:
            write_atomically(path, content())
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written ({error}); give another place with {option}"
            ) from error
        console.print(str(path), highlight=False, soft_wrap=True)
