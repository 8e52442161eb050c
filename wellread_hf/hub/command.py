"""What `wellread publish` and `wellread verify` print, and the status they end with."""

import json as json_library
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wellread_hf import __version__
from wellread_hf.errors import PublishError, StoreError, library_errors_as
from wellread_hf.hub.calls import Patience
from wellread_hf.hub.client import one_line
from wellread_hf.hub.options import Publishing
from wellread_hf.hub.parcels import Parcel, check_parcels, hash_files, order_of
from wellread_hf.hub.publishing import publish
from wellread_hf.hub.reports import Report
from wellread_hf.hub.runs import parcel_of_run
from wellread_hf.store.progress import bar

_FILES_SHOWN = 7


def pack_runs(runs: Sequence[Path], namespace: str, name: str | None, eval_results: bool) -> list[Parcel]:
    """Renders the cards of finished stages and checks everything that would be pushed.

    Raises:
        PublishError: There is nothing to push, or something that must not be.
    """
    if not runs:
        raise PublishError("expected folders of finished stages, got none; give runs/pretrain-... and so on")
    if name is not None and len(runs) > 1:
        raise PublishError(f"`name` {name} is for a single run, got {len(runs)}; leave it out")
    if name == "":
        raise PublishError("`name` is empty: expected a repository's name; leave it out for the family's")
    with bar("cards", "repositories", len(runs)) as shown:
        parcels = []
        for run in runs:
            with library_errors_as(
                StoreError, f"{run}: expected a finished stage as this version leaves it", "run it again"
            ):
                parcels.append(parcel_of_run(run, namespace or None, name, eval_results))
            shown.update()
    hash_files(parcels)
    parcels.sort(key=lambda parcel: order_of(parcel.name))
    check_parcels(parcels, token=None)
    return parcels


def publish_runs(
    runs: Sequence[Path],
    settings: Publishing,
    name: str | None = None,
    eval_results: bool = False,
    dry_run: bool = False,
    json: bool = False,
    report: Path = Path("push-report.json"),
) -> int:
    """Pushes finished stages, prints a table (or JSON) and writes the report; returns the exit status."""
    parcels = pack_runs(runs, settings.namespace, name, eval_results)
    made = publish(parcels, settings, __version__, dry_run)
    unwritten: OSError | None = None
    if not dry_run:
        try:
            made.write(report)
        except OSError as error:
            unwritten = error
    if json:
        print(json_library.dumps(asdict(made), indent=1))
    else:
        show(made, dry_run)
        if not dry_run and unwritten is None:
            print(f"report: {report}")
    if unwritten is not None:
        raise StoreError(
            f"the report cannot be written to {report} ({unwritten}), what was pushed is pushed; give "
            "another place with `report`"
        )
    return made.status


def check_runs(runs: Sequence[Path], eval_results: bool) -> None:
    """Renders and checks as for a push, says what would be in it, and sends nothing."""
    for parcel in pack_runs(runs, "", None, eval_results):
        print(f"{parcel.name}: {len(parcel.files)} files, {parcel.size / 1e6:,.1f} MB, fit to be pushed")


def show(report: Report, dry_run: bool) -> None:
    """Prints a report as a table."""
    from rich.console import Console
    from rich.table import Table

    # What the Hub says is text: brackets in it are no markup.
    console = Console(width=None if Console().is_terminal else 140, markup=False, emoji=False)
    console.print(
        f"{'plan for' if dry_run else 'pushed to'} {report.endpoint} as {one_line(report.user)}, "
        f"{report.visibility}, tag {report.tag}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table()
    for column in ("repository", "state", "files", "size", "seconds", "what is wrong"):
        table.add_column(column, overflow="fold")
    for result in report.repositories:
        table.add_row(
            result.repo,
            result.state,
            _some(tuple(result.files)),
            f"{result.bytes / 1e6:,.1f} MB" if result.bytes else "",
            "" if dry_run else f"{result.seconds:.1f}",
            one_line(result.error, 2_000),
        )
    console.print(table)
    foreign = [
        f"{result.repo} also has {_some(result.foreign)}: not of this push, left as they are"
        for result in report.repositories
        if result.foreign
    ]
    for line in (*foreign, report.collection and f"collection: {report.collection}", report.problem):
        if line:
            console.print(one_line(line, 2_000), highlight=False, soft_wrap=True)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_FILES_SHOWN])
    return shown if len(names) <= _FILES_SHOWN else f"{shown} and {len(names) - _FILES_SHOWN} more"


def verify_model(
    repo: str,
    revision: str | None,
    with_scores: bool,
    data: str,
    max_length: int,
    deadline: float = Patience().deadline,
) -> int:
    """Verifies a model and prints what was found; returns the exit status: 1 where a score differs."""
    from wellread_hf.hub.verifying import verify

    found = verify(repo, revision, with_scores, data, max_length, deadline=deadline)
    print(
        f"{found.repo} at {one_line(found.revision)}: {found.files} files, "
        f"{found.bytes / 1e6:,.1f} MB, every hash is right; loads as {found.model}"
    )
    for claim in found.claims:
        verdict = "as claimed" if claim.holds else "DIFFERS"
        print(
            f"{claim.task} dev {claim.metric}: {claim.found:.2f} here, {claim.claimed:.2f} on the card: "
            f"{verdict}"
        )
    for reason in found.left_out:
        print(f"not recomputed: {reason}")
    return 0 if all(claim.holds for claim in found.claims) else 1
