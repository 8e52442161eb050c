"""What the CI files, the dependency bounds and the recipes promise one another."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def _load(path: Path) -> dict[str, Any]:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(workflow, dict)
    return workflow


def _requirements(extras: set[str]) -> dict[str, Requirement]:
    """The direct requirements of the library and of some of its extras, by canonical name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in sorted(extras):
        lines += project["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in found if r.name != project["name"]}


def _extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


def _pins(name: str) -> dict[str, str]:
    """Name to version; a line that is no exact pin fails."""
    pins = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert pin, f"{name}: expected name==version, got {line!r}"
        pins[canonicalize_name(pin[1])] = pin[2]
    return pins


def _commands(path: Path) -> Iterator[str]:
    for job in _load(path)["jobs"].values():
        for step in job["steps"]:
            yield step.get("run", "")


def test_the_four_workflows_are_there() -> None:
    assert {path.stem for path in WORKFLOWS} == {"ci", "latest", "release", "smoke"}


@each_workflow
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    uses = re.findall(r"^[ -]*uses: *(.*)$", text, flags=re.MULTILINE)
    assert uses
    assert len(uses) == text.count("uses:")
    for action in uses:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_has_one_pin_in_all_workflows() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, pin in re.findall(r"uses: (\S+)@(.*)", path.read_text(encoding="utf-8")):
            pins.setdefault(action, set()).add(pin)
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


@each_workflow
def test_a_workflow_may_read_the_contents_and_nothing_else(path: Path) -> None:
    assert _load(path)["permissions"] == {"contents": "read"}


def test_only_the_publishing_job_has_rights_of_its_own() -> None:
    rights = {
        (path.stem, name): job["permissions"]
        for path in WORKFLOWS
        for name, job in _load(path)["jobs"].items()
        if "permissions" in job
    }
    assert rights == {("release", "publish"): {"id-token": "write"}}


def test_every_recipe_is_smoked_from_the_wheel_but_publish_from_a_checkout() -> None:
    commands = list(_commands(ROOT / ".github/workflows/smoke.yml"))
    ran = [found[1] for each in commands if (found := re.fullmatch(r"wellread (\w+) --preset smoke", each))]
    # A script that shows the trainers alone is no command.
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.py") if "RECIPE" in path.read_text()}
    assert {*ran, "publish"} == recipes
    assert any(re.search(r"pip install .*dist/\*\.whl$", command) for command in commands)
    assert any(command.endswith("python recipes/publish.py --preset smoke") for command in commands)


def test_smoke_runs_the_whole_recipe_in_two_processes() -> None:
    commands = list(_commands(ROOT / ".github/workflows/smoke.yml"))
    # The launch that tests/cli/test_recipes.py runs and counts the processes of.
    launch = "accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
    assert any(launch in command and "recipes/pd.py --preset smoke" in command for command in commands)


def test_make_check_lints_the_workflows_without_a_network() -> None:
    target = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ncheck:")[2].partition("\n\n")[0]
    assert "zizmor --offline" in target
    assert target.rstrip().endswith(".github/workflows")


def test_a_release_names_no_package_index() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert "://" not in text
    assert "INDEX" not in text


def test_ci_run_is_check_and_test_and_executable() -> None:
    script = ROOT / ".ci/run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line.startswith("make ")] == ["make check", "make test"]


def test_every_requirement_has_a_lower_and_an_upper_bound() -> None:
    for requirement in _requirements(_extras()).values():
        bounds = sorted(bound.operator for bound in requirement.specifier)
        assert bounds == ["<", ">="], str(requirement)


def test_constraints_pin_every_requirement_within_its_bounds() -> None:
    pins = _pins("constraints.txt")
    for name, requirement in _requirements(_extras()).items():
        assert name in pins, f"{requirement}: not in constraints.txt"
        assert pins[name] in requirement.specifier, f"{requirement}: pinned to {pins[name]}"


def test_lowest_constraints_are_the_lower_bounds() -> None:
    pins = {name: Version(pin) for name, pin in _pins("constraints-lowest.txt").items()}
    bounds = {
        name: Version(bound.version)
        for name, requirement in _requirements(_extras() - {"dev", "test"}).items()
        for bound in requirement.specifier
        if bound.operator == ">="
    }
    assert pins == bounds


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_constraints_name_no_index_and_no_build(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--" not in text
    assert _pins(name)["torch"].count("+") == 0
