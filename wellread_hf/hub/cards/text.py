"""Text of records made harmless: it stays text, whatever Markdown, HTML or YAML it imitates."""

import re
import shlex
import unicodedata

# Entities, not backslashes: an entity never has a meaning in Markdown's structure (CommonMark 2.5), and
# ends no table cell. Commas, hyphens, dots in numbers and spaces have none to lose.
_HARMLESS = re.compile(r"[\w\s,'%-]|(?<=\d)\.(?=\d)|\.(?=\s|$)")
# An option and its `=`, what it names, and choices behind it: sources=FILE,column=text.
_PARTS = re.compile(r"(-[\w.-]*=|)(.*?)((?:,\w+=[^,/]*)*)", re.DOTALL)


def plain(text: str) -> str:
    """Returns text on one line, without control, formatting or unpaired surrogate characters."""
    # Categories C and Z: controls, invisible marks and every kind of blank or line break.
    kept = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    return " ".join(kept.split())


def markdown(text: str) -> str:
    """Writes text so that Markdown shows it as it is; for any place but code."""
    text = plain(text)
    # An underscore is a word's letter to `re`, and emphasis to Markdown.
    return "".join(
        letter if letter != "_" and _HARMLESS.match(text, place) else f"&#{ord(letter)};"
        for place, letter in enumerate(text)
    )


def code(text: str) -> str:
    """Writes text as inline code; as plain text where it has a pipe, which would end a table's cell."""
    text = plain(text)
    if not text or "|" in text:
        return markdown(text)
    ticks = _ticks(text, 1)
    # Markdown drops one blank at both ends, so that code may begin or end with a tick.
    edge = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{edge}{text}{edge}{ticks}"


def fence(text: str, language: str) -> str:
    """Writes text as a fenced block that nothing inside can end."""
    lines = [plain(line) for line in text.splitlines()] or [""]
    ticks = _ticks("\n".join(lines), 3)
    return "\n".join([ticks + language, *lines, ticks])


def _ticks(text: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def without_places(command: str) -> str:
    """Takes the places of a machine out of a command line: of a path its file's name is left, no host."""
    try:
        words = shlex.split(command)
    # A command that was cut short has unpaired quotes.
    except ValueError:
        words = command.split()
    return shlex.join(map(_without_place, words))


def _without_place(word: str) -> str:
    option, value, options = _PARTS.fullmatch(word).groups()  # type: ignore[union-attr]  # it matches any text
    path = value.removeprefix("file:").replace("\\", "/")
    if re.match(r"[a-z][\w+.-]*://(?!/)", value, re.IGNORECASE):
        # Hosts and local paths are private; a file's name says enough.
        value = "ADDRESS"
    elif re.match(r"/|~|[A-Za-z]:/|[\w.-]+@[\w.-]+:", path) or value != path or ".." in path.split("/"):
        value = path.rstrip("/").rpartition("/")[2].rpartition(":")[2].lstrip("~") or "PATH"
        value = "PATH" if value == ".." else value
    elif re.fullmatch(r"(?=.*[A-Za-z.])[\w.-]+:\d{2,5}", value):
        value = "ADDRESS"
    return option + value + options


def duration(seconds: float) -> str:
    """Writes a time the way a person says it: `35 s`, `33 min`, `12.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
