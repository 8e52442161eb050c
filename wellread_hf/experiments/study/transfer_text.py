"""The transfer set as a text to read: what the teacher labels, row by row, for pre-training on D_LM = D_T."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wellread_hf.settings import Running, Task, Transfer
from wellread_hf.stages.inputs import TransferSet, find_task, task_identity
from wellread_hf.store.graph import Stage
from wellread_hf.store.records import write_atomically

FILE = "text.jsonl"


def transfer_text(task: Task, transfer: Transfer, running: Running, after: list[Stage]) -> Stage:
    """Builds the stage that writes down the texts of a transfer set's rows in `text.jsonl`, column `text`.

    A row of two texts is two of them.
    """
    task_at = find_task(task, running, after)
    transfer_set = TransferSet(transfer, running, after)

    def work(stage: Stage) -> Mapping[str, Any]:
        from wellread_hf.data.rows import load_task

        texts = [text for row in transfer_set.rows(load_task(task, task_at)).texts for text in row]
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        write_atomically(stage.folder / FILE, "".join(lines))
        return {"texts": len(texts)}

    return Stage(
        kind="text",
        name=task.name,
        root=running.runs,
        identity={
            # However many labelled rows a student gets, the transfer set is the same.
            "task": task_identity(replace(task, train_rows=None, train_seed=0), task_at),
            "transfer": transfer_set.identity,
        },
        after=after,
        work=work,
        solo=True,
    )
