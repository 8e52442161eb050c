"""Command lines that a user can paste: the next recipe, called as the present one was."""

import shlex
import shutil
import sys
from pathlib import Path

from wellread_hf.store.records import INVOKED_AS


def typed(recipe: str, *words: str) -> str:
    """Writes the command line of a recipe, called as this one was, or of a command that is none."""
    called = Path(next(iter(INVOKED_AS.get()), ""))
    file = called.with_name(f"{recipe}.py") if called.suffix == ".py" else called
    if not file.is_file():
        return typed_command(recipe, *words)
    return shlex.join([_program("python"), str(file), *words])


def typed_command(*words: str) -> str:
    """Writes a command line of `wellread`, ready to paste into the same shell."""
    return shlex.join([_program("wellread"), *words])


def _program(name: str) -> str:
    """Returns a program of the environment that runs, by its name where the shell finds that very one."""
    path = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(path):
        return name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
