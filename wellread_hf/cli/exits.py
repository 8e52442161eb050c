"""How a program of ours ends: every error in one sentence, with a status."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wellread_hf.errors import UsageError, WellreadError, cause, input_error, one_line
from wellread_hf.store.progress import is_main_process

# Some 140 microseconds: a run alone loses 5 %, and runs side by side get most of the cores
# (docs/performance.md).
SPINS = "10000"
# A defect of ours; EX_SOFTWARE of sysexits.h.
DEFECT = 70


def share_processors() -> None:
    """Lets torch's idle threads sleep soon, so that several runs share a machine; before torch is loaded.

    GNU's OpenMP, which torch's wheels for Linux carry, reads this once, when it is loaded. By default a
    thread that waits for the others spins for milliseconds on a processor that another run could use.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


@contextmanager
def report_errors(debug: bool, as_options: Callable[[str], str]) -> Iterator[None]:
    """Ends the program with one sentence and a status, whatever the block raises.

    A mistake in the input: status 2, unless the error has its own. A defect of the package: `DEFECT`.
    A reader of our output that has gone, as `head` does: 141, without a word.

    Args:
        debug: Let errors through, so that Python shows the traceback.
        as_options: Names the settings of a message as the command line does.
    """
    share_processors()
    try:
        yield
        # Here a failed write can still be reported.
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        _close_bars()
        if is_main_process():
            # Ctrl-C says nothing, a signal does.
            line = str(error) or "interrupted; the same command goes on from the last checkpoint"
            print(line, file=sys.stderr)
        # 128 + SIGINT, as a shell reports a program that Ctrl-C ended.
        sys.exit(getattr(error, "status", 130))
    except BrokenPipeError:
        # Python flushes again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # 128 + SIGPIPE: what a shell reports of any program whose reader has gone.
        sys.exit(141)
    except Exception as error:
        if debug:
            raise
        _close_bars()
        # Another process may have found what the first one did not, a loss of its own rows for one.
        who = "" if is_main_process() else f"process {os.environ['RANK']}: "
        known = error if isinstance(error, WellreadError) else input_error(error)
        if known is None:
            line = one_line(
                f"this is a defect of wellread_hf, not of your input: "
                f"{type(error).__name__}: {cause(error)}; --debug shows the traceback, please report it"
            )
            print(f"{who}internal error: {line}", file=sys.stderr)
            sys.exit(DEFECT)
        message = str(known) if isinstance(known, UsageError) else as_options(str(known))
        print(f"{who}error: {one_line(message)}", file=sys.stderr)
        sys.exit(known.status)


def _close_bars() -> None:
    """Ends the lines of progress bars that an error cut off, so that the sentence gets one of its own."""
    # tqdm lists its open bars only privately; where nobody loaded it there are none to close.
    bars = getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "_instances", ())
    for bar in list(bars):
        bar.close()
