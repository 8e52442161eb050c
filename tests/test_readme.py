"""Nothing stands in the README that is not run here."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer
from recipe_runs import run_here
from transformers import BertTokenizer

from wellread_hf.models.load import new_classifier
from wellread_hf.students import STUDENTS, Student

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.strip().splitlines()
]
RECIPE_COMMANDS = [command for command in COMMANDS if "recipes/" in command]
DOCSTRING_COMMANDS = [
    command.strip()
    for recipe in sorted((ROOT / "recipes").glob("*.py"))
    for command in re.findall(
        r"^  ((?:python|accelerate launch) recipes/.*)$",
        str(ast.get_docstring(ast.parse(recipe.read_text()), clean=False)).replace("\\\n", " "),
        re.M,
    )
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_readme_commands_are_makes_recipes_and_accelerate_config() -> None:
    others = [command for command in COMMANDS if "recipes/" not in command]
    assert [command for command in others if not command.startswith("wellread ")] == [
        "make demo",
        "make test",
        "accelerate config",
    ]
    assert len(RECIPE_COMMANDS) == 13


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", README))))
def test_make_target_in_readme_exists(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_wellread_commands_in_readme_run_in_their_order(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for recipe in ("pretrain", "label"):
        ran = run_here(capfd, recipe, "--smoke", "--running.runs", tmp_path / "runs")
        assert ran.status == 0, ran.err
    (student,), (labels,) = ((tmp_path / "runs").glob(f"{kind}-*") for kind in ("pretrain", "label"))
    meant = {"RUN-FOLDER": str(student), "MY-NAME": "alice", "SOFT-LABELS": "soft-labels"}
    shown = [command for command in COMMANDS if command.startswith("wellread ")]
    assert len(shown) == 6
    with HubServer() as hub:
        hub.add_user("alice", "token-of-alice")
        for command in (f"wellread publish {labels} --namespace MY-NAME --name SOFT-LABELS", *shown):
            for name, value in meant.items():
                command = command.replace(name, value)
            done = subprocess.run(
                [sys.executable, "-m", "wellread_hf.cli.wellread", *shlex.split(command)[1:]],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                env=ENVIRONMENT | hub.environment(tmp_path / "home", "alice"),
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", RECIPE_COMMANDS)
def test_recipe_command_in_readme_is_understood(command: str, tmp_path: Path) -> None:
    # --smoke replaces what the network would have to give; a wrong option or value still fails.
    words = shlex.split(command)
    script = next(index for index, word in enumerate(words) if word.startswith("recipes/"))
    options = [*words[script + 1 :], "--smoke", "--dry-run", "--running.runs", str(tmp_path / "runs")]
    done = subprocess.run(
        [sys.executable, str(ROOT / words[script]), *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "to do" in done.stdout


def test_every_recipe_shows_a_command() -> None:
    shown = {command.partition("recipes/")[2].partition(".py")[0] for command in DOCSTRING_COMMANDS}
    assert shown == {recipe.stem for recipe in (ROOT / "recipes").glob("*.py")}


@pytest.mark.parametrize("command", DOCSTRING_COMMANDS)
def test_command_in_a_recipes_docstring_is_understood(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, script, options = re.split(r"recipes/(\w+)\.py", command)
    ran = run_here(capfd, script, *shlex.split(options), "--smoke", "--dry-run", "--running.runs", tmp_path)
    assert ran.status == 0, ran.out + ran.err
    assert "to do" in ran.out


def test_python_example_in_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    student = tmp_path / "student"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film", "life", "my", "of"]
    BertTokenizer(vocab={word: index for index, word in enumerate(vocabulary)}).save_pretrained(student)
    new_classifier(Student(2, 128), len(vocabulary), ("0", "1"), seed=0).save_pretrained(student)
    named = 'student = "google/bert_uncased_L-2_H-128_A-2"'
    assert named in example
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example.replace(named, f"student = {str(student)!r}"), names)
    assert names["trainer"].state.global_step == 3  # type: ignore[attr-defined]


def test_readme_shows_all_24_with_their_parameters() -> None:
    for student in STUDENTS:
        assert f"`{student.layers}-{student.hidden}`" in README
        assert f"{student.parameters():,}" in README


def test_no_page_has_a_gap_left_to_fill() -> None:
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))):
        assert not re.findall(r"@[A-Z]+@", page.read_text()), page.name


def test_the_demo_table_shows_the_papers_order_beyond_the_spread_over_seeds() -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) ± (\S+) \| 3 \|.*$", README, re.M)
    found = {method: (float(mean), float(spread)) for method, mean, spread in rows}
    assert set(found) == {"Basic", "Distillation", "PF", "PD"}
    for less, more in (("Basic", "PF"), ("Distillation", "PD")):
        assert found[more][0] - found[less][0] > found[more][1] + found[less][1], (less, more)
    assert found["PD"][0] == max(mean for mean, _ in found.values())
