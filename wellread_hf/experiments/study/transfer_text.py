"""The transfer set as a text to read: what the teacher labels, row by row, for pre-training on D_LM = D_T."""

import json
from collections.abc import Mapping
from typing import Any

from wellread_hf.settings import Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask, TransferSet
from wellread_hf.store.records import write_atomically
from wellread_hf.store.stage import Stage

FILE = "text.jsonl"


def transfer_text(task: Task, transfer: Transfer, running: Running) -> Stage:
    """Builds the stage that writes down the texts of a transfer set's rows in `text.jsonl`, column `text`.

    A row of two texts is two of them.
    """
    found_task = FoundTask(task, running)
    transfer_set = TransferSet(transfer, running)

    def work(stage: Stage) -> Mapping[str, Any]:
        texts = [text for row in transfer_set.rows(found_task.load()).texts for text in row]
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        write_atomically(stage.folder / FILE, "".join(lines))
        return {"texts": len(texts)}

    return Stage(
        kind="text",
        name=task.name,
        root=running.runs,
        identity={
            # However many labelled rows a student gets, the transfer set is the same.
            "task": found_task.identity(uses_labels=False),
            "transfer": transfer_set.identity,
        },
        inputs=[*found_task.locations, *transfer_set.locations],
        work=work,
        solo=True,
    )
