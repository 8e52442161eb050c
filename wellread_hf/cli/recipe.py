"""One runner for all recipes: settings from presets, files and options; a plan; the run; its results."""

import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from wellread_hf.cli.exits import report_errors
from wellread_hf.cli.options import Names, as_yaml, changed, options_of, read_yaml, with_file
from wellread_hf.cli.words import as_first_words, read_words, values_of
from wellread_hf.cli.worlds import check_one_world
from wellread_hf.errors import UsageError, nearest
from wellread_hf.settings import Task
from wellread_hf.store.progress import is_main_process

Settings = TypeVar("Settings")

_HELP_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Options of every recipe."""

    preset: str | None = None
    """Named settings that files and options then change, e.g. `smoke`: the whole path in seconds."""
    config: Path | None = None
    """YAML file of settings; options count more. A finished stage's `settings.yaml` repeats its run."""
    dry_run: bool = False
    """Print the plan, with what is done already, and the settings that differ from the defaults; write
    nothing."""
    verbose: bool = False
    """With `--dry-run`: print all settings."""
    debug: bool = False
    """Show the traceback of an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Generic[Settings]):
    """What a recipe hands over: `RECIPE.run()` is its command line.

    Attributes:
        about: The recipe's docstring, shown by `--help`.
        settings: Their class; each field is an option, the string below it its help.
        plan: From settings to the stages wanted.
        show: Shows the results of the finished stages.
        presets: Named settings for `--preset`.
        first: Names of the options that `--help` shows, those that people set first.
        preview: Shows in a dry run what `show` would do.
        ready: Makes sure of what the run needs beside its data; not called in a dry run.
    """

    about: str | None
    settings: type[Settings]
    plan: Callable[[Settings], Sequence[Any]]
    show: Callable[[Settings, Sequence[Any]], None]
    presets: Mapping[str, Settings] = field(default_factory=dict)
    first: str = ""
    preview: Callable[[Settings, Sequence[Any]], None] | None = None
    ready: Callable[[Settings], None] | None = None

    def run(self, program: str | None = None, words: Sequence[str] | None = None) -> None:
        """Reads the command line, plans the stages, carries them out, shows the results.

        Exits with status 2 and one sentence on a mistake of the user.

        Args:
            program: What was called, e.g. `wellread pd`; default: the program's own name and words.
            words: The words after it.
        """
        # `wellread NAME` and tests give the words; a recipe's own program alone reads `sys.argv`.
        given = sys.argv[1:] if words is None else list(words)
        called = [sys.argv[0]] if program is None else program.split()
        # What the user gave is what counts; a library's chatter would hide our lines.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        # Unset, tokenizers stops its threads in a forked process, and warns that it does.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        names = Names([option.name for option in options_of(self.settings())])
        # Looked for by hand, since a mistake in the other words ends the run before the flags are read.
        with report_errors("--debug" in given, names.as_options):
            # A page of our own: tyro's, with all options of `pd`, had 564 lines (docs/decisions.md).
            if {"-h", "--help"} & {*given}:
                return print(self._help(" ".join(called), names))
            try:
                settings, flags = self._read(given, " ".join(called), names)
            finally:
                # On stderr, so that stdout holds the run's account alone; also when reading fails.
                for note in names.notes:
                    print(note, file=sys.stderr)
            self._carry_out(settings, flags, [*called, *given])

    def _read(self, words: list[str], program: str, names: Names) -> tuple[Settings, Flags]:
        if "--smoke" in words:
            names.notes.append("note: --smoke is called --preset smoke now; it goes with the next release")
            words = [
                part for word in words for part in (["--preset", "smoke"] if word == "--smoke" else [word])
            ]
        words = ["--help" if word == "--help-all" else word for word in names.expand(words)]
        for option in options_of(self.settings()):
            if option.positional:
                words = as_first_words(words, f"--{option.name}")
        default = self.settings()
        for name in values_of(words, "--preset")[:1]:
            default = self._preset(name)
        for config in map(Path, values_of(words, "--config")[:1]):
            default = with_file(default, config, names, read_yaml(config))
        task = values_of(words, "--task.name")[:1] or [getattr(getattr(default, "task", None), "name", "")]
        if (path := Path(task[0])).suffix in (".yaml", ".yml"):
            values = {"name": path.stem} | dict(read_yaml(path))
            default = changed(default, {("task",): with_file(Task(), path, Names(_TASK), values)})
            # The file's path is still among the words, and of an option given twice the last counts.
            words = [*words, "--task.name", default.task.name]  # type: ignore[attr-defined]
        kind = self.settings

        def command(
            settings: Annotated[kind, tyro.conf.arg(name="")] = default,  # type: ignore[valid-type]
            flags: Annotated[Flags, tyro.conf.arg(name="")] = Flags(),
        ) -> tuple[Any, Flags]:
            return settings, flags

        settings, flags = read_words(command, words, program, self.about, names)
        check_one_world({option.name: option.value for option in options_of(settings)})
        return settings, flags

    def _preset(self, name: str) -> Settings:
        if name not in self.presets:
            raise UsageError(
                f"--preset: expected one of {', '.join(self.presets)}, got {name!r}; the nearest is "
                f"{nearest(name, self.presets, 1)}"
            )
        return self.presets[name]

    def _help(self, program: str, names: Names) -> str:
        options = {option.name: option for option in options_of(self.settings())}
        positional = [option for option in options.values() if option.positional]
        words = "".join(f"[{option.name.upper()}] " for option in positional)
        lines = [f"usage: {program} {words}[OPTIONS]", "", (self.about or "").strip(), "", "options:"]
        shown = positional + [options[names.find(name) or name] for name in self.first.split()]
        entries = [
            (names.shown(option.name), f"{option.help} (default: {_as_words(option.value)})")
            for option in shown
        ]
        entries += [
            ("--preset", f"Named settings that other options change: {', '.join(self.presets)}."),
            ("--config", "YAML file of settings; options count more."),
            ("--dry-run", "Print the plan and the settings that differ from the defaults; write nothing."),
            ("--help-all", f"Explain all {len(options)} options."),
        ]
        for name, text in entries:
            lines += textwrap.wrap(
                f"  {name:17} {text}", _HELP_WIDTH, subsequent_indent=" " * 20, break_long_words=False
            )
        return "\n".join(lines)

    def _carry_out(self, settings: Settings, flags: Flags, command: Sequence[str]) -> None:
        # Here, not above: `wellread --help` need not wait for it.
        from wellread_hf.store.graph import carry_out
        from wellread_hf.store.records import INVOKED_AS, REMEMBERS

        invoked, remembers = INVOKED_AS.set(tuple(command)), REMEMBERS.set(not flags.dry_run)
        try:
            if flags.dry_run:
                return self._show_plan(settings, flags.verbose)
            if self.ready is not None:
                self.ready(settings)
            stages = self.plan(settings)
            carry_out(stages)
            # Every process of a launch comes here; files and results are written once.
            if is_main_process():
                self._keep_settings(settings, stages, command)
                self.show(settings, stages)
        finally:
            INVOKED_AS.reset(invoked)
            REMEMBERS.reset(remembers)

    def _show_plan(self, settings: Settings, everything: bool) -> None:
        from wellread_hf.store.graph import check
        from wellread_hf.store.stage import in_order

        stages = self.plan(settings)
        ordered = in_order(stages)
        # Wrong columns or missing files were found after hours; a dry run reads the data as a run does.
        check(ordered)
        # Under a launcher every process checks, and one of them prints.
        if not is_main_process():
            return
        for stage in ordered:
            print(f"{stage.state:9}  {stage.kind:9}  {stage.folder}")
        if self.preview is not None:
            self.preview(settings, stages)
        usual = {option.name: option.value for option in options_of(self.settings())}
        shown = [each for each in options_of(settings) if everything or each.value != usual[each.name]]
        print(f"\n{as_yaml(shown).rstrip() if shown else 'settings: all as by default'}")

    def _keep_settings(self, settings: Settings, stages: Sequence[Any], command: Sequence[str]) -> None:
        """Writes the settings beside the record of each stage, once: an equal rerun may differ in workers."""
        from wellread_hf.store.records import SETTINGS, write_atomically

        called = shlex.join([Path(command[0]).name, *command[1:]])
        text = f"# All settings of: {called}\n{as_yaml(list(options_of(settings)))}"
        for stage in stages:
            # A finished stage may lie in a read-only folder.
            with suppress(OSError):
                if not (stage.folder / SETTINGS).exists():
                    write_atomically(stage.folder / SETTINGS, text)


_TASK = [option.name for option in options_of(Task())]


def _as_words(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
