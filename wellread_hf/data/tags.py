"""Rows of words with a tag each: entity recognition, parts of speech."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from wellread_hf.data.classes import numbers_of_classes, shown
from wellread_hf.data.conll import WORDS
from wellread_hf.data.corpus import Source, checked_text, count_rows
from wellread_hf.data.table_reader import open_table
from wellread_hf.errors import DataError, LabelError, listed
from wellread_hf.metrics.per_word import PerWord, words_of
from wellread_hf.metrics.tags import is_tag, tag_metrics
from wellread_hf.store.stage import Location


def checked_words(row: Mapping[str, Any], column: str, number: int, name: str) -> tuple[str, ...]:
    """Returns a row's words.

    Args:
        row: The row.
        column: Where the list of its words is; in CSV JSON text.
        number: Its number, from 1, for the message.
        name: Name of the data for the message.

    Raises:
        DataError: The column is missing or holds no list, or a word is empty or no text.
    """
    found = row if column not in row else _list(row[column])
    if found is row or not isinstance(found, list):
        got = f"found {', '.join(map(repr, row))}" if found is row else f"got {shown(row[column])}"
        raise DataError(
            f"{name}, row {number}: expected a list of words in column {column!r} (in CSV JSON text like "
            f'["a", "b"]), {got}; name the column with `task.columns`'
        )
    words = tuple(checked_text({"word": word}, "word", number, name) for word in found)
    empty = next((place for place, word in enumerate(words, start=1) if not word.strip()), None)
    if not words or empty is not None:
        raise DataError(
            f"{name}, row {number}: expected words in column {column!r}, got "
            f"{'none' if empty is None else f'an empty one as word {empty}'}; leave it out, with its tag"
        )
    return words


def checked_tags(label: Any, words: Sequence[str], number: int, place: str) -> list[Any]:
    """Returns the tags of a row's words, as they were read.

    Raises:
        LabelError: They are no list, or not one a word.
    """
    found = _list(label)
    if not isinstance(found, list):
        raise LabelError(
            f'{place}, row {number}: expected a list of tags as label, in CSV JSON text like ["O", "B-PER"], '
            f"got {shown(label)}; name the column with `task.label`"
        )
    if len(found) != len(words):
        raise LabelError(
            f"{place}, row {number}: expected a tag for each of {len(words)} words, got {len(found)} tags; "
            "correct or leave out the row"
        )
    return found


def _list(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def check_scheme(names: Sequence[str], place: str) -> None:
    """Refuses classes of which some are tags of entities and others are none, as `I` without its type.

    Raises:
        LabelError: There are such.
    """
    odd = [name for name in names if not is_tag(name)]
    if odd and "entity_f1" in tag_metrics(names):
        raise LabelError(
            f"{place}: expected tags like O, B-PER and I-PER (IOB1, IOB2, IOE or IOBES), got {listed(odd)} "
            "among them; correct these tags"
        )


def numbered_tags(
    texts: Sequence[tuple[str, ...]],
    tags: Sequence[list[Any]],
    names: Sequence[str],
    stated: bool,
    place: str,
) -> PerWord:
    """Finds which class each tag means.

    Raises:
        LabelError: A tag is missing or none of the task's.
    """
    pairs = [(row, tag) for row, found in enumerate(tags, start=1) for tag in found]
    return PerWord.of(
        numbers_of_classes(pairs, names, stated, place), [len(words) for words in texts], tuple(names)
    )


def words_in(source: Source, location: Location) -> Iterator[tuple[str, ...]]:
    """Yields each row's words of a source: those of a column of lists, or of a text.

    Raises:
        DataError: The column is missing, or a row has no words.
    """
    rows = open_table(location, source.config, source.split, source.columns[0]).rows()
    for number, row in enumerate(islice(rows, source.rows), start=1):
        # That of a .conll file, where none is named.
        column = WORDS if source.columns == ("text",) and "text" not in row else source.columns[0]
        value = row.get(column)
        if isinstance(value, str) and _list(value) is value:
            text = checked_text(row, column, number, source.name)
            # A text of blanks has none, which `checked_words` refuses.
            row = {column: [word for word, _span in words_of(text)]}
        yield checked_words(row, column, number, source.name)


@lru_cache(maxsize=64)
def check_words(source: Source, location: Location) -> int | None:
    """Refuses a source whose first rows have no words, as `check_rows` does one without texts.

    Returns:
        How many rows it has; None where there are more than were read.

    Raises:
        DataError: As from `words_in`.
    """
    return count_rows(words_in(source, location), location)
