"""SIGTERM and SIGHUP, which cluster managers send some seconds before they kill.

A run ends where it is: what is finished is in its place, as after Ctrl-C. Training alone goes on to the end
of its step and writes a checkpoint.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from wellread_hf.errors import Terminated

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
# Seconds in which a finalizer is over.
_MOMENT = 0.05


class _Ending:
    """The number of the signal that came, and whether it waits for a checkpoint."""

    number: int | None = None
    waits = False


@contextmanager
def signals_heard() -> Iterator[None]:
    """Lets the two signals raise `Terminated` inside, unless the program was started to ignore them.

    Ctrl-C raises `KeyboardInterrupt`, as Python does by default.
    """
    # Only the main thread can handle signals. `nohup` starts a program that ignores one.
    heard = [
        number
        for number in _SIGNALS
        if threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) == signal.SIG_DFL
    ]
    if heard:
        _Ending.number = None
    for number in heard:
        signal.signal(number, _hear)
    interrupts = bool(heard) and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except Terminated:
        raise
    except KeyboardInterrupt:
        # Ray replaces it by one that does not name the signal.
        end_if_asked()
        raise
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)
        if interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def after_a_checkpoint() -> Iterator[None]:
    """Delays `Terminated` inside: training looks at `signal_heard`, saves, and raises it."""
    _Ending.waits = True
    try:
        yield
    finally:
        _Ending.waits = False
    end_if_asked()


def signal_heard() -> int | None:
    """Returns the signal that asks the program to end; None for none."""
    return _Ending.number


def end_if_asked() -> None:
    """Raises `Terminated` if a signal came: Python drops what is raised within a finalizer."""
    if _Ending.number is not None:
        raise Terminated(_Ending.number)


def _hear(number: int, frame: FrameType | None) -> None:
    _Ending.number = number
    if not _Ending.waits:
        raise Terminated(number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises `KeyboardInterrupt`, a moment later where Python would drop it: within a finalizer."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            # A small training spends a fifth of its time in the garbage collector.
            threading.Timer(_MOMENT, signal.raise_signal, [number]).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
