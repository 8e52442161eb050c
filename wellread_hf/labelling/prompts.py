"""Prompts for language models: a user's Jinja template, filled with a row's texts, label words and examples.

Templates run in Jinja's sandbox, and a name that nothing defines is an error. Of blocks and comments no line
is left behind, and the template's last newline is dropped, as in chat templates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
from jinja2 import StrictUndefined, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from wellread_hf.data.rows import Rows
from wellread_hf.errors import DataError, LabelError, cause, listed
from wellread_hf.settings import Prompt
from wellread_hf.tasks import TaskFacts

# What Jinja calls a template that was given as text.
_COMPILED = "<template>"
# Names that templates know beside the columns'.
_TAKEN = ("labels", "examples", "row", "label")
# Two texts of other words and lengths: a template that says the same of both does not read them.
_TRIALS = ("a gripping film", "two hours wasted, and not one of them with a laugh in it")


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled row that a prompt shows.

    Attributes:
        texts: Its texts, one a column.
        label: The number of its class.
    """

    texts: tuple[str, ...]
    label: int


@dataclass(frozen=True, slots=True)
class Prompts:
    """Makes the prompt of a row; see `prompts_of`."""

    template: Any
    name: str
    columns: tuple[str, ...]
    words: tuple[str, ...]
    shown: tuple[SimpleNamespace, ...]

    def __call__(self, texts: Sequence[str]) -> str:
        """Returns the prompt for a row's texts.

        Raises:
            DataError: The template fails; the message has its line.
        """
        row = dict(zip(self.columns, texts, strict=True))
        try:
            return str(self.template.render(row | {"row": row, "labels": self.words, "examples": self.shown}))
        except Exception as error:  # a template may raise anything
            line = _line(error.__traceback__)
            raise DataError(
                f"{self.name}{'' if line is None else f', line {line}'}: the template cannot be filled "
                f"({cause(error)}); it may name {_known(self.columns)}"
            ) from error


def read_template(path: Path) -> str:
    """Reads a template's text.

    Raises:
        DataError: There is no such file, it is empty or not in UTF-8.
    """
    if not path.is_file():
        raise DataError(f"`prompt.template` {path}: expected a file of a Jinja template; check the path")
    try:
        # A mark at the beginning, as some editors leave, is no part of what is asked.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeError as error:
        raise DataError(
            f"`prompt.template` {path}: expected a template in UTF-8, got other bytes ({cause(error)}); "
            "convert the file"
        ) from error
    if not text.strip():
        raise DataError(f"`prompt.template` {path}: expected a Jinja template, got an empty file")
    return text


def prompts_of(
    template: str, name: str, facts: TaskFacts, words: Sequence[str], examples: Sequence[Example] = ()
) -> Prompts:
    """Makes what fills a template.

    The template sees a row's texts under their columns' names, and in `row`; `labels`, the label words in the
    order of the task's classes; and `examples`, each with its columns and `label`, a label word.

    Args:
        template: Its text.
        name: What errors call it.
        facts: The task's columns and classes.
        words: A label word for each class.
        examples: Labelled rows, in the order in which they are shown.

    Raises:
        LabelError: The task has no classes of which a row has one, or another number of words.
        DataError: The template is wrong (with its line), or does not use each text column or the examples;
            or a column has a name that templates know already.
    """
    check_words(facts, words)
    if taken := [column for column in facts.columns if column in _TAKEN]:
        raise DataError(
            f"`task.columns`: expected names that a prompt's template has not taken "
            f"({', '.join(_TAKEN)}), got {taken[0]!r}; rename the column"
        )
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    try:
        compiled = environment.from_string(template)
    except TemplateSyntaxError as error:
        raise DataError(f"{name}, line {error.lineno}: expected a Jinja template: {cause(error)}") from error

    def filled(shown: Sequence[Example]) -> Prompts:
        rows = (
            SimpleNamespace(**dict(zip(facts.columns, each.texts, strict=True)), label=words[each.label])
            for each in shown
        )
        return Prompts(compiled, name, facts.columns, tuple(words), tuple(rows))

    prompts = filled(examples)
    _check_reads(prompts)
    first = [_TRIALS[0]] * len(facts.columns)
    if examples and filled(())(first) == prompts(first):
        raise DataError(
            f"{name}: expected a template that shows `examples`, as `prompt.shots` asks for "
            f"{len(examples)}, got one that does not; loop over them, or take 0 shots"
        )
    return prompts


def check_words(facts: TaskFacts, words: Sequence[str]) -> None:
    """Refuses a task without classes of which a row has one, and words that are not one a class.

    Raises:
        LabelError: It is such a task, or the numbers differ.
    """
    if not facts.labels or facts.multi_label or facts.tagging:
        kind = "one whose rows may have several" if facts.multi_label else "a regression"
        kind = "one whose words have some" if facts.tagging else kind
        raise LabelError(
            f"`prompt.template`: expected a task whose rows have one class each, got {kind}; label it with a "
            "classifier (`teacher` alone)"
        )
    if len(words) != len(facts.labels):
        raise LabelError(
            f"`prompt.label_words`: expected {len(facts.labels)} words, one for each class in the order "
            f"{listed(facts.labels)}; got {len(words)} ({listed(words)})"
        )


def drawn_examples(rows: Rows, classes: int, settings: Prompt) -> list[Example]:
    """Draws labelled rows to show: the classes take turns, in an order of the seed, while they have rows.

    So each class has as many as any other, or one more; one with too few rows has fewer. More shots contain
    fewer shots of one seed.

    Args:
        rows: Labelled ones.
        classes: Their number.
        settings: How many, and the seed.

    Raises:
        DataError: There are fewer rows.
    """
    if settings.shots > len(rows.texts):
        raise DataError(
            f"`prompt.shots` {settings.shots}: expected at most as many as there are labelled rows, "
            f"{len(rows.texts)}; give fewer"
        )
    assert rows.labels is not None
    draw = np.random.default_rng(settings.seed)
    order, turns = draw.permutation(len(rows.texts)), draw.permutation(classes)
    labels = rows.labels[order]
    place = np.argsort(turns)[labels]
    # How many rows of its class come before a row: its round.
    rounds = np.empty(len(order), dtype=np.int64)
    for label in range(classes):
        own = labels == label
        rounds[own] = np.arange(own.sum())
    chosen = order[np.lexsort((place, rounds))][: settings.shots]
    return [Example(rows.texts[index], int(rows.labels[index])) for index in chosen]


def _check_reads(prompts: Prompts) -> None:
    for number, column in enumerate(prompts.columns):
        one, other = ([_TRIALS[0]] * len(prompts.columns) for _ in range(2))
        other[number] = _TRIALS[1]
        if prompts(one) == prompts(other):
            raise DataError(
                f"{prompts.name}: expected a template that uses the text column {column!r}, got one that "
                f"says the same whatever it holds; put {{{{ {column} }}}} where it belongs"
            )


def _known(columns: Sequence[str]) -> str:
    return f"{', '.join(columns)}, row, labels and examples"


def _line(traceback: TracebackType | None) -> int | None:
    """Returns the template's line where an error arose: Jinja puts it into the traceback."""
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == _COMPILED:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
