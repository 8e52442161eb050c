"""Every exception that the package raises on purpose, and the sentence-building they share."""

import errno
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Self

# The longest cause that is quoted from a library, in characters; some quote whole files.
_CAUSE = 600
# Longer words, a number of 5,000 digits for one, are shortened in an error.
_LONGEST_WORD = 300


class WellreadError(Exception):
    """A mistake in the input: one sentence on what was expected, what came, what to do.

    The commands print it without a traceback and exit with `status`.
    """

    # What command lines end with on words that they do not take.
    status = 2

    def renamed(self, settings: Mapping[str, str]) -> Self:
        """Returns the same error with its settings, in backticks, named as another recipe names them.

        Args:
            settings: New paths by old ones; a path stands for all below it, and the first that fits counts.
        """

        def new(match: re.Match[str]) -> str:
            old = next((old for old in settings if f"{match[1]}.".startswith(f"{old}.")), "")
            return f"`{settings[old]}{match[1].removeprefix(old)}`" if old else match[0]

        return type(self)(re.sub(r"`([a-z][a-z0-9_.]*)`", new, str(self)))


class SettingsError(WellreadError):
    """A setting has a value that no run can have."""


class UsageError(WellreadError):
    """A command does not take a word of its command line; the message has options as typed."""


class UnknownNameError(WellreadError):
    """A name is not among the known ones; the message gives the nearest."""


class DataError(WellreadError):
    """A corpus, data set or transfer set cannot be used as it is."""


class TokenizerError(WellreadError):
    """A tokenizer does not fit its task or its model."""


class LabelError(WellreadError):
    """Labels, label names or soft labels do not belong to the task or the data."""


class ExportError(WellreadError):
    """A model cannot be written as an ONNX graph, or its graph does not answer as the model does."""


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


class NothingFitsError(WellreadError):
    """No model meets what was asked for; the message names the nearest."""

    status = 3


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


class EndpointError(WellreadError):
    """A server that is asked for labels refused, or gave no usable answer in the time allowed."""

    status = 1


class CardError(WellreadError):
    """A model card would be refused by the Hub, or cannot say what it should."""


class Terminated(KeyboardInterrupt):
    """A signal asks the program to end. As with Ctrl-C, nothing that handles errors should keep it.

    Args:
        number: The signal.
        checkpoint: Where the next run goes on.
    """

    def __init__(self, number: int, checkpoint: str = "the last checkpoint") -> None:
        # What shells report of a program that a signal has ended.
        self.status = 128 + number
        super().__init__(
            f"ended by {signal.Signals(number).name}; the same command goes on from {checkpoint}"
        )


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Returns the known names most like `name`, nearest first, joined by commas."""
    known = list(known)
    # Without a cutoff some name is always given, however unlike it is.
    return ", ".join(get_close_matches(name, known, n=count, cutoff=0.0) or known[:count])


def listed(names: Sequence[str], most: int = 10) -> str:
    """Returns the first names, shortened, joined by commas, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"{name:.40}" for name in names[:most]) + more


@contextmanager
def library_errors_as(kind: type[WellreadError], subject: str, remedy: str = "") -> Iterator[None]:
    """Turns whatever a library raises in the block into one sentence: `subject: cause; remedy`.

    Libraries raise anything on input that they were not made for, so there is no list of exceptions here.
    Our errors, a full disk and a full memory pass: others know better what to say of them.

    Args:
        kind: The error raised instead.
        subject: What was done with what, e.g. NAME cannot be loaded as a classifier.
        remedy: What to do.
    """
    try:
        yield
    except (WellreadError, MemoryError):
        # Where memory is full, what is read is not to blame.
        raise
    except Exception as error:
        if is_disk_full(error):
            raise
        raise kind(f"{subject}: {cause(error)}" + (f"; {remedy}" if remedy else "")) from error


def is_disk_full(error: Exception) -> bool:
    """Returns whether the system reports a full disk, or a quota that is used up."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def cause(error: BaseException) -> str:
    """Returns what an exception says, in one line; its type where it says nothing or is a mere key."""
    said = " ".join(str(error).split())
    # The text of a KeyError is the bare key.
    if not said or isinstance(error, LookupError):
        said = f"{type(error).__name__} {said}".strip()
    return said if len(said) <= _CAUSE else said[: _CAUSE - 3] + "..."


def one_line(text: str, longest: int | None = None) -> str:
    """Puts text from elsewhere on one line, without what would steer a terminal; shortens endless words."""
    half = _LONGEST_WORD // 2
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    line = re.sub(rf"\S{{{_LONGEST_WORD + 1},}}", lambda word: f"{word[0][:half]}...{word[0][-half:]}", line)
    return line[:longest]


def input_error(error: Exception) -> WellreadError | None:
    """Returns the sentence for an exception that input can raise anywhere; None for all others.

    These are errors of the system, full memory, text that is not UTF-8, and input nested too deeply.
    """
    said = cause(error)
    # torch raises errors of its own where memory is full.
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "alloc_cpu" in said:
        return SettingsError(
            f"the memory is full ({said}); take a smaller batch (`running.micro_batch_size`), a smaller "
            "model or fewer rows"
        )
    if isinstance(error, RecursionError):
        return DataError(f"expected a file of ordinary depth, got one that is nested too deeply ({said})")
    if isinstance(error, UnicodeError):
        return DataError(f"expected text in UTF-8, got other bytes ({said}); convert the file, or rename it")
    if is_disk_full(error):
        return DiskFullError(f"the disk is full ({said}); free some space and run again")
    # Libraries raise OSErrors of their own, without a number of the system's.
    if not isinstance(error, OSError) or error.errno is None:
        return None
    return StoreError(f"{error.filename or 'a call of the system'}: {error.strerror}; {_remedy(error.errno)}")


def _remedy(number: int) -> str:
    return {
        errno.EACCES: "give a place that you may read and write",
        errno.EPERM: "give a place that you may read and write",
        errno.EROFS: "give a place that can be written",
        errno.ENOTDIR: "give a folder: a file is in its place",
        errno.EISDIR: "give a file: a folder is in its place",
        errno.ENAMETOOLONG: "give a shorter name",
        errno.ENOENT: "check the path",
        errno.EMFILE: "allow more open files (ulimit -n)",
    }.get(number, "check the place that is named, and run again")
