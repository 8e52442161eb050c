"""Every exception that the package raises on purpose, and the sentence-building they share."""

from collections.abc import Iterable
from difflib import get_close_matches


class WellreadError(Exception):
    """A mistake that the user can mend: one sentence on what was expected, what came, what to do.

    The commands print it without a traceback and exit with `status`.
    """

    status = 2


class SettingsError(WellreadError):
    """A setting has a value that no run can have."""


class UnknownNameError(WellreadError):
    """A name is not among the known ones; the message gives the nearest."""


class DataError(WellreadError):
    """A corpus, data set or transfer set cannot be used as it is."""


class TokenizerError(WellreadError):
    """A tokenizer does not fit its task or its model."""


class LabelError(WellreadError):
    """Labels, label names or soft labels do not belong to the task or the data."""


class StoreError(WellreadError):
    """A stored file is damaged, or belongs to another run."""


class BusyError(StoreError):
    """Another process works in a stage's folder."""


class SourceError(WellreadError):
    """A model or data set could not be found or read."""


class DiskFullError(WellreadError):
    """A file could not be written because the disk is full."""


class NotFiniteError(WellreadError):
    """A training loss, a prediction or a label is NaN or infinite."""


class TrialsFailedError(WellreadError):
    """Some trials of a sweep failed; the others are finished, and the table says what happened."""

    status = 1


class PublishError(WellreadError):
    """What is to be pushed breaks a rule; nothing was sent."""


class HubError(WellreadError):
    """The Hub refused a call, or gave no usable answer in the time allowed."""

    status = 1


class TryLaterError(HubError):
    """The Hub asks for a longer wait than was allowed."""


class AuthenticationError(HubError):
    """The Hub knows no user, or the user may not write there."""

    status = 4


class ConflictError(HubError):
    """Somebody else has changed a repository in between; nothing of theirs was overwritten."""

    status = 5


class CardError(WellreadError):
    """A model card would be refused by the Hub, or cannot say what it should."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Returns the known names most like `name`, nearest first, joined by commas."""
    known = list(known)
    return ", ".join(get_close_matches(name, known, n=count, cutoff=0.0) or known[:count])
