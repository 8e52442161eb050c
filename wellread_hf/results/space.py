"""The report as a static Space: the students answer in the visitor's browser, by transformers.js."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from wellread_hf.results.html_report import PAGE, environment, render, title_of
from wellread_hf.results.report_facts import Facts, read_facts
from wellread_hf.settings import Picking

# Pinned: a page that anyone may open runs no code that we have not tested.
_CDN = "https://cdn.jsdelivr.net"
LIBRARY = f"{_CDN}/npm/@huggingface/transformers@4.3.2"
# Where models on the Hub are fetched from; their files are redirected to a storage of its own.
_HUB = "https://huggingface.co https://*.huggingface.co https://*.hf.co"


def space_files(
    runs: Sequence[Path],
    models: Mapping[str, str],
    picking: Picking | None = None,
) -> dict[str, bytes]:
    """Returns the files of a static Space, by their path: `README.md` and `index.html`.

    Args:
        runs: Folders of all stages, as for a report.
        models: What visitors may try: a Hub id, or a folder relative to the page (`./models/NAME`), by the
            name that is shown. Each has `onnx/` as an export writes it.
        picking: As for a report.

    Raises:
        WellreadError: As from `read_facts`.
    """
    facts = read_facts(runs, picking or Picking())
    # The library fetches ONNX Runtime from where it comes from itself. That one compiles WebAssembly, and
    # starts from a blob of its own.
    sources = (
        f"{_CDN} blob: 'wasm-unsafe-eval'; connect-src 'self' blob: data: {_CDN} {_HUB}; worker-src blob:"
    )
    texts = ["Text", "Second text"][: len(_example(facts))]
    before = (
        environment()
        .get_template("try.html.jinja")
        .render(
            texts=texts,
            examples=_example(facts),
            models=list(models),
            settings={"models": list(models.values()), "library": LIBRARY},
        )
    )
    script = (PAGE / "try.js").read_text(encoding="utf-8")
    page = render(facts, before, script, sources)
    return {"README.md": _readme(facts, models), "index.html": page.encode()}


def _example(facts: Facts) -> tuple[str, ...]:
    """Returns the texts of a row to begin with: the first that was evaluated, else an empty one."""
    shown = facts.shown
    return shown[0].rows.texts[0] if shown else ("",)


def _readme(facts: Facts, models: Mapping[str, str]) -> bytes:
    head = {
        "title": title_of(facts),
        "sdk": "static",
        "pinned": False,
        "models": [place for place in models.values() if not place.startswith("./")],
        "tags": ["wellread-hf", "transformers.js"],
    }
    text = (
        "Small students beside their teacher: scores, latency, size, and a field to try them in your browser."
    )
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{text}\n".encode()
