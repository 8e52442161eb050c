"""What a stage is, what it reads, and the order that follows from both.

A stage's folder is named by the digest of everything that decides its result; `stage.json` is
written there last. So the plan of a whole chain is known before any of it has run.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from wellread_hf.store.records import RECORD, StageRecord, digest
from wellread_hf.students import Shape

RepoType = Literal["model", "dataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A model or data set that was found, or that a stage will make.

    Attributes:
        name: What to hand to `from_pretrained` or `load_dataset`: a folder, a file or a Hub id.
        revision: The Hub commit it was resolved to; None for local ones.
        fingerprint: Stands for the content: a Hub commit, a stage's digest or a SHA-256 of files; with `+`,
            also for what the model's files name elsewhere, e.g. an adapter's base model.
        repo_type: As what it was found.
        field: The setting that named it, e.g. `start.weights`.
        stage: The stage that makes it, where it is part of the same plan.
    """

    name: str
    revision: str | None
    fingerprint: str
    repo_type: RepoType = "model"
    field: str = dataclasses.field(default="", compare=False)
    stage: "Stage | None" = dataclasses.field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """The setting and the name, as errors show them."""
        return f"`{self.field}` {self.name}" if self.field else self.name


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step: from settings and inputs to a finished folder.

    Attributes:
        kind: The verb, e.g. `pretrain`.
        name: What a person calls the result, e.g. `bert-2-128`.
        root: Folder of all stages.
        identity: Everything that decides the result: settings and fingerprints of inputs.
        inputs: What `work` reads: locations, and other stages whose records or files it looks at.
        work: Does the job in the folder it is given, on every process; returns the outcome.
        solo: The job is done by the main process alone while the others wait.
        shared: Other runs may join in, since `work` shares itself out (`claims`); the folder is not locked.
        shape: Returns depth and width of the model that it makes, or of the teacher whose labels it stores;
            None where they are not known before it has run.
        version: Raised by a fix that changes what `work` computes, so that no older result is taken for it.
        check: Raises what can be known of bad input before anything runs; reads, and writes nothing. Leaves
            out what an earlier stage has yet to make.
    """

    kind: str
    name: str
    root: Path
    identity: Mapping[str, Any]
    inputs: Sequence["Location | Stage"] = ()
    work: Callable[["Stage"], Mapping[str, Any]]
    solo: bool = False
    shared: bool = False
    shape: Callable[[], Shape | None] = lambda: None
    version: int = 1
    check: Callable[[], None] = lambda: None

    @cached_property
    def digest(self) -> str:
        """Digest of kind, identity and version."""
        # What was stored before there were versions keeps its digest.
        version = {"version": self.version} if self.version > 1 else {}
        return digest({"kind": self.kind, "identity": self.identity} | version)

    @cached_property
    def after(self) -> tuple["Stage", ...]:
        """The stages that must be finished first: those that make its inputs, each once."""
        makers = (given if isinstance(given, Stage) else given.stage for given in self.inputs)
        return tuple({maker.digest: maker for maker in makers if maker is not None}.values())

    @property
    def reads(self) -> list[Location]:
        """The locations among its inputs."""
        return [given for given in self.inputs if isinstance(given, Location)]

    @cached_property
    def folder(self) -> Path:
        """Where the result lies, or will."""
        return self.root / f"{self.kind}-{self.name}-{self.digest[:12]}"

    def at(self, path: str = ".", field: str = "", repo_type: RepoType = "model") -> Location:
        """Returns the location of a file or folder that it makes."""
        return Location(
            name=str(self.folder / path),
            revision=None,
            fingerprint=f"stage:{self.digest}:{path}",
            repo_type=repo_type,
            field=field,
            stage=self,
        )

    @property
    def state(self) -> str:
        """`done`, `half done` or `to do`."""
        # Unlike pathlib's, these raise nothing: a path that cannot be is not there.
        if os.path.isfile(self.folder / RECORD):
            return "done"
        return "half done" if os.path.isdir(self.folder) else "to do"

    @property
    def record(self) -> StageRecord:
        """The record of a finished stage; raises `StoreError` before that."""
        return StageRecord.read(self.folder)


# Where an input of a stage lies: a path, a Hub id or a place of the toy world by name, or what a stage makes.
Place = str | Location | Stage


def in_order(stages: Sequence[Stage]) -> list[Stage]:
    """Returns the stages and all that they need, each once, needs first."""
    ordered: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        if stage.digest not in ordered:
            for needed in stage.after:
                add(needed)
            ordered[stage.digest] = stage

    for stage in stages:
        add(stage)
    return list(ordered.values())


def short_name(place: Place) -> str:
    """Names a model in a folder's name: what a stage's folder is of, or the last part of a Hub id."""
    named = place.folder.name if isinstance(place, Stage) else getattr(place, "name", place)
    # A place of the toy world, `toy:encoder`, has a colon, which not all file systems take.
    name = Path(str(named).partition("@")[0].replace(":", "-")).name.lower()
    ours = re.fullmatch(r"[a-z]+-(.+?)(-seed\d+)?-[0-9a-f]{12}", name)
    return ours.group(1) if ours else name
