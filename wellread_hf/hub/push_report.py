"""What a push did, repository by repository: as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wellread_hf.errors import one_line
from wellread_hf.results.tables import Table
from wellread_hf.store.records import write_atomically

# 130 is what shells report after Ctrl-C: 128 and the number of the signal.
DONE, FAILED, INTERRUPTED = 0, 1, 130
_FILES_SHOWN = 7
_LONGEST_MESSAGE = 2_000


@dataclass(slots=True)
class RepoResult:
    """What became of one repository."""

    repo: str
    state: str
    old: str | None = None  # commit before
    new: str | None = None  # commit after
    files: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of what changed, by path
    bytes: int = 0
    seconds: float = 0.0
    tries: int = 0
    error: str = ""
    foreign: list[str] = field(default_factory=list)  # files there that are not of the push, and stay


@dataclass(slots=True, kw_only=True)
class Report:
    """What a push did, or a dry run would do."""

    endpoint: str
    user: str
    visibility: str  # `private` or `public`
    tag: str
    repositories: list[RepoResult]
    collection: str | None = None  # its address
    problem: str = ""  # what ended the run early
    status: int = DONE  # of the command

    @property
    def text(self) -> str:
        """The report as JSON."""
        return json.dumps(asdict(self), indent=1)

    def write(self, path: Path) -> None:
        """Writes the report as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, self.text + "\n")

    def show(self, dry_run: bool) -> None:
        """Prints the report as a table."""
        head = ("repository", "state", "files", "size", "seconds", "what is wrong")
        rows = [
            (
                result.repo,
                result.state,
                _some(tuple(result.files)),
                f"{result.bytes / 1e6:,.1f} MB" if result.bytes else None,
                None if dry_run else f"{result.seconds:.1f}",
                one_line(result.error, _LONGEST_MESSAGE),
            )
            for result in self.repositories
        ]
        foreign = [
            f"{result.repo} also has {_some(result.foreign)}: not of this push, left as they are"
            for result in self.repositories
            if result.foreign
        ]
        collection = [f"collection: {self.collection}"] if self.collection else []
        notes = [*foreign, *collection, *([self.problem] if self.problem else [])]
        Table(head, rows, [one_line(note, _LONGEST_MESSAGE) for note in notes]).show(
            f"{'plan for' if dry_run else 'pushed to'} {self.endpoint} as {one_line(self.user)}, "
            f"{self.visibility}, tag {self.tag}"
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_FILES_SHOWN])
    return shown if len(names) <= _FILES_SHOWN else f"{shown} and {len(names) - _FILES_SHOWN} more"
