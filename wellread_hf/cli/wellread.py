"""The command `wellread`: one function a subcommand."""

import ast
import importlib.util
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any

import tyro

from wellread_hf import __version__
from wellread_hf.cli.card import card
from wellread_hf.cli.exits import report_errors
from wellread_hf.cli.options import Names
from wellread_hf.cli.pick import pick
from wellread_hf.cli.report import report
from wellread_hf.cli.serving import predict, serve
from wellread_hf.cli.words import read_words
from wellread_hf.errors import UnknownNameError, nearest

_PACKAGE = Path(__file__).parents[1]


def main() -> None:
    """Runs the command `wellread`."""
    words, names = sys.argv[1:], Names()
    # `--debug` is for every command, so no function has it as a parameter.
    with report_errors("--debug" in words, names.as_options):
        _run([word for word in words if word != "--debug"], names)


def _run(words: Sequence[str], names: Names) -> None:
    # The first word is argparse's: tyro would read the options of all commands to list their names.
    parser = ArgumentParser(
        prog="wellread",
        description="Compact BERTs by Pre-trained Distillation. --debug shows the traceback of an error.",
    )
    listed = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    recipes = recipe_files()
    about = {name: str(function.__doc__) for name, function in COMMANDS.items()}
    about |= {name: _docstring(file) for name, file in recipes.items()}
    # Only a page of help needs the list.
    if not words or words[0] in ("-h", "--help"):
        for name, text in about.items():
            listed.add_parser(name, help=text.partition("\n")[0], add_help=False)
    if not words:
        # The name alone asks what there is.
        parser.print_help(sys.stderr)
        sys.exit(2)
    if words[0] == "--version":
        return print(f"wellread_hf {__version__}")
    name, options = words[0], words[1:]
    # argparse shows its page, which lists the commands added above, and ends.
    if name in ("-h", "--help"):
        parser.parse_args([name])
    if name in recipes:
        # It ends by itself, and reads the flag as its own.
        debug = ["--debug"] if "--debug" in sys.argv else []
        load_recipe(recipes[name]).run(f"wellread {name}", [*options, *debug])
        return
    if name not in COMMANDS:
        raise UnknownNameError(
            f"expected one of wellread's commands ({', '.join(about)}), got {name!r}; the nearest is "
            f"{nearest(name, about, 1)}"
        )
    # Called when its words are read, so that what it prints is its own.
    command = COMMANDS[name]
    text = cleandoc(str(command.__doc__)).partition("Args:")[0].strip()
    read_words(wraps(command)(partial(partial, command)), options, f"wellread {name}", text)()


def recipe_files() -> Mapping[str, Path]:
    """Returns the recipes that are commands too, by name: those of the wheel, or of the checkout."""
    folder = next(path for path in (_PACKAGE / "recipes", _PACKAGE.with_name("recipes")) if path.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "minimal"}


def load_recipe(file: Path) -> Any:
    """Imports a recipe's file; returns its `RECIPE`."""
    spec = importlib.util.spec_from_file_location(f"wellread_recipe_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Type hints and pickles look a class's module up here.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.RECIPE


def _docstring(file: Path) -> str:
    # Parsed, not imported: importing all recipes takes two seconds, and the help needs a line of each.
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


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
    """Draw the losses of training stages over their steps; compare what pre-trainings took to one loss.

    Args:
        folders: Folders of finished stages, e.g. runs/pretrain-...
        out: The PNG to write.
    """
    from wellread_hf.results.charts import draw_losses
    from wellread_hf.results.losses import reach_table

    draw_losses(folders, out)
    print(out)
    if (table := reach_table(folders)) is not None:
        table.show("until each pre-training reached one held-out loss")


def verdicts(studies: tyro.conf.Positional[tuple[Path, ...]], page: Path) -> None:
    """Show finished studies in a page: verdicts and pictures between two comments, their own pages beside.

    Args:
        studies: Folders of finished studies: runs/studies-..., runs/study-...
        page: Markdown file with the lines <!-- studies: begin --> and <!-- studies: end -->.
    """
    from wellread_hf.experiments.study.overview import collect

    collect(studies, page)
    print(page)


def verify(
    repo: tyro.conf.Positional[str],
    revision: str | None = None,
    scores: bool = False,
    data: str = "nyu-mll/glue",
    max_length: int = 128,
    deadline: float = 60.0,
) -> None:
    """Download a model, check every file's hash (the client does not), load it, check its card's scores.

    Args:
        repo: Id of the model.
        revision: Branch, tag or commit.
        scores: Recompute the dev scores that the card claims.
        data: GLUE: Hub id or folder.
        max_length: Tokens a row, as in training.
        deadline: Minutes after which a call that fails is not tried again.
    """
    from wellread_hf.hub.verify import verify as verify_model
    from wellread_hf.settings import Tuning

    # Refuses a length that no training has, before the Hub is asked.
    Tuning(max_length=max_length)
    found = verify_model(repo, revision, scores, data, max_length, deadline=60 * deadline)
    found.show()
    sys.exit(found.status)


def pull(
    repo: tyro.conf.Positional[str],
    revision: str | None = None,
    runs: Path = Path("runs"),
    deadline: float = 60.0,
) -> None:
    """Fetch soft labels that were published, for `recipes/distill.py --labels`.

    Args:
        repo: Id of the data set.
        revision: Branch, tag or commit.
        runs: Folder of all stages.
        deadline: Minutes after which a call that fails is not tried again.
    """
    from wellread_hf.hub.pull import pull_soft_labels

    print(pull_soft_labels(repo, runs, revision, deadline=60 * deadline))


def submission(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("glue.zip"),
    baseline_for_missing: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Pack stored test predictions of all of GLUE's tasks into the zip that its server takes.

    Args:
        runs: Folders: runs/glue-..., of which the best seed on dev is taken, or runs/predict-...
        out: The zip; OUT.json beside it says what each file came from.
        baseline_for_missing: Fill tasks that no run predicts: the most frequent class, in STS-B the mean.
    """
    from wellread_hf.results.submission import submit

    for file, origin in submit(runs, out, baseline_for_missing).items():
        print(f"{file:12} {origin}")
    print(out)


def compare(
    submission: tyro.conf.Positional[Path],
    labels: tuple[Path, ...],
) -> None:
    """Score a submission against labels that you have.

    Args:
        submission: The zip.
        labels: Files named as in the zip, e.g. SST-2.tsv, with the header index<TAB>label.
    """
    from wellread_hf.results.submission import compare as scored
    from wellread_hf.tasks import GLUE_SETS

    found = scored(submission, labels)
    for name, metrics in found.scores.items():
        figures = ", ".join(f"{metric} {100 * value:.1f}" for metric, value in metrics.items())
        print(f"{GLUE_SETS[name].title:8} {figures} ({found.rows[name]:,} rows)")
    if found.average is not None:
        print(f"{found.name}: {100 * found.average.value:.1f}")


def scores(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    csv: Path | None = None,
    markdown: Path | None = None,
    png: Path | None = None,
    tasks: str = "all",
) -> None:
    """Show the dev scores of scoreboards and sweeps; of a running sweep, what is selected so far.

    Args:
        runs: Folders of stages, or runs/glue-... and runs/sweep-...
        csv: Write them as CSV, rows and averages.
        markdown: Write them as Markdown.
        png: Draw them against the students' parameters, the paper's test scores beside them.
        tasks: GLUE's tasks joined by commas, or all.
    """
    from wellread_hf.results.dev_tables import show_scores

    show_scores(runs, csv, markdown, png, tasks)


COMMANDS: Mapping[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        *(students, losses, verdicts, card, verify),
        *(pull, submission, compare, scores, pick, report, predict, serve),
    )
}


if __name__ == "__main__":
    main()
