"""Rows as text: Markdown, which the terminal shows too, and CSV."""

import csv
import io
from collections.abc import Sequence
from statistics import mean, stdev

from wellread_hf.metrics.average import mean_and_spread
from wellread_hf.results.scores.rows import Gathered, Mean, Row
from wellread_hf.tasks import GLUE_SETS

_NOTE = (
    "all scores are dev scores in percent, mean ± standard deviation (n - 1) over seeds; rate: peak learning "
    "rate; trials of a sweep: done/failed/stopped; parameters: of the size with the paper's 30,522 words"
)
_COLUMNS = (
    "student", "parameters", "method", "task", "metric", "split", "mean", "std", "values", "seeds",
    "learning_rate", "batch_size", "lora_rank", "done", "failed", "stopped", "source",
)  # fmt: skip


def rows_table(gathered: Gathered) -> str:
    """Writes the rows as a table of Markdown, and what there is to say of them as a list."""
    head = ["student", "parameters", "method", "task", "metric", "dev (%)", "seeds", "rate", "batch"]
    lines = [[*head, "trials", "from"]]
    for row in gathered.rows:
        cells = [
            row.student.name,
            f"{row.student.parameters():,}",
            row.title,
            GLUE_SETS[row.set].title,
            row.metric,
            mean_and_spread(row.values),
            str(len(row.seeds)),
            "not known" if row.learning_rate is None else f"{row.learning_rate:g}",
            "not known" if row.batch_size is None else str(row.batch_size),
            "/".join(map(str, row.trials or ())),
            row.source,
        ]
        lines.append(cells)
    return _table(lines) + "\n" + "".join(f"- {note}\n" for note in [_NOTE, *gathered.notes])


def means_table(means: Sequence[Mean]) -> str:
    """Writes the averages over tasks as a table of Markdown."""
    lines = [["student", "parameters", "method", "average", "dev (%)", "seeds", "from"]]
    for found in means:
        cells = [
            found.student.name,
            f"{found.student.parameters():,}",
            found.title,
            found.name,
            mean_and_spread(found.values),
            str(len(found.seeds)),
            found.source,
        ]
        lines.append(cells)
    return _table(lines)


def markdown(gathered: Gathered) -> str:
    """Writes all as one page of Markdown."""
    return f"# Dev scores\n\n{rows_table(gathered)}\n## Averages\n\n{means_table(gathered.means)}"


def csv_text(gathered: Gathered) -> str:
    """Writes rows and then averages as CSV; an average's task is its name, its metric `average`.

    Columns: student, parameters, method, task, metric, split, mean and std (percent; std is empty for
    one seed), values (percent) and seeds joined by spaces, learning_rate, batch_size, lora_rank (empty
    without LoRA), done, failed, stopped, source.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in gathered.rows:
        setting = [row.learning_rate, row.batch_size, row.lora_rank, *(row.trials or (None, None, None))]
        writer.writerow([*_scored(row, GLUE_SETS[row.set].title, row.metric), *setting, row.source])
    for found in gathered.means:
        setting = [None, None, found.lora_rank, None, None, None]
        writer.writerow([*_scored(found, found.name, "average"), *setting, found.source])
    return buffer.getvalue()


def _scored(of: Row | Mean, task: str, metric: str) -> list[object]:
    return [
        of.student.name,
        of.student.parameters(),
        of.method,
        task,
        metric,
        "dev",
        mean(of.values),
        stdev(of.values) if len(of.values) > 1 else None,
        " ".join(map(str, of.values)),
        " ".join(map(str, of.seeds)),
    ]


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *rows = ("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rows]) + "\n"
