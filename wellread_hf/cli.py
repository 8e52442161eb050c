"""What all command lines share: reading options, running a recipe, every error in one sentence."""

import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

import tyro

from wellread_hf.errors import UsageError, WellreadError, cause, input_error, nearest
from wellread_hf.progress import is_main_process

Settings = TypeVar("Settings")
Read = TypeVar("Read")

# Some 14 microseconds, as long as many gaps between a tiny model's operations; docs/performance.md.
SPINS = "1000"

# A defect of ours; EX_SOFTWARE of sysexits.h.
DEFECT = 70
# Longer words, a number of 5,000 digits for one, are shortened in an error.
_LONGEST_WORD = 300
# Options of other trainers: what they are called here.
_SYNONYMS = {
    "lr": "learning-rate",
    "bs": "batch-size",
    "batch": "batch-size",
    "batch-size": "batch-tokens",
    "per-device-train-batch-size": "batch-size",
    "train-batch-size": "batch-size",
    "gradient-accumulation-steps": "micro-batch-size",
    "num-train-epochs": "epochs",
    "num-epochs": "epochs",
    "max-steps": "steps",
    "max-seq-length": "max-length",
    "max-seq-len": "max-length",
    "seq-length": "max-length",
    "warmup-ratio": "warmup",
    "warmup-steps": "warmup",
    "vocab-size": "vocabulary",
    "output-dir": "runs",
    "output": "runs",
    "train-file": "data",
    "dataset": "data",
    "dataset-name": "data",
    "validation-file": "validation",
    "text-column": "columns",
    "label-column": "label",
    "fp16": "precision",
    "bf16": "precision",
    "half": "precision",
}
# Words for a model that is read; each recipe has its own, the first that it has is meant.
_MODELS = ("weights", "start.weights", "source", "sources", "start", "teacher", "teachers", "runs")
_MODEL_WORDS = {*_MODELS, "model", "model-name-or-path", "checkpoint", "encoder"}
# Most options that an answer names.
_SHOWN = 4
_DEVICES = {"device", "devices", "gpu", "gpus", "cuda", "cpu", "no-cuda", "use-cpu", "num-gpus", "mps"}


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


def read_words(
    command: Callable[..., Read], words: Sequence[str], program: str | None, description: str | None = None
) -> Read:
    """Reads a command line as the parameters of `command`, calls it, and returns what it returns.

    Raises:
        UsageError: A word is not as it should be; the message names the option that may be meant.
    """
    try:
        # tyro answers with a box of many lines and ends the program.
        with redirect_stderr(io.StringIO()):
            return tyro.cli(command, prog=program, description=description, args=words)
    except SystemExit as end:
        if not end.code:
            raise
    raise UsageError(_refusal(command, program, words))


def _refusal(command: Callable[..., Any], program: str | None, words: Sequence[str]) -> str:
    """Says in one sentence what tyro says in a box."""
    text, _, rest = _tyro_says(command, program, words, width=100_000).partition("───")
    text = " ".join(text.split())
    if match := re.match(r"Unrecognized options: (.*)", text):
        unknown = match[1].split(", ")
        option = next((word for word in unknown if word.startswith("-")), None)
        if option is None:
            return (
                f"expected options and their values, got the word {unknown[0]!r}, which belongs to none; "
                "leave it out, or see --help"
            )
        # Where an option is explained it begins a line; sentences, which may name others, are indented.
        page = _tyro_says(command, program, ["--help"], width=79)
        return _other_name(option, re.findall(r"^(?:-\w, )?(--[a-z][\w.-]*)", page, re.MULTILINE))
    if match := re.match(r"Error parsing (--\S+?):", text):
        # The next section is the option's help, which begins with its name and type.
        kind = re.search(re.escape(match[1]) + r"(?:, --\S+)? (\S+)", rest)
        named = {"INT": "a whole number", "FLOAT": "a number"}
        wanted = next((said for word, said in named.items() if kind and word in kind[1]), "another value")
        return f"{match[1]}: expected {wanted}, got {_value_of(match[1], words)!r}"
    if match := re.match(r"invalid choice '(.*)' for argument '(?:settings\.)?(.*)'.*?\((.*)\)", text):
        known = re.findall(r"'([^']*)'", match[3])
        return (
            f"{match[2]}: expected one of {', '.join(known)}, got {match[1]!r}; the nearest is "
            f"{nearest(match[1], known, 1)}"
        )
    if match := re.match(r"Missing value for argument .*?(--[\w.-]+)", text):
        return f"{match[1]}: expected a value, got none; give one"
    if match := re.match(r"Missing from (.*?): (.*)", text):
        return f"{match[1]}: a word is missing, {match[2].removesuffix('. (required)')}; see --help"
    return f"{text}; see --help"


def _tyro_says(command: Callable[..., Any], program: str | None, words: Sequence[str], width: int) -> str:
    """Returns what tyro prints in lines of `width` characters at most, without the box around them."""
    # Where the text cannot be UTF-8, the box is another one.
    said, columns = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        with redirect_stdout(said), redirect_stderr(said), suppress(SystemExit):
            tyro.cli(command, prog=program, args=words)
    finally:
        del os.environ["COLUMNS"]
        if columns is not None:
            os.environ["COLUMNS"] = columns
    said.seek(0)
    return re.sub(r"^[╭╰].*[╮╯]$\n|^│ ?| *│$", "", said.read(), flags=re.MULTILINE)


def _value_of(option: str, words: Sequence[str]) -> str:
    """Returns what was given for an option, the last time that it was."""
    values: list[str] = []
    reads = False
    for word in words:
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == option:
            values, reads = [value] if equals else [], True
        elif word.startswith("--"):
            reads = False
        elif reads:
            values.append(word)
    return " ".join(values)


def _other_name(option: str, known: Sequence[str]) -> str:
    """Names the option that is meant by one that is not known.

    Args:
        option: As it was given.
        known: All that there are, with their dashes.
    """
    asked = option.partition("=")[0].lstrip("-").replace("_", "-").lower()
    last = asked.rpartition(".")[2]
    ours = [name.removeprefix("--") for name in known]
    if last in _DEVICES:
        return (
            f"{option}: there is no such option, the device is chosen outside: CUDA_VISIBLE_DEVICES names "
            "the GPUs (empty: the CPU), and `accelerate launch` starts a process for each"
        )
    found = [name for name in ours if name.rstrip("s") == last.rstrip("s")] or _same_end(asked, ours)
    if not found and last in _SYNONYMS:
        found = _same_end(_SYNONYMS[last], ours)
    if not found and last in _MODEL_WORDS:
        found = [name for name in _MODELS if name in ours][:1]
    found = found or [name for name in ours if name.startswith(f"{last}.")][:1]
    found = (
        found
        or get_close_matches(asked, ours, n=3)
        or _same_end("".join(get_close_matches(last, [name.rpartition(".")[2] for name in ours], n=1)), ours)
    )
    if not found:
        return f"{option}: there is no such option; see --help for those that there are"
    value = " bf16" if last in ("fp16", "bf16", "half") else ""
    shown = [f"--{name}{value}" for name in found[:_SHOWN]] + ["..."] * (len(found) > _SHOWN)
    return f"{option}: there is no such option; expected {' or '.join(shown)}"


def _same_end(asked: str, names: Sequence[str]) -> list[str]:
    """Returns those names that have most of their last parts in common with the one asked for, if any."""
    parts = asked.split(".")
    for start in range(len(parts)):
        tail = ".".join(parts[start:])
        if found := [name for name in names if name == tail or name.endswith(f".{tail}")]:
            return found
    return []


def _run(
    given: tuple[Any, Flags],
    plan: Callable[[Any], Sequence[Any]],
    smoke: Callable[[Any], Any],
    report: Callable[[Any, Sequence[Any]], None] | None,
    preview: Callable[[Any, Sequence[Any]], None] | None,
    ready: Callable[[Any], None] | None,
) -> None:
    # Here, not above: `wellread --help` need not wait for it.
    from wellread_hf.graph import carry_out
    from wellread_hf.records import REMEMBERS

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
    from wellread_hf.graph import check, in_order
    from wellread_hf.records import canonical_json

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
        # While somebody can still be told that it cannot be written.
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
            line = _one_line(
                f"this is a defect of wellread_hf, not of your input: "
                f"{type(error).__name__}: {cause(error)}; --debug shows the traceback, please report it"
            )
            print(f"{who}internal error: {line}", file=sys.stderr)
            sys.exit(DEFECT)
        message = str(told) if isinstance(told, UsageError) else _as_typed(str(told), sys.argv)
        print(f"{who}error: {_one_line(message)}", file=sys.stderr)
        sys.exit(told.status)


def _one_line(message: str) -> str:
    """Shortens long words, and takes out line ends and the escapes of a terminal that names may have."""
    half = _LONGEST_WORD // 2
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", message)
    return re.sub(rf"\S{{{_LONGEST_WORD + 1},}}", lambda word: f"{word[0][:half]}...{word[0][-half:]}", line)


def _as_typed(message: str, words: Sequence[str]) -> str:
    """Spells options as the command line does: settings do not know what they are a part of.

    `--learning-rate` becomes `--pd.optim.learning-rate`, if that alone was given.
    """
    typed = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}

    def spelled(match: re.Match[str]) -> str:
        long = [option for option in typed if option.endswith("." + match[0].removeprefix("--"))]
        return long[0] if len(long) == 1 and match[0] not in typed else match[0]

    return re.sub(r"--[a-z0-9][a-z0-9.-]*", spelled, message)


def _close_bars() -> None:
    """Ends the lines of progress bars that an error cut off, so that the sentence gets one of its own."""
    bars = getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "_instances", ())
    for bar in list(bars):
        bar.close()
