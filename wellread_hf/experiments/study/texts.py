"""A study's texts: the transfer set written down to be read, and how similar it is to the task's text."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from scipy.stats import spearmanr

from wellread_hf.settings import Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage

TEXT = "text.jsonl"


def transfer_text(task: Task, transfer: Transfer, running: Running) -> Stage:
    """Builds the stage that writes a transfer set's texts to `text.jsonl`, column `text`: D_LM = D_T.

    A row of two texts becomes two rows.
    """
    found_task, transfer_set = FoundTask(task, running), TransferSet(transfer, running)

    def work(stage: Stage) -> Mapping[str, Any]:
        texts = [text for row in transfer_set.rows(found_task.load()).texts for text in row]
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        write_atomically(stage.folder / TEXT, "".join(lines))
        return {"texts": len(texts)}

    return Stage(
        kind="text",
        name=task.name,
        root=running.runs,
        # However many labelled rows a student gets, the transfer set is the same.
        identity={
            "task": found_task.identity(uses_labels=False, chooses=False),
            "transfer": transfer_set.identity,
        },
        inputs=[*found_task.locations, *transfer_set.locations],
        work=work,
        solo=True,
    )


def similarity(task: Task, transfer: Transfer, running: Running) -> Stage:
    """Builds the stage that compares a transfer set with the labelled rows of a task."""
    found_task, transfer_set = FoundTask(task, running), TransferSet(transfer, running)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.draws import draw_rows

        loaded = found_task.load()
        labelled = draw_rows(loaded.train, task).texts
        texts = transfer_set.rows(loaded).texts
        found = rank_correlation(map(" ".join, labelled), map(" ".join, texts))
        return {"rank_correlation": found, "rows": len(texts)}

    return Stage(
        # What stored stages are called.
        kind="likeness",
        name=task.name,
        root=running.runs,
        identity={"task": found_task.identity(), "transfer": transfer_set.identity},
        inputs=[*found_task.locations, *transfer_set.locations],
        work=work,
        solo=True,
    )


def rank_correlation(first: Iterable[str], second: Iterable[str]) -> float:
    """Returns Spearman's rank correlation of the word frequencies of two texts (Turc et al. 2019).

    Words are separated by spaces and in lower case. Words of either text count, with a frequency of 0 where
    a text lacks them.

    Args:
        first: Rows of one text.
        second: Rows of the other.
    """
    counts = [Counter(word for row in rows for word in row.lower().split()) for rows in (first, second)]
    words = sorted(counts[0] | counts[1])
    first_counts, second_counts = ([count[word] for word in words] for count in counts)
    return float(spearmanr(first_counts, second_counts).statistic)
