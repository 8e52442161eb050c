"""One page of all that runs have shown: HTML without a request to any address, light, dark or printed."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from wellread_hf.errors import StoreError, library_errors_as
from wellread_hf.results.charts import task_in_words
from wellread_hf.results.report_facts import Facts, read_facts
from wellread_hf.results.report_sections import lead, sections_of, tiles
from wellread_hf.settings import Picking
from wellread_hf.store.records import write_atomically
from wellread_hf.students import LOOKS

PAGE = Path(__file__).parent / "page"


def write_report(runs: Sequence[Path], out: Path, picking: Picking | None = None) -> None:
    """Writes the report of finished runs.

    Args:
        runs: Folders of all stages.
        out: The HTML file.
        picking: Which task, and what the pick has to keep to; None: the task of all runs, and what was
            picked there.

    Raises:
        WellreadError: As from `read_facts`; or the file cannot be written.
    """
    page = render(read_facts(runs, picking or Picking()))
    with library_errors_as(StoreError, f"{out} cannot be written", "give another file by `out`"):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, page)


def render(facts: Facts, before: str = "", script: str = "", sources: str = "") -> str:
    """Renders the page.

    Args:
        facts: What it shows.
        before: HTML ahead of the sections.
        script: A module that follows the page's own script.
        sources: Directives that are added to the page's policy; without them it may ask no address.
    """
    templates = environment()
    style = templates.get_template("page.css").render(looks=LOOKS)
    code = (PAGE / "page.js").read_text(encoding="utf-8") + script
    # A hash allows this script and this style, and none that a row's text might bring.
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(code)}' {sources or ''}"
    ).strip()
    return templates.get_template("page.html.jinja").render(
        title=title_of(facts),
        lead=lead(facts),
        tiles=list(tiles(facts)),
        sections=sections_of(facts),
        policy=policy,
        style=Markup(style),
        script=Markup(code),
        before=Markup(before),
        module=bool(script),
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def environment() -> jinja2.Environment:
    """Returns what pages are rendered with: nothing undefined, everything escaped."""
    # Texts of rows may be anything, so all that is shown is escaped; only our style and script are not.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def title_of(facts: Facts) -> str:
    """Names the page."""
    return f"Students of {task_in_words(facts.task)}"
