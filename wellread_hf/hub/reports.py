"""What a push did, repository by repository."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wellread_hf.store.records import write_atomically

DONE, FAILED, UNAUTHORISED, CONFLICT, INTERRUPTED = 0, 1, 4, 5, 130


@dataclass(slots=True)
class RepoResult:
    """What became of one repository; `foreign` are files there that are not of the push, and stay."""

    repo: str
    state: str
    old: str | None = None
    new: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    tries: int = 0
    error: str = ""
    foreign: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Report:
    """What a push did, or a dry run would do.

    Attributes:
        endpoint: Address of the Hub.
        user: Who was logged in.
        visibility: `private` or `public`.
        tag: The version's tag.
        repositories: One entry each, in the order given.
        collection: Address of the collection.
        problem: What ended the run early, in one line.
        status: Exit status of the command.
    """

    endpoint: str
    user: str
    visibility: str
    tag: str
    repositories: list[RepoResult]
    collection: str | None = None
    problem: str = ""
    status: int = DONE

    def write(self, path: Path) -> None:
        """Writes the report as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(self), indent=1) + "\n")
