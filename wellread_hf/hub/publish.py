"""From finished stages to repositories on the Hub, checked before the first request, with a report.

There is no local state: running it again resumes it, and what is on the Hub already is not sent again.
"""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.utils.tqdm import disable_progress_bars

from wellread_hf import __version__
from wellread_hf.errors import StoreError, library_errors_as
from wellread_hf.hub.calls import bounded_client, client
from wellread_hf.hub.files import Upload
from wellread_hf.hub.push import Push
from wellread_hf.hub.push_report import Report
from wellread_hf.hub.push_settings import Publishing
from wellread_hf.hub.rights import check_names
from wellread_hf.hub.uploads import check_uploads, uploads_of_runs


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
    uploads = uploads_of_runs(
        runs, settings.namespace, name, eval_results, settings.revision_int8, settings.space
    )
    made = publish(uploads, settings, __version__, dry_run)
    unwritten = f"what was pushed is pushed, but the report cannot be written to {report}"
    try:
        if not dry_run:
            with library_errors_as(StoreError, unwritten, "give another place with `report`"):
                made.write(report)
    finally:
        if json:
            print(made.text)
        else:
            made.show(dry_run)
    if not dry_run and not json:
        print(f"report: {report}")
    return made.status


def check_runs(runs: Sequence[Path], name: str | None, eval_results: bool) -> None:
    """Renders and checks as for a push, prints what would be in it, and sends nothing."""
    for upload in uploads_of_runs(runs, "", name, eval_results):
        print(f"{upload.name}: {len(upload.files)} files, {upload.size / 1e6:,.1f} MB, ready to be pushed")


def publish(
    uploads: Sequence[Upload],
    settings: Publishing,
    version: str,
    dry_run: bool = False,
    api: HfApi | None = None,
) -> Report:
    """Pushes uploads, each to its repository; all are checked before the first request.

    The package's version is for the tag and the commit's message. A dry run stops after the plan, which sends
    nothing but reads. The client is the environment's, unless another Hub or user is given.

    Raises:
        PublishError: An upload breaks a rule; nothing was sent.
        AuthenticationError: Nobody is logged in, or may not write to the namespace.
        HubError: The Hub could not be asked who is logged in.
    """
    api = api or client()
    check_names(settings.namespace, api)
    # A second time: only now is the token known that no file may contain.
    check_uploads(uploads, api.token if isinstance(api.token, str) else None)
    # The client shows a bar a file, from all threads at once.
    disable_progress_bars()
    with bounded_client(60 * settings.deadline):
        return Push(api, uploads, settings, version).run(dry_run)
