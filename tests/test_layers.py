"""Imports point down: a reader can stop at any level."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wellread_hf"

LEVELS = (
    ("errors",),
    ("students", "tasks"),
    ("metrics", "settings", "store"),
    ("data", "models", "serving"),
    ("labelling",),
    ("training",),
    ("stages",),
    ("results",),
    ("hub",),
    ("experiments",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}

# What a recipe may name: what joins stages, and what settings are made of.
FOR_RECIPES = {
    "wellread_hf.cli.recipe",
    "wellread_hf.errors",
    "wellread_hf.experiments.glue_runs",
    "wellread_hf.experiments.methods",
    "wellread_hf.experiments.planner",
    "wellread_hf.store.stage.Stage",
    "wellread_hf.hub.publish",
    "wellread_hf.hub.push_settings",
    "wellread_hf.results.comparison",
    "wellread_hf.results.scoreboard",
    "wellread_hf.settings",
    "wellread_hf.settings.fields",
    "wellread_hf.stages",
    "wellread_hf.students",
    "wellread_hf.experiments.study.study_settings",
    "wellread_hf.experiments.family",
    "wellread_hf.experiments.family_settings",
    "wellread_hf.experiments.ship_settings",
    "wellread_hf.experiments.shipping",
    "wellread_hf.experiments.study.studies",
    "wellread_hf.cli.costs",
    "wellread_hf.cli.summary",
    "wellread_hf.experiments.sweep_settings",
    "wellread_hf.experiments.sweep",
    "wellread_hf.tasks",
    "wellread_hf.stages.presets",
}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (module, name) of every import, those in functions and under TYPE_CHECKING included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                yield node.module, alias.name


def _ours(path: Path) -> set[str]:
    """The package's modules that a file imports."""
    known = {_name(module) for module in MODULES}
    found = set()
    for module, name in _imports(path):
        if module.partition(".")[0] != "wellread_hf":
            continue
        if (module, name) == ("wellread_hf", "__version__"):
            continue  # a string; the package itself is always imported before its modules
        full = f"{module}.{name}"
        found.add(full if full in known else module)
    return found


def test_every_module_has_a_level() -> None:
    tops = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert tops == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_strictly_lower_levels(path: Path) -> None:
    """By absolute name, in function bodies too; files of one folder may import each other.

    Evaluation lies below training, which scores its checkpoints with it. The level of the joining
    modules is a chain (graph, inputs, stages, toy, cli): each knows the one before.
    """
    _, top, *inside = _name(path).split(".")
    for module in _ours(path):
        assert module != "wellread_hf", f"{path.name} imports the package's lazy names"
        other = module.split(".")[1]
        same_folder = bool(inside) and other == top
        assert same_folder or LEVEL[other] < LEVEL[top], f"{_name(path)} imports {module}"


def test_files_import_each_other_without_a_circle() -> None:
    graph = {_name(path): _ours(path) for path in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES)


@pytest.mark.parametrize(
    "path",
    sorted({*(ROOT / "recipes").glob("*.py")} - {ROOT / "recipes/minimal.py"}),
    ids=lambda path: path.stem,
)
def test_a_recipe_imports_what_joins_stages_and_nothing_below(path: Path) -> None:
    for module, name in _imports(path):
        if module.partition(".")[0] == "wellread_hf":
            assert {module, f"{module}.{name}"} & FOR_RECIPES, f"{path.name}: {module}.{name}"
        else:
            assert module in {"dataclasses", "pathlib", "sys", "typing", "tyro.conf"}, (
                f"{path.name}: {module}"
            )


def test_there_is_no_utils_module() -> None:
    assert not [path for path in PACKAGE.rglob("*") if path.stem.strip("_") in {"utils", "util", "helpers"}]


@pytest.mark.parametrize(
    "code",
    [
        "import wellread_hf",
        "import wellread_hf; wellread_hf.Student.parse('mini')",
        "import wellread_hf.cli.recipe",
        "sys.argv = ['wellread', 'students']; from wellread_hf.cli.wellread import main; main()",
        "import runpy; sys.argv = ['recipes/pretrain.py', '--help']; "
        "runpy.run_path(sys.argv[0], run_name='__main__')",
        "import runpy; sys.argv = ['recipes/pd.py', '--preset', 'smoke', '--dry-run']; "
        "runpy.run_path(sys.argv[0], run_name='__main__')",
    ],
    ids=["package", "a student", "cli", "wellread students", "pretrain --help", "pd --dry-run"],
)
def test_what_computes_nothing_loads_neither_torch_nor_transformers(code: str) -> None:
    program = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
