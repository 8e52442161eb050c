"""The command `wellread report`: finished runs as one page."""

from pathlib import Path
from typing import Annotated

import tyro


def report(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html"),
    task: str | None = None,
) -> None:
    """Show finished runs in one HTML page: scores against cost, methods, calibration, rows; needs no network.

    Args:
        runs: Folders of all stages, e.g. runs.
        out: The page to write.
        task: The task to show, where there are several.
    """
    from wellread_hf.results.html_report import write_report

    write_report(runs, out, task)
    print(out)
