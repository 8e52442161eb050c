"""How like two texts are: the rank correlation of their word frequencies (Turc et al. 2019, domain shift)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from scipy.stats import spearmanr

from wellread_hf.settings import Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask, TransferSet
from wellread_hf.store.stage import Stage


def rank_correlation(first: Iterable[str], second: Iterable[str]) -> float:
    """Returns Spearman's rank correlation of the word frequencies of two texts.

    Words are what lies between spaces, in lower case; the words of either count, with a frequency of 0 where
    a text has not got them.

    Args:
        first: Rows of one text.
        second: Rows of the other.
    """
    counts = [Counter(word for row in rows for word in row.lower().split()) for rows in (first, second)]
    words = sorted(counts[0] | counts[1])
    first_counts, second_counts = ([count[word] for word in words] for count in counts)
    return float(spearmanr(first_counts, second_counts).statistic)


def likeness(task: Task, transfer: Transfer, running: Running) -> Stage:
    """Builds the stage that compares a transfer set with the labelled rows of a task."""
    found_task = FoundTask(task, running)
    transfer_set = TransferSet(transfer, running)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.rows import draw_rows

        loaded = found_task.load()
        labelled = draw_rows(loaded.train, task).texts
        texts = transfer_set.rows(loaded).texts
        found = rank_correlation(map(" ".join, labelled), map(" ".join, texts))
        return {"rank_correlation": found, "rows": len(texts)}

    return Stage(
        kind="likeness",
        name=task.name,
        root=running.runs,
        identity={"task": found_task.identity(), "transfer": transfer_set.identity},
        inputs=[*found_task.locations, *transfer_set.locations],
        work=work,
        solo=True,
    )
