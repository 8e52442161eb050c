"""Errors of single stages, told in the words of a study's command line."""

from collections.abc import Iterator
from contextlib import contextmanager

from wellread_hf.errors import WellreadError
from wellread_hf.experiments.study.arms import Arm, Domain
from wellread_hf.experiments.study.given import GIVEN_BY
from wellread_hf.experiments.study.settings import StudySettings, option
from wellread_hf.stages.inputs import TASK

# The sources of each domain.
SOURCES: dict[Domain, str] = {"in": "`transfer`", "near": "`near`", "far": "`far`"}


def spelt_as_typed(message: str, settings: StudySettings, arm: Arm | None = None) -> str:
    """Has a message name options as this command line does.

    Args:
        message: Any.
        settings: What was typed.
        arm: What it is about, where it is about one arm.
    """
    sources = SOURCES["in" if arm is None else arm.domain]
    of_task = arm is not None and arm.transfer == TASK
    rows = option("labelled_rows") if of_task else f"{option('transfer_rows')} (of {sources})"
    # Weights that are drawn have the words of given ones.
    words = "`corpus.tokenizer`" if settings.weights is None else "`weights`"
    weights = words if arm is None else GIVEN_BY.get(arm.weights, words)
    here = {
        "`objective`": "`patient`",
        "`distil.teacher`": "`deep`",
        "`source`": weights,
        "`start.weights`": weights,
        "`start.tokenizer`": weights,
        "`task.train_rows`": option("labelled_rows"),
        "`transfer.rows`": rows,
        "`transfer.sources`": sources,
    }
    for stages, studies in here.items():
        path, whole = stages.strip("`"), studies.startswith("`") and studies.endswith("`")
        message = message.replace(stages, studies)
        if whole:
            message = message.replace(f"`{path}.", f"{studies[:-1]}.")
    return message


@contextmanager
def errors_spelt_as_typed(settings: StudySettings, arm: Arm) -> Iterator[None]:
    """Has errors about an arm name options as this command line does."""
    try:
        yield
    except WellreadError as error:
        raise type(error)(spelt_as_typed(str(error), settings, arm)) from error
