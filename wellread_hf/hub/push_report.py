"""What a push did, repository by repository: as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wellread_hf.errors import one_line
from wellread_hf.store.records import write_atomically

DONE, FAILED, INTERRUPTED = 0, 1, 130
_FILES_SHOWN = 7
# A table wider than a page of text, for pipes and logs, which have no width of their own.
_WIDTH = 140
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
        from rich.console import Console
        from rich.table import Table

        # What the Hub says is text: brackets in it are no markup.
        console = Console(width=None if Console().is_terminal else _WIDTH, markup=False, emoji=False)
        table = Table()
        for column in ("repository", "state", "files", "size", "seconds", "what is wrong"):
            table.add_column(column, overflow="fold")
        for result in self.repositories:
            table.add_row(
                result.repo,
                result.state,
                _some(tuple(result.files)),
                f"{result.bytes / 1e6:,.1f} MB" if result.bytes else "",
                "" if dry_run else f"{result.seconds:.1f}",
                one_line(result.error, _LONGEST_MESSAGE),
            )
        head = (
            f"{'plan for' if dry_run else 'pushed to'} {self.endpoint} as {one_line(self.user)}, "
            f"{self.visibility}, tag {self.tag}"
        )
        foreign = [
            f"{result.repo} also has {_some(result.foreign)}: not of this push, left as they are"
            for result in self.repositories
            if result.foreign
        ]
        collection = self.collection and f"collection: {self.collection}"
        for part in (head, table, *foreign, collection, self.problem):
            if part:
                shown = one_line(part, _LONGEST_MESSAGE) if isinstance(part, str) else part
                console.print(shown, highlight=False, soft_wrap=isinstance(part, str))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_FILES_SHOWN])
    return shown if len(names) <= _FILES_SHOWN else f"{shown} and {len(names) - _FILES_SHOWN} more"
