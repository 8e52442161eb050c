"""SIGTERM and SIGHUP: what they raise, and when."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from wellread_hf.errors import Terminated
from wellread_hf.store.signals import after_a_checkpoint, end_if_asked, signal_heard, signals_heard

NUMBERS = [signal.SIGTERM, signal.SIGHUP]


class _Interrupted:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def _send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    assert {number: signal.getsignal(number) for number in NUMBERS} == before


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_ends_what_runs_like_control_c(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt) as ended, signals_heard(), signals_heard():
        _send(number)
    assert isinstance(ended.value, Terminated)
    assert ended.value.status == 128 + number
    assert str(ended.value) == f"ended by {number.name}; the same command goes on from the last checkpoint"


def test_training_sees_the_signal_and_ends_after_its_checkpoint() -> None:
    done = []

    def train() -> None:
        with signals_heard(), after_a_checkpoint():
            _send(signal.SIGTERM)
            done.append(signal_heard())

    with pytest.raises(Terminated):
        train()
    assert done == [signal.SIGTERM]
    # The next run starts without it.
    with signals_heard():
        assert signal_heard() is None
        end_if_asked()


def test_an_interrupt_without_a_name_gets_that_of_the_signal_behind_it() -> None:
    def as_ray_does() -> None:
        with signals_heard():
            try:
                _send(signal.SIGHUP)
            except Terminated:
                raise KeyboardInterrupt from None

    with pytest.raises(Terminated, match="SIGHUP"):
        as_ray_does()
    with pytest.raises(KeyboardInterrupt) as ended, signals_heard():
        raise KeyboardInterrupt
    assert not isinstance(ended.value, Terminated)


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_heard():
            _send(signal.SIGHUP)
            assert signal_heard() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_leaves_the_handlers_alone() -> None:
    found = []

    def work() -> None:
        with signals_heard():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_ctrl_c_within_a_finalizer_is_raised_a_moment_later() -> None:
    def train() -> None:
        with signals_heard():
            _Interrupted()
            time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
