"""Errors of single stages, told in the words of a study's command line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from wellread_hf.errors import WellreadError

# Options of the stages, and what they come from here.
_HERE = {
    "--objective": "--patient",
    "--start.tokenizer": "--corpus.tokenizer",
    "--task.train-rows": "--budget.labelled-rows",
    "--transfer.rows": "--budget.transfer-rows",
}


def spelt_as_typed(message: str, domain: str = "--transfer") -> str:
    """Has a message name options as this command line does.

    Args:
        message: Any.
        domain: The option that named the text to label.
    """
    for stages, studies in {**_HERE, "--transfer.sources": domain}.items():
        message = re.sub(rf"(?<![\w-]){stages}(?![\w-])", studies, message)
    return message


@contextmanager
def errors_spelt_as_typed(domain: str) -> Iterator[None]:
    """Has errors name options as this command line does; `domain` is the option that named the text."""
    try:
        yield
    except WellreadError as error:
        raise type(error)(spelt_as_typed(str(error), domain)) from error
