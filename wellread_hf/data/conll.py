"""Sentences of a `.conll` file: a word a line, the word first and its tag last, blank lines between."""

import re
from collections.abc import Iterable, Iterator, Mapping

from wellread_hf.errors import DataError

# What the columns are called.
WORDS, TAGS = "words", "label"
# Begins a document in the files of CoNLL-2003.
_DOCUMENT = "-DOCSTART-"


def conll_rows(name: str, lines: Iterable[tuple[int, str]]) -> Iterator[Mapping[str, list[str]]]:
    """Yields a row a sentence: its words and their tags.

    Columns are separated by tabs, or where a line has none by blanks; those between first and last are not
    read. Nothing is repaired, and nothing is a comment: `#` is a word.

    Args:
        name: The file's, for errors.
        lines: Its lines with their numbers.

    Raises:
        DataError: A line has one column alone, another number of columns than the first, or an empty one.
    """
    columns = 0
    words: list[str] = []
    tags: list[str] = []
    for number, line in lines:
        text = line.strip(" \t\r\n")
        if not text or text.startswith(_DOCUMENT):
            if words:
                yield {WORDS: words, TAGS: tags}
            words, tags = [], []
            continue
        fields = text.split("\t") if "\t" in text else re.split(" +", text)
        columns = columns or len(fields)
        if len(fields) != columns or columns < 2 or not (fields[0].strip() and fields[-1].strip()):
            wanted = columns if columns > 1 else "two or more"
            raise DataError(
                f"{name}, line {number}: expected {wanted} columns with tabs or blanks between them, a word "
                f"first and its tag last, got {text[:60]!r}; correct the line, or leave an empty one between "
                "sentences"
            )
        words.append(fields[0])
        tags.append(fields[-1].strip())
    if words:
        yield {WORDS: words, TAGS: tags}
