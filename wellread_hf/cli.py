"""The command `wellread`, and what all recipes' command lines share."""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from wellread_hf.errors import SettingsError, StoreError, WellreadError
from wellread_hf.graph import carry_out, in_order
from wellread_hf.progress import is_main_process
from wellread_hf.records import REMEMBERS, canonical_json, write_atomically

Settings = TypeVar("Settings")


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

    debug = "--debug" in sys.argv
    with_errors_told(debug, lambda: _run(tyro.cli(command, description=description), plan, smoke, report))


def _run(
    given: tuple[Any, Flags],
    plan: Callable[[Any], Sequence[Any]],
    smoke: Callable[[Any], Any],
    report: Callable[[Any, Sequence[Any]], None] | None,
) -> None:
    settings, flags = given
    if flags.smoke:
        settings = smoke(settings)
    REMEMBERS.set(not flags.dry_run)
    stages = plan(settings)
    if flags.dry_run:
        print(json.dumps(json.loads(canonical_json(asdict(settings))), indent=2))
        for stage in in_order(stages):
            print(f"{stage.state:9}  {stage.kind:9}  {stage.folder}")
        return
    carry_out(stages)
    if report is not None and is_main_process():
        report(settings, stages)


def with_errors_told(debug: bool, work: Callable[[], None]) -> None:
    """Runs `work`; a mistake of the user ends the program with one sentence and status 2."""
    try:
        work()
    except WellreadError as error:
        if debug:
            raise
        _close_bars()
        # Another process may have found what the first one did not, a loss of its own rows for one.
        who = "" if is_main_process() else f"process {os.environ['RANK']}: "
        print(f"{who}error: {_as_typed(str(error), sys.argv)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


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


def main() -> None:
    """Runs the command `wellread`."""
    with_errors_told(
        "--debug" in sys.argv,
        lambda: tyro.extras.subcommand_cli_from_dict(
            {"students": students, "losses": losses, "card": card},
            prog="wellread",
            description="Compact BERTs by Pre-trained Distillation.",
        ),
    )


def students() -> None:
    """Print the 24 students: names, sizes, exact parameters."""
    from wellread_hf.students import STUDENTS

    print(f"{'name':12} {'alias':7} {'layers':>6} {'hidden':>6} {'heads':>5} {'parameters':>11}  release")
    for student in STUDENTS:
        print(
            f"{student.name:12} {student.alias or '':7} {student.layers:6} {student.hidden:6} "
            f"{student.heads:5} {student.parameters():11,}  {student.release}"
        )


def losses(folders: tyro.conf.Positional[tuple[Path, ...]], out: Path = Path("losses.png")) -> None:
    """Draw the losses of training stages over their steps.

    Args:
        folders: Folders of finished stages, e.g. runs/pretrain-...
        out: The PNG to write.
    """
    from wellread_hf.charts import draw_losses

    draw_losses(folders, out)
    print(out)


def card(
    target: tyro.conf.Positional[str | None] = None,
    out: Path | None = None,
    all: tyro.conf.FlagCreatePairsOff[bool] = False,
    eval_results: tyro.conf.FlagCreatePairsOff[bool] = False,
    name: str | None = None,
    namespace: str | None = None,
) -> None:
    """Write the model card of a finished run, or of one of the 24 students.

    Args:
        target: Folder of a finished model, e.g. runs/pretrain-..., or a student, e.g. bert-4-256.
        out: Folder to write README.md and scores.png into; default: the run's own.
        all: Write the cards of the 24 students as NAME.md, without pictures.
        eval_results: Write .eval_results/glue.yaml too; the Hub takes it once GLUE is a benchmark there.
        name: Name of the repository; default: the student's, with the task's for a task student.
        namespace: User or organisation that it is pushed to.
    """
    from wellread_hf.cards import facts_of_run, facts_of_student, render
    from wellread_hf.students import STUDENTS, Student

    if all:
        if target is not None or out is None or eval_results or name is not None:
            raise SettingsError(
                "--all writes the cards of the 24 students: expected --out FOLDER, and no target, --name or "
                "--eval-results; leave out the one or the other"
            )
        for student in STUDENTS:
            text = render(facts_of_student(student, namespace=namespace), picture=False).markdown
            _write(out / f"{student.name}.md", text.encode())
        return
    if target is None:
        raise SettingsError("expected a run's folder or a student's name, got neither; or give --all")
    folder = Path(target)
    if folder.is_dir():
        facts = facts_of_run(folder, name, namespace)
    elif "/" in target and not target.startswith("google/"):
        raise StoreError(
            f"expected a run's folder or a student's name, and there is no folder {target}; check it"
        )
    else:
        facts = facts_of_student(Student.parse(target), name, namespace)
        if out is None:
            raise SettingsError(f"{target} is a student, not a run, and has no folder; say where with --out")
    for path, content in render(facts, eval_results=eval_results).files.items():
        _write((out or folder) / path, content)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}); give another folder with --out") from error
    print(path)


if __name__ == "__main__":
    main()
