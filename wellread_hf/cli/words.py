"""Reads command lines; what is wrong with a word is one sentence, with the option that may be meant."""

import io
import os
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from difflib import get_close_matches
from typing import Any, TypeVar

import tyro

from wellread_hf.cli.options import Names
from wellread_hf.errors import UsageError, nearest

Read = TypeVar("Read")

# Options of other trainers: what they are called here.
_SYNONYMS = {
    "lr": "learning-rate",
    "bs": "batch-size",
    "batch": "batch-size",
    # Labelling counts a batch in tokens; recipes with `batch-size` find that name before this one.
    "batch-size": "batch-tokens",
    "per-device-train-batch-size": "batch-size",
    "train-batch-size": "batch-size",
    # Steps follow from the batch and what a process handles at once.
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
    "cased": "case",
    "do-lower-case": "case",
    "lang": "language",
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


def read_words(
    command: Callable[..., Read],
    words: Sequence[str],
    program: str,
    description: str | None = None,
    names: Names | None = None,
) -> Read:
    """Reads a command line as the parameters of `command`, calls it, and returns what it returns.

    Args:
        command: Any.
        words: With the long names of options.
        program: Name shown by `--help`.
        description: Shown by `--help`.
        names: How options were typed.

    Raises:
        UsageError: A word is not as it should be; the message names the option that may be meant.
    """
    try:
        # tyro answers with a box of many lines and ends the program.
        with redirect_stderr(io.StringIO()):
            return tyro.cli(command, prog=program, description=description, args=words)
    except SystemExit as end:
        # `--help` ends with 0, and has printed its page.
        if not end.code:
            raise
    raise UsageError((names or Names()).as_typed(_refusal(command, program, words)))


def _refusal(command: Callable[..., Any], program: str, words: Sequence[str]) -> str:
    """Says in one sentence what tyro says in a box."""
    # So wide that no message is wrapped. A rule parts it from the option's help.
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
        return f"{match[1]}: expected {wanted}, got {' '.join(values_of(words, match[1]))!r}"
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


def _tyro_says(command: Callable[..., Any], program: str, words: Sequence[str], width: int) -> str:
    """Returns what tyro prints in lines of `width` characters at most, without the box around them."""
    # Where the text cannot be UTF-8, the box is another one.
    # tyro takes its width from `shutil.get_terminal_size`, which reads COLUMNS first.
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


def values_of(words: Sequence[str], wanted: str) -> list[str]:
    """Returns the words that follow an option where it stands last; none if it is not given."""
    values: list[str] = []
    reads = False
    for word in words:
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == wanted:
            # Anew: of an option given twice the last counts, as with tyro.
            values, reads = [value] if equals else [], True
        elif word.startswith("--"):
            reads = False
        elif reads:
            values.append(word)
    return values


def as_first_words(words: Sequence[str], option: str) -> list[str]:
    """Returns the words with the values of a positional option first, and without its name.

    tyro reads such a setting from words alone; before all options none of them takes these words.
    """
    places = [place for place, word in enumerate(words) if word.partition("=")[0] == option]
    if not places:
        return list(words)
    values, place = values_of(words, option), places[-1]
    after = place + 1 if "=" in words[place] else place + 1 + len(values)
    return [*values, *words[:place], *words[after:]]


def _other_name(given: str, known: Sequence[str]) -> str:
    """Names the option that is meant by one that is not known.

    Args:
        given: As it was given.
        known: All that there are, with their dashes.
    """
    asked = given.partition("=")[0].lstrip("-").replace("_", "-").lower()
    last = asked.rpartition(".")[2]
    ours = [name.removeprefix("--") for name in known]
    if last in _DEVICES:
        return (
            f"{given}: there is no such option, the device is chosen outside: CUDA_VISIBLE_DEVICES names "
            "the GPUs (empty: the CPU), and `accelerate launch` starts a process for each"
        )
    found = (
        [name for name in ours if name.rstrip("s") == last.rstrip("s")]
        or _same_end(asked, ours)
        or _same_end(_SYNONYMS.get(last, ""), ours)
        or [name for name in _MODELS if name in ours and last in _MODEL_WORDS][:1]
        or [name for name in ours if name.startswith(f"{last}.")][:1]
        or get_close_matches(asked, ours, n=3)
        or _same_end("".join(get_close_matches(last, [name.rpartition(".")[2] for name in ours], n=1)), ours)
    )
    if not found:
        return f"{given}: there is no such option; see --help for those that there are"
    # Others have a flag for it, we have a setting with a value.
    value = " bf16" if last in ("fp16", "bf16", "half") else ""
    shown = [f"--{name}{value}" for name in found[:_SHOWN]] + ["..."] * (len(found) > _SHOWN)
    return f"{given}: there is no such option; expected {' or '.join(shown)}"


def _same_end(asked: str, names: Sequence[str]) -> list[str]:
    """Returns those names that have most of their last parts in common with the one asked for, if any."""
    parts = asked.split(".")
    for start in range(len(parts)):
        tail = ".".join(parts[start:])
        if found := [name for name in names if name == tail or name.endswith(f".{tail}")]:
            return found
    return []
