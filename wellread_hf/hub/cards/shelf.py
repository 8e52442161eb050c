"""The finished stages of one root, and how one leads to another: method names, seeds, origins."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wellread_hf.errors import StoreError
from wellread_hf.store.records import RECORD, StageRecord, canonical_json

Method = Literal[
    "Basic",
    "Distillation",
    "PF",
    "PD",
    "PD-F",
    "Patient KD",
    "Another distillation",
    "TF",
    "Fine-tuning",
    "Distillation, then fine-tuning",
]

TUNED = ("finetune", "distill")
ENCODERS = ("pretrain", "adopt")
MODELS = (*ENCODERS, *TUNED)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The records of a root's finished stages, by digest."""

    records: Mapping[str, StageRecord]

    @classmethod
    def read(cls, root: Path) -> "Shelf":
        """Reads all records of a root; a neighbour whose record is damaged is left out."""
        found = {}
        for path in sorted(root.glob(f"*/{RECORD}")):
            try:
                record = StageRecord.read(path.parent)
            except StoreError:
                continue
            found[record.digest] = record
        return cls(found)

    def behind(self, fingerprint: str | None) -> StageRecord | None:
        """Returns the record of the stage that a fingerprint names, if it is here."""
        match = re.fullmatch(r"stage:([0-9a-f]+):.*", fingerprint or "", re.DOTALL)
        return self.records.get(match[1]) if match else None

    def lineage(self, record: StageRecord) -> Iterator[StageRecord]:
        """Yields a classifier's record, then those it started from, as far as they are here."""
        found: StageRecord | None = record
        seen = set()
        while found is not None:
            if found.digest in seen:
                raise ValueError(f"stage {found.digest[:12]} starts from itself")
            seen.add(found.digest)
            yield found
            found = self.behind(found.settings["start"]["weights"]) if found.kind in TUNED else None

    def encoder(self, record: StageRecord) -> str | None:
        """Returns the fingerprint of the encoder that a classifier goes back to; None for random weights."""
        fingerprint: str | None = None
        for step in self.lineage(record):
            if step.kind in TUNED:
                fingerprint = step.settings["start"]["weights"]
        return fingerprint

    def fresh_student(self, record: StageRecord) -> str | None:
        """Returns the student that a classifier goes back to where that began with random weights."""
        student: str | None = None
        for step in self.lineage(record):
            if step.kind in TUNED:
                student = step.settings["start"]["student"]
        return student

    def tokenizer(self, record: StageRecord) -> str:
        """Returns the fingerprint of the tokenizer itself, not that of a model it was saved with."""
        held = record.settings["start"] if record.kind in TUNED else record.settings
        # Without one of its own, a student of parts of another model has that model's.
        fingerprint: str = held["tokenizer"] or held["source"]
        step = self.behind(fingerprint)
        saved = step is not None and step.kind in (*TUNED, "pretrain", "init")
        return self.tokenizer(step) if step is not None and saved else fingerprint

    def method(self, record: StageRecord) -> Method:
        """Names a classifier's method as the paper does."""
        weights = record.settings["start"]["weights"]
        before = self.behind(weights)
        # Parts of another model were taken, and the student itself has read nothing.
        parts = before is not None and before.kind == "init"
        if record.kind == "distill":
            # Left out where it is the default: soft labels alone.
            other = record.settings["objective"].get("method")
            if other is not None:
                return "Patient KD" if other == "patient" else "Another distillation"
            if parts:
                return "Another distillation"
            return "Distillation" if weights is None else "PD"
        if weights is None:
            return "Basic"
        if before is None:
            # A stage that is gone may have been an encoder or a distilled student.
            return "Fine-tuning" if weights.startswith("stage:") else "PF"
        if parts:
            return "TF" if before.settings["keep"] == "first" else "Fine-tuning"
        if before.kind == "distill":
            return "PD-F" if self.method(before) == "PD" else "Distillation, then fine-tuning"
        return "PF" if before.kind in ENCODERS else "Fine-tuning"

    def recipe(self, record: StageRecord) -> str:
        """Returns what runs have in common that differ in their seeds alone, earlier tunings' included."""
        tuning = {key: value for key, value in record.settings["tuning"].items() if key != "seed"}
        start = dict(record.settings["start"])
        before = self.behind(start["weights"])
        if before is not None and before.kind in TUNED:
            start |= {"weights": self.recipe(before), "tokenizer": self.tokenizer(record)}
        settings = {**record.settings, "tuning": tuning, "start": start}
        return canonical_json({"kind": record.kind, "settings": settings})

    def soft_labels(self, record: StageRecord) -> StageRecord | None:
        """Returns the record of the labelling that a classifier was distilled from, itself or before PD-F."""
        for step in self.lineage(record):
            if step.kind == "distill":
                return self.records.get(step.settings["labels"])
        return None

    def budget(self, record: StageRecord) -> str:
        """Returns what two methods must share to be compared: task, labelled rows, passes, length.

        Learning rate and batch size are each method's own to choose.
        """
        tuning = record.settings["tuning"]
        return canonical_json(
            {
                "task": record.settings["task"],
                "epochs": tuning["epochs"],
                "max_length": tuning["max_length"],
            }
        )

    def distilled_by(self, record: StageRecord) -> str | None:
        """Returns digest of soft labels and objective as one text; None for a method without a teacher."""
        for step in self.lineage(record):
            if step.kind == "distill":
                return canonical_json([step.settings["labels"], step.settings["objective"]])
        return None
