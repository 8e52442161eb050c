"""Dev scores shown: on the terminal, as CSV, as Markdown, and as a chart beside the paper's scores."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev

from wellread_hf.errors import StoreError
from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.results.dev_rows import DevScores, Mean, Result, Row
from wellread_hf.results.dev_scores import read_dev_scores
from wellread_hf.results.paper import published_test
from wellread_hf.results.tables import Table
from wellread_hf.store.records import write_atomically
from wellread_hf.students import METHOD_TITLES
from wellread_hf.tasks import GLUE_SETS, parse_glue_tasks

_NOTE = (
    "all scores are dev scores in percent, mean ± standard deviation (n - 1) over seeds; rate: peak learning "
    "rate; trials of a sweep: done/failed/stopped; parameters: of the size with the paper's 30,522 words"
)
_CSV_COLUMNS = (
    "student", "parameters", "method", "task", "metric", "split", "mean", "std", "values", "seeds",
    "learning_rate", "batch_size", "lora_rank", "done", "failed", "stopped", "source",
)  # fmt: skip


def show_scores(
    runs: Sequence[Path], csv: Path | None, markdown_file: Path | None, png: Path | None, tasks: str
) -> None:
    """Prints the dev scores that are found, and writes them to the files that are named.

    Args:
        runs: See `read_dev_scores`.
        csv: A CSV file to write, or None.
        markdown_file: A Markdown file to write, or None.
        png: A picture to write, or None.
        tasks: GLUE's tasks joined by commas, or `all`.

    Raises:
        StoreError: Nothing is found, something is damaged, or a file cannot be written.
    """
    found = read_dev_scores(runs, parse_glue_tasks(tasks))
    rows_table(found).show("dev scores")
    means_table(found.means).show("averages over tasks")
    contents: tuple[tuple[str, Path | None, Callable[[], bytes]], ...] = (
        ("csv", csv, lambda: csv_table(found).csv.encode()),
        ("markdown", markdown_file, lambda: markdown(found).encode()),
        ("png", png, lambda: draw_scores(found.rows)),
    )
    for setting, path, content in contents:
        if path is None:
            continue
        try:
            write_atomically(path, content())
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written ({error}); give another place with `{setting}`"
            ) from error
        print(path)


def rows_table(found: DevScores) -> Table:
    """Tables the rows, with notes on them."""
    head = ["student", "parameters", "method", "task", "metric", "dev (%)", "seeds", "rate", "batch"]
    rows = [
        [
            row.student.name,
            f"{row.student.parameters():,}",
            row.title,
            GLUE_SETS[row.set].title,
            row.metric,
            mean_and_spread(row.values),
            len(row.seeds),
            "not known" if row.learning_rate is None else f"{row.learning_rate:g}",
            "not known" if row.batch_size is None else row.batch_size,
            "/".join(map(str, row.trials or ())),
            row.source,
        ]
        for row in found.rows
    ]
    return Table([*head, "trials", "from"], rows, [_NOTE, *found.notes])


def means_table(means: Iterable[Mean]) -> Table:
    """Tables the averages over tasks."""
    rows = [
        [
            found.student.name,
            f"{found.student.parameters():,}",
            found.title,
            found.name,
            mean_and_spread(found.values),
            len(found.seeds),
            found.source,
        ]
        for found in means
    ]
    return Table(["student", "parameters", "method", "average", "dev (%)", "seeds", "from"], rows)


def markdown(found: DevScores) -> str:
    """Writes all as one page of Markdown."""
    averages = means_table(found.means).markdown
    return f"# Dev scores\n\n{rows_table(found).markdown}\n## Averages\n\n{averages}"


def csv_table(found: DevScores) -> Table:
    """Tables rows and then averages for CSV; an average's task is its name, its metric `average`.

    Columns: student, parameters, method, task, metric, split, mean and std (percent; std is empty for
    one seed), values (percent) and seeds joined by spaces, learning_rate, batch_size, lora_rank (empty
    without LoRA), done, failed, stopped, source.
    """
    rows = []
    for row in found.rows:
        setting = [row.learning_rate, row.batch_size, row.lora_rank, *(row.trials or (None, None, None))]
        rows.append([*_scored(row, GLUE_SETS[row.set].title, row.metric), *setting, row.source])
    for each in found.means:
        setting = [None, None, each.lora_rank, None, None, None]
        rows.append([*_scored(each, each.name, "average"), *setting, each.source])
    return Table(_CSV_COLUMNS, rows)


def _scored(of: Result, task: str, metric: str) -> list[object]:
    return [
        of.student.name,
        of.student.parameters(),
        # As settings name it, since programs read this.
        of.method,
        task,
        metric,
        "dev",
        mean(of.values),
        stdev(of.values) if len(of.values) > 1 else None,
        " ".join(map(str, of.values)),
        " ".join(map(str, of.seeds)),
    ]


def draw_scores(rows: Sequence[Row]) -> bytes:
    """Draws each set's first metric on dev against parameters, and the paper's test scores; returns a PNG.

    The paper's are those of the release (PF), and PF and PD of Table 3.
    """
    # Only a picture needs matplotlib, which takes a second to load.
    from wellread_hf.results.charts import draw_panels, metric_in_words
    from wellread_hf.results.figures import Mark

    panels = {}
    for name, of in GLUE_SETS.items():
        # One number a set: of two metrics the first, which has chosen the checkpoint.
        firsts = [row for row in rows if (row.set, row.metric) == (name, of.metrics[0])]
        ours: dict[str, list[Mark]] = {}
        for row in sorted(firsts, key=lambda row: row.student.parameters()):
            marks = ours.setdefault(f"{row.title}, ours on dev (± 1 standard deviation)", [])
            marks.append(Mark.of(row.student.parameters(), row.values))
        theirs = {
            f"{title}, Turc et al. 2019 on test": published_test(method, name)
            for method, title in METHOD_TITLES.items()
        }
        paper = {
            label: [Mark(place=student.parameters(), mean=score) for student, score in scores.items()]
            for label, scores in theirs.items()
            if scores
        }
        if ours:
            panels[f"{of.title}: {metric_in_words(of.metrics[0])} (%)"] = (ours, paper)
    return draw_panels(panels)
