"""What all command lines share: running a recipe, every error in one sentence."""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

import tyro

from wellread_hf.cli.words import read_words
from wellread_hf.errors import UsageError, WellreadError, cause, input_error, one_line
from wellread_hf.store.progress import is_main_process

Settings = TypeVar("Settings")

# Some 140 microseconds: a run alone loses 5 %, and runs side by side get most of the cores
# (docs/performance.md).
SPINS = "10000"

# A defect of ours; EX_SOFTWARE of sysexits.h.
DEFECT = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Options of every recipe."""

    smoke: bool = False
    """Run the whole path in seconds on tiny embedded data."""
    dry_run: bool = False
    """Print the resolved settings and the plan, with what is done already; write nothing."""
    debug: bool = False
    """Show the traceback of an error."""


def run_recipe(
    settings_type: type[Settings],
    plan: Callable[[Settings], Sequence[Any]],
    smoke: Callable[[Settings], Settings],
    report: Callable[[Settings, Sequence[Any]], None] | None = None,
    description: str | None = None,
    default: Settings | None = None,
    preview: Callable[[Settings, Sequence[Any]], None] | None = None,
    ready: Callable[[Settings], None] | None = None,
    program: str | None = None,
    words: Sequence[str] | None = None,
) -> None:
    """Runs a recipe: reads the command line, plans the stages, carries them out, reports.

    Exits with status 2 and one sentence on a mistake that the user can mend.

    Args:
        settings_type: A dataclass; each field is an option, the string below it its help.
        plan: From settings to the stages wanted.
        smoke: Shrinks the settings for `--smoke`.
        report: Shows the results of the finished stages.
        description: Shown by `--help`.
        default: What options change; default: the type's own defaults.
        preview: Shows what `report` would do, in a dry run.
        ready: Makes sure of what the run needs beside its data; not called in a dry run.
        program: Name shown by `--help`; default: the file's.
        words: The command line's words; default: the program's.
    """
    # What the user gave is what counts; a library's chatter would hide our lines.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

    given = settings_type() if default is None else default

    def command(
        settings: Annotated[settings_type, tyro.conf.arg(name="")] = given,  # type: ignore[valid-type]
        flags: Annotated[Flags, tyro.conf.arg(name="")] = Flags(),
    ) -> tuple[Any, Flags]:
        return settings, flags

    def work() -> None:
        read = read_words(command, sys.argv[1:] if words is None else words, program, description)
        _run(read, plan, smoke, report, preview, ready)

    with_errors_told("--debug" in sys.argv, work)


def _run(
    given: tuple[Any, Flags],
    plan: Callable[[Any], Sequence[Any]],
    smoke: Callable[[Any], Any],
    report: Callable[[Any, Sequence[Any]], None] | None,
    preview: Callable[[Any, Sequence[Any]], None] | None,
    ready: Callable[[Any], None] | None,
) -> None:
    # Here, not above: `wellread --help` need not wait for it.
    from wellread_hf.store.graph import carry_out
    from wellread_hf.store.records import REMEMBERS

    settings, flags = given
    if flags.smoke:
        settings = smoke(settings)
    if flags.dry_run:
        before = REMEMBERS.set(False)
        try:
            _show_plan(settings, plan(settings), preview)
        finally:
            REMEMBERS.reset(before)
        return
    if ready is not None:
        ready(settings)
    stages = plan(settings)
    carry_out(stages)
    if report is not None and is_main_process():
        report(settings, stages)


def _show_plan(
    settings: Any, stages: Sequence[Any], preview: Callable[[Any, Sequence[Any]], None] | None
) -> None:
    from wellread_hf.store.graph import check, in_order
    from wellread_hf.store.records import canonical_json

    print(json.dumps(json.loads(canonical_json(asdict(settings))), indent=2))
    ordered = in_order(stages)
    check(ordered)
    for stage in ordered:
        print(f"{stage.state:9}  {stage.kind:9}  {stage.folder}")
    if preview is not None:
        preview(settings, stages)


def share_processors() -> None:
    """Lets torch's idle threads sleep soon, so that several runs share a machine; before torch is loaded.

    GNU's OpenMP, which torch's wheels for Linux carry, reads this once, when it is loaded. By default a
    thread that waits for the others spins for milliseconds on a processor that another run could use.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def with_errors_told(debug: bool, work: Callable[[], None]) -> None:
    """Runs `work`; whatever it raises ends the program with one sentence and a status.

    A mistake in the input: status 2 as a rule, else the error's own. A defect of the package: `DEFECT`.
    A reader of our output that has gone, as `head` does: 141, and nothing is said.

    Args:
        debug: Let errors through, so that Python shows the traceback.
        work: Any.
    """
    share_processors()
    try:
        work()
        # Here a failed write can still be reported.
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        _close_bars()
        if is_main_process():
            # Ctrl-C says nothing, a signal does.
            line = str(error) or "interrupted; the same command goes on from the last checkpoint"
            print(line, file=sys.stderr)
        sys.exit(getattr(error, "status", 130))
    except BrokenPipeError:
        # Python flushes again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if debug:
            raise
        _close_bars()
        # Another process may have found what the first one did not, a loss of its own rows for one.
        who = "" if is_main_process() else f"process {os.environ['RANK']}: "
        told = error if isinstance(error, WellreadError) else input_error(error)
        if told is None:
            line = one_line(
                f"this is a defect of wellread_hf, not of your input: "
                f"{type(error).__name__}: {cause(error)}; --debug shows the traceback, please report it"
            )
            print(f"{who}internal error: {line}", file=sys.stderr)
            sys.exit(DEFECT)
        message = str(told) if isinstance(told, UsageError) else _as_typed(str(told), sys.argv)
        print(f"{who}error: {one_line(message)}", file=sys.stderr)
        sys.exit(told.status)


def _as_typed(message: str, words: Sequence[str]) -> str:
    """Spells the settings that a message names in backticks as the command line does.

    `learning_rate` becomes --pd.optim.learning-rate if that alone was given: settings do not know what they
    are a part of.
    """
    typed = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}

    def spelled(match: re.Match[str]) -> str:
        name = match[1].replace("_", "-")
        long = [option for option in typed if option.endswith(f".{name}")]
        return long[0] if len(long) == 1 and f"--{name}" not in typed else f"--{name}"

    return re.sub(r"`([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)`", spelled, message)


def _close_bars() -> None:
    """Ends the lines of progress bars that an error cut off, so that the sentence gets one of its own."""
    bars = getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "_instances", ())
    for bar in list(bars):
        bar.close()
