"""The finished stages of one folder, and how one leads to another: method names, seeds, origins."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellread_hf.errors import StoreError
from wellread_hf.serving.export_facts import ExportFacts
from wellread_hf.serving.exports import answering
from wellread_hf.store.records import RECORD, StageRecord, canonical_json, digest

TUNED = ("finetune", "distill")
ENCODERS = ("pretrain", "adopt")
MODELS = (*ENCODERS, *TUNED, "prune")


# What was read so far inside `each_read_once`; None outside, where stages may end between two calls.
_READ: ContextVar[dict[tuple[Path, ...], "Stages"] | None] = ContextVar("_READ", default=None)


@contextmanager
def each_read_once() -> Iterator[None]:
    """Reads the records of a folder once inside: every card of a family asks for all of them."""
    found = _READ.get()
    before = _READ.set({} if found is None else found)
    try:
        yield
    finally:
        _READ.reset(before)


# Compared by identity, so that what follows from one reading can be kept beside it.
@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Stages:
    """The records of finished stages and their folders, by digest."""

    records: Mapping[str, StageRecord]
    folders: Mapping[str, Path]

    @classmethod
    def read(cls, *roots: Path) -> "Stages":
        """Reads all records of folders; a stage whose record is damaged is left out.

        Raises:
            StoreError: There is no such folder, or none is named.
        """
        if not roots:
            raise StoreError("expected folders of runs, got none; give one, such as runs")
        read = _READ.get()
        if read is not None and roots in read:
            return read[roots]
        for root in roots:
            if not root.is_dir():
                raise StoreError(f"expected a folder of runs, and there is no folder {root}; check the path")
        records, folders = {}, {}
        for path in sorted(path for root in roots for path in root.glob(f"*/{RECORD}")):
            try:
                # One damaged record must not keep the cards of all other stages from being made.
                record = StageRecord.read(path.parent)
            except StoreError:
                continue
            records[record.digest], folders[record.digest] = record, path.parent
        stages = cls(records, folders)
        if read is not None:
            read[roots] = stages
        return stages

    def of_kind(self, *kinds: str) -> list[StageRecord]:
        """Returns the records of these kinds of stage."""
        return [record for record in self.records.values() if record.kind in kinds]

    def producer(self, fingerprint: str | None) -> StageRecord | None:
        """Returns the record of the stage that a fingerprint names, if it is here."""
        match = re.fullmatch(r"stage:([0-9a-f]+):.*", fingerprint or "", re.DOTALL)
        return self.records.get(match[1]) if match else None

    def of(self, record: StageRecord, kind: str) -> list[StageRecord]:
        """Returns the stages of a kind that a model went into: its evaluations, its exports."""
        return [each for each in self.of_kind(kind) if each.settings["model"] == record.fingerprint]

    def by_age(self, records: Iterable[StageRecord]) -> list[StageRecord]:
        """Returns records in the order in which their stages ended, the oldest first."""
        return sorted(records, key=lambda each: (self.folders[each.digest] / RECORD).stat().st_mtime_ns)

    def unpruned(self, record: StageRecord | None) -> StageRecord | None:
        """Returns the record of the model that a pruned one was made of, itself where it is not pruned."""
        while record is not None and record.kind == "prune":
            record = self.producer(record.settings["model"])
        return record

    def classifies(self, record: StageRecord) -> bool:
        """Returns whether a model is a classifier, pruned or not."""
        made = self.unpruned(record)
        return made is not None and made.kind in TUNED

    def export(self, record: StageRecord) -> Path | None:
        """Returns the export of a model as what it is: of a classifier not one that gives features alone."""
        classifies = self.classifies(record)
        return answering(
            (each, self.folders[each.digest])
            for each in self.of(record, "export")
            if ExportFacts(each.outcome).gives_labels == classifies
        )

    def lineage(self, record: StageRecord) -> Iterator[StageRecord]:
        """Yields a classifier's record, then those it started from, as far as they are here."""
        found: StageRecord | None = record
        seen = set()
        while found is not None:
            # Records are files; one that names itself would be followed without end.
            if found.digest in seen:
                raise ValueError(f"stage {found.digest[:12]} starts from itself")
            seen.add(found.digest)
            yield found
            found = self.producer(found.settings["start"]["weights"]) if found.kind in TUNED else None

    def start(self, record: StageRecord) -> Mapping[str, Any]:
        """Returns what a classifier's first tuning started from: an encoder's `weights`, or a `student`."""
        *_, first = (step for step in self.lineage(record) if step.kind in TUNED)
        start: Mapping[str, Any] = first.settings["start"]
        return start

    def distillation(self, record: StageRecord) -> StageRecord | None:
        """Returns the distillation of a classifier: its own, or that before PD-F."""
        return next((step for step in self.lineage(record) if step.kind == "distill"), None)

    def tokenizer(self, record: StageRecord) -> str:
        """Returns the fingerprint of the tokenizer itself, not that of a model it was saved with."""
        held = record.settings["start"] if record.kind in TUNED else record.settings
        # Without one of its own, a student of parts of another model has that model's.
        fingerprint: str = held["tokenizer"] or held["source"]
        step = self.producer(fingerprint)
        saved = step is not None and step.kind in (*TUNED, "pretrain", "init")
        return self.tokenizer(step) if step is not None and saved else fingerprint

    def method(self, record: StageRecord) -> str:
        """Names a classifier's method as the paper does."""
        weights = record.settings["start"]["weights"]
        before = self.unpruned(self.producer(weights))
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
        # The seed alone may differ between the runs of one result.
        tuning = {key: value for key, value in record.settings["tuning"].items() if key != "seed"}
        start = dict(record.settings["start"])
        before = self.producer(start["weights"])
        if before is not None and before.kind in TUNED:
            start |= {"weights": self.recipe(before), "tokenizer": self.tokenizer(record)}
        settings = {**record.settings, "tuning": tuning, "start": start}
        return canonical_json({"kind": record.kind, "settings": settings})

    def arm(self, fingerprint: str) -> str:
        """Returns what models have in common that differ in the seeds of their stages alone.

        Unlike `recipe`, over all stages that lead to a model: each seed may have a pre-training of its own.
        """
        record = self.producer(fingerprint)
        return fingerprint if record is None else digest([record.kind, self._unseeded(record.settings)])

    def _unseeded(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self._unseeded(each) for name, each in value.items() if name != "seed"}
        if isinstance(value, list):
            return [self._unseeded(each) for each in value]
        return self.arm(value) if isinstance(value, str) else value

    def budget(self, record: StageRecord) -> str:
        """Returns what two methods must share to be compared: task, labelled rows, passes, length.

        Learning rate and batch size are each method's own to choose.
        """
        tuning = record.settings["tuning"]
        return canonical_json([record.settings["task"], tuning["epochs"], tuning["max_length"]])

    def teaching(self, record: StageRecord) -> str:
        """Returns a classifier's soft labels and objective as one text; empty without a teacher."""
        step = self.distillation(record)
        return "" if step is None else canonical_json([step.settings["labels"], step.settings["objective"]])
