"""`wellread report`: finished runs as one page."""

from pathlib import Path
from typing import Annotated

import tyro

from wellread_hf.settings import Picking


def report(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    picking: Annotated[Picking, tyro.conf.arg(name="")],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html"),
) -> None:
    """Show finished runs in one HTML page: scores against cost, methods, calibration, rows; needs no network.

    Args:
        runs: Folders of all stages, e.g. runs.
        picking: Which task; limits mark what `wellread pick` picks by them.
        out: The page to write.
    """
    from wellread_hf.results.html_report import write_report

    write_report(runs, out, picking)
    print(out)
