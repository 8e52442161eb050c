"""Plain technical English: lines that can be read, and no word-for-word translations."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SOURCES = [
    *sorted((ROOT / "wellread_hf").rglob("*.py")),
    *sorted((ROOT / "recipes").glob("*.py")),
]
LONGEST_LINE = 100
# Each with what to write instead.
IDIOMS = {
    r"\bmend(?:s|ed|ing)?\b": "repair",
    r"\btold\b": "reported, known",
    r"\btells?\b": "reports, states, shows",
    r"\bspel(?:t|ls?|lings?)\b": "written, name",
    r"\bwhoever\b": "the process that, a user who",
    r"\bas (?:it|they) comes?\b": "in order",
    r"what is there already is only read": "unchanged files are skipped",
    r"\bmeans? nothing without\b": "needs",
    r"\bby the words of\b": "as named in",
    r"\bend it whenever you like\b": "it can be stopped at any time",
}


def _found(text: str) -> list[str]:
    return [
        f"{match[0]!r}: write {instead}"
        for idiom, instead in IDIOMS.items()
        for match in re.finditer(idiom, text, re.I)
    ]


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page and their numbers, but for blocks of code and generated parts."""
    within = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith(("```", "<!-- studies: ")):
            within = not within
        elif not within:
            yield number, line


def _texts(source: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module, docstrings among them, but for those that name something in code."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_prose_are_short(page: Path) -> None:
    # A table's row, a piece of code and the target of a link cannot be broken.
    shown = {number: re.sub(r"`[^`]*`|\]\([^)]*\)", "``", line) for number, line in _prose(page)}
    assert not [
        (number, line)
        for number, line in shown.items()
        if len(line) > LONGEST_LINE and not line.startswith(("|", "<"))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_have_no_idioms(page: Path) -> None:
    # Code keeps its names.
    found = {number: _found(re.sub(r"`[^`]*`", "", line)) for number, line in _prose(page)}
    assert not {number: idioms for number, idioms in found.items() if idioms}


def test_the_package_has_no_idioms() -> None:
    found = {
        f"{source.relative_to(ROOT)}:{line}": idioms
        for source in SOURCES
        for line, text in _texts(source)
        if (idioms := _found(text))
    }
    assert not found
