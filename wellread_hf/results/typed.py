"""Command lines that a user can paste: the next recipe, called as the present one was."""

import shlex
import shutil
import sys
from pathlib import Path

from wellread_hf.store.records import INVOKED_AS


def typed(recipe: str, *words: str) -> str:
    """Writes the command line of another recipe, called as this one was, ready to paste into the shell."""
    called = Path(next(iter(INVOKED_AS.get()), ""))
    if called.suffix != ".py":
        return typed_command(recipe, *words)
    return shlex.join([_program("python"), str(called.with_name(f"{recipe}.py")), *words])


def typed_command(*words: str) -> str:
    """Writes a command line of `wellread`, ready to paste into the same shell."""
    return shlex.join([_program("wellread"), *words])


def _program(name: str) -> str:
    """Returns a program of the environment that runs, by its name where the shell finds that very one."""
    path = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(path):
        return name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
