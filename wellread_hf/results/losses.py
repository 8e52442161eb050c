"""Losses of finished training stages, and what each took to come down to one loss."""

import json
from collections.abc import Sequence
from pathlib import Path

from wellread_hf.errors import StoreError, library_errors_as
from wellread_hf.results.tables import Table
from wellread_hf.store.records import StageRecord


def trained(folder: Path) -> StageRecord:
    """Reads the record of a stage that trains.

    Raises:
        StoreError: It is unfinished, or trains nothing.
    """
    record = StageRecord.read(folder)
    if not (folder / "log.json").is_file():
        raise StoreError(f"{folder} has no log.json: expected a stage that trains, got {record.kind}")
    return record


def logged(folder: Path, key: str) -> tuple[list[float], list[float]]:
    """Returns the steps of a stage's log that have a value, and the values.

    Raises:
        StoreError: The log is damaged or empty.
    """
    path = folder / "log.json"
    with library_errors_as(StoreError, f"{path} cannot be read as the log of a training", "run it again"):
        entries = [dict(entry) for entry in json.loads(path.read_text())]
        found = [(float(entry["step"]), float(entry[key])) for entry in entries if key in entry]
        if not entries:
            raise StoreError(f"{path}: expected losses, found none; run the training again")
    return [step for step, _ in found], [value for _, value in found]


def reach_table(folders: Sequence[Path]) -> Table | None:
    """Shows what pre-trainings took to reach the highest of their final losses, which all of them reached.

    Args:
        folders: Finished stages.

    Returns:
        None unless all of them, two at least, are pre-trainings on the same blocks with the same share of
        masks: other losses cannot be compared.
    """
    records = [trained(folder) for folder in folders]
    if len(records) < 2 or any(record.kind != "pretrain" for record in records):
        return None
    read = {(*record.settings["packs"], record.settings["mask_share"]) for record in records}
    if len(read) > 1:
        return None
    target = max(record.outcome["held_out_loss"] for record in records)
    rows = []
    for folder, record in zip(folders, records, strict=True):
        found = record.outcome
        share, exact = _reached(folder, target, found["steps"])
        sign = "" if exact else "at most "
        rows.append(
            [
                folder.name,
                f"{found['held_out_loss']:.2f}",
                f"{found['tokens']:,}",
                f"{found['seconds_training']:,.0f}",
                f"{sign}{share * found['tokens']:,.0f}",
                f"{sign}{share * found['seconds_training']:,.0f}",
            ]
        )
    head = [
        "run",
        "held-out loss",
        "tokens",
        "seconds",
        f"tokens to {target:.2f}",
        f"seconds to {target:.2f}",
    ]
    return Table(head, rows, [f"held-out loss in nats a masked word; {target:.2f} is what every run reached"])


def _reached(folder: Path, target: float, steps: int) -> tuple[float, bool]:
    """Returns the share of a run until its held-out loss was `target`, and whether it was above that before.

    Between two evaluations the loss is taken for a straight line.
    """
    # With other objectives beside it, the loss of masked words has a name of its own.
    marks = list(zip(*logged(folder, "eval_mlm_loss"), strict=True)) or list(
        zip(*logged(folder, "eval_loss"), strict=True)
    )
    below = next((number for number, (_, loss) in enumerate(marks) if loss <= target), len(marks) - 1)
    step, loss = marks[below]
    if below == 0:
        return step / steps, False
    before, higher = marks[below - 1]
    return (before + (step - before) * (higher - target) / (higher - loss)) / steps, True
