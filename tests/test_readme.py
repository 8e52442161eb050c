"""Nothing stands in the README or in docs that is not run, or at least read, here."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import partial, wraps
from importlib.util import find_spec
from pathlib import Path

import pytest
from hub_server import HubServer
from recipe_runs import MINIMAL, RECIPES, ROOT, run_here
from transformers import BertTokenizer

from wellread_hf.cli.wellread import COMMANDS as WELLREAD
from wellread_hf.cli.words import read_words
from wellread_hf.models.load import new_classifier
from wellread_hf.students import STUDENTS, Student

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README.md"]


def _commands(text: str) -> list[str]:
    """The commands of a page's blocks, with their variables put in and without their comments."""
    commands, variables = [], dict[str, str]()
    for block in re.findall(r"```bash\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").strip().splitlines():
            if assigned := re.fullmatch(r'([A-Z]+)="(.*)"', line):
                variables[assigned[1]] = assigned[2]
                continue
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            commands.append(" ".join(re.sub(r" +#.*", "", line).split()))
    return commands


# Those of adding-a-method.md need the method of the page: tests/test_adding_a_method.py runs them.
SHOWN = [
    (page, command)
    for page, text in TEXTS.items()
    if page != "docs/adding-a-method.md"
    for command in _commands(text)
]
DOCSTRING_COMMANDS = [
    command.strip()
    for recipe in sorted((ROOT / "recipes").glob("*.py"))
    if recipe != MINIMAL
    for command in re.findall(
        r"^  ((?:python|accelerate launch|wellread) .*)$",
        str(ast.get_docstring(ast.parse(recipe.read_text()), clean=False)).replace("\\\n", " "),
        re.M,
    )
]

ONE_AFTER_ANOTHER = """
import shlex, sys
from wellread_hf.cli.wellread import main

for command in sys.argv[1:]:
    sys.argv = shlex.split(command)
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def _recipe(command: str) -> tuple[str, str] | None:
    """The recipe that a command runs, and its options."""
    found = re.fullmatch(r".*?\b(?:recipes/(\w+)\.py|wellread (\w+))\b ?(.*)", command)
    name = found and (found[1] or found[2])
    return (name, found[3]) if found and name in RECIPES else None


RUNS = list(dict.fromkeys(found for _, command in SHOWN if (found := _recipe(command))))
OTHERS = [(page, command) for page, command in SHOWN if not _recipe(command)]
ON_THE_HUB = [
    command
    for page, command in SHOWN
    # The cards of a family take students of two sizes.
    if page == "docs/publish.md" and "wellread" in command and "--keep" not in command
]


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes read their settings and do no more: names in capitals stand for what nobody has."""
    (task,) = re.findall(r"```yaml\n(.*?)```", TEXTS["docs/your-own-data.md"], re.S)
    (tmp_path / "mine.yaml").write_text(task)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wellread_hf.cli.recipe.Recipe._carry_out", lambda *_: None)


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize(("name", "options"), RUNS)
def test_a_recipes_command_is_understood(name: str, options: str, capfd: pytest.CaptureFixture[str]) -> None:
    ran = run_here(capfd, name, *shlex.split(options))
    assert ran.status == 0, ran.err


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("command", DOCSTRING_COMMANDS)
def test_a_command_in_a_recipes_docstring_is_understood(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)
    at = next(place for place, word in enumerate(words) if "recipes/" in word or word == "wellread")
    name = words[at + 1] if words[at] == "wellread" else Path(words[at]).stem
    ran = run_here(capfd, name, *words[at + 1 + (words[at] == "wellread") :])
    assert ran.status == 0, ran.err


def test_every_recipe_shows_a_command_and_stands_in_the_docs() -> None:
    recipes = {recipe.stem for recipe in (ROOT / "recipes").glob("*.py")} - {MINIMAL.stem}
    shown = {re.split(r"recipes/|wellread ", command)[1].split()[0] for command in DOCSTRING_COMMANDS}
    assert {name.removesuffix(".py") for name in shown} == recipes
    assert {name for name, _ in RUNS} == recipes


@pytest.mark.parametrize(("page", "command"), OTHERS)
def test_any_other_command_is_there(page: str, command: str) -> None:
    words = shlex.split(command)
    match words[:2]:
        case ["make", target]:
            subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
        case ["pip", "install"]:
            _check_installed(words[2:])
        case ["wellread", name]:
            read = partial(partial, WELLREAD[name])
            read_words(wraps(WELLREAD[name])(read), words[2:], f"wellread {name}")
        case _ if "benchmarks" in command:
            module = words[words.index("-m") + 1]
            source = find_spec(module)
            assert source is not None
            assert source.origin is not None
            text = Path(source.origin).read_text(encoding="utf-8")
            for option in (word for word in words if word.startswith("--")):
                assert f'"{option}"' in text, option
        case _:
            # tests/test_recipes.py runs the last.
            known = ("accelerate config", "hf auth login", "python recipes/minimal.py")
            # Ray's own command comes with the extra `cluster`.
            known += ("ray start --head", "ray start --address HEAD:6379")
            assert command in known, page


def _check_installed(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        name, extras = re.fullmatch(r"([\w-]+)(?:\[(.*)\])?", word).groups(default="")  # type: ignore[union-attr]
        assert name == project["name"]
        assert {*extras.split(",")} - {""} <= {*project["optional-dependencies"]}


def test_extras_named_in_a_sentence_exist() -> None:
    for text in TEXTS.values():
        for extra in re.findall(r'pip install "wellread-hf(\[.*?\])"', text):
            _check_installed([f"wellread-hf{extra}"])


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", "".join(TEXTS.values())))))
def test_a_make_target_in_a_sentence_exists(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_commands_on_the_hub_run_in_their_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for recipe in ("pretrain", "label"):
        ran = run_here(capfd, recipe, "--preset", "smoke", "--runs", tmp_path / "runs")
        assert ran.status == 0, ran.err
    (student,), (labels,) = ((tmp_path / "runs").glob(f"{kind}-*") for kind in ("pretrain", "label"))
    meant = {"RUN-FOLDER": str(student), "MY-NAME": "alice", "SOFT-LABELS": "soft-labels"}
    assert len(ON_THE_HUB) == 6
    commands = [f"wellread publish {labels} --namespace MY-NAME --name SOFT-LABELS", *ON_THE_HUB]
    for name, value in meant.items():
        commands = [command.replace(name, value) for command in commands]
    with HubServer() as hub:
        hub.add_user("alice", "token-of-alice")
        # One process for all: the client reads its Hub's address when it is imported.
        done = subprocess.run(
            [sys.executable, "-c", ONE_AFTER_ANOTHER, *commands],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **hub.environment(tmp_path / "home", "alice")},
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["README.md", "docs/scripts.md"])
def test_python_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```python\n(.*?)```", TEXTS[page], re.S)
    student = tmp_path / "student"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film", "life", "my", "of"]
    BertTokenizer(vocab={word: index for index, word in enumerate(vocabulary)}).save_pretrained(student)
    new_classifier(Student(2, 128), len(vocabulary), ("0", "1"), seed=0).save_pretrained(student)
    named = 'student = "google/bert_uncased_L-2_H-128_A-2"'
    assert named in examples[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in examples:
        exec(example.replace(named, f"student = {str(student)!r}"), names)
    assert names["trainer"].state.global_step == 3  # type: ignore[attr-defined]


def test_readme_fits_its_limits_and_shows_twelve_lines_of_python() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(README.splitlines()) <= 140
    assert len(example.splitlines()) == 12


def test_readme_shows_all_24_with_their_parameters_and_the_releases_weights() -> None:
    for student in STUDENTS:
        cell = rf"\[`{student.layers}-{student.hidden}`\]\(https://huggingface.co/{student.release}\)"
        assert re.search(rf"{cell}[ *a-z]* {student.parameters():,} ", README), student.name


def test_links_between_pages_lead_somewhere() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in link:
                continue
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), (page.name, link)
            if anchor:
                assert anchor in _anchors(target.read_text(encoding="utf-8")), (page.name, link)


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_docs_is_in_its_index() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", TEXTS["docs/README.md"]))
    assert {page.name for page in PAGES[1:]} - {"README.md"} == listed


def test_no_page_has_a_gap_left_to_fill() -> None:
    for page, text in TEXTS.items():
        assert not re.findall(r"@[A-Z]+@", text), page


def test_the_demo_table_shows_the_papers_order_beyond_the_spread_over_seeds() -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) ± (\S+) \| 3 \|.*$", TEXTS["docs/reproduction.md"], re.M)
    found = {method: (float(mean), float(spread)) for method, mean, spread in rows}
    assert set(found) == {"Basic", "Distillation", "PF", "PD"}
    for less, more in (("Basic", "PF"), ("Distillation", "PD")):
        assert found[more][0] - found[less][0] > found[more][1] + found[less][1], (less, more)
    assert found["PD"][0] == max(mean for mean, _ in found.values())
