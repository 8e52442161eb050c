"""Every recipe runs: under python, and under `accelerate launch` in one and in two processes."""

import ast
import json
import re
import runpy
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import tyro
import yaml
from recipe_runs import MINIMAL, RECIPES, ROOT, Ran, launch, recipe, run_command, run_here

from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.wellread import load_recipe

POSITIONAL = get_args(tyro.conf.Positional[str])[1]
each_recipe = pytest.mark.parametrize("name", RECIPES)

# A masked-LM run without dropout: the one source of chance that depends on the number of processes.
SAME_EVERYWHERE = (
    *(
        "--corpus.sources",
        "toy:corpus@smoke",
        "--corpus.tokenizer",
        "toy:tokenizer@smoke",
        "--steps",
        6,
        "--block-lengths",
        32,
    ),
    *("--dropout", 0, "--optim.batch-size", 8, "--optim.learning-rate", 1e-3),
    # 19 held-out blocks, which no number of processes shares evenly.
)
LABEL_TOY = (
    *(
        "--task.name",
        "toy",
        "--task.data",
        "toy:task@smoke",
        "--transfer.sources",
        "toy:pool@smoke",
        "--label.shard-rows",
        16,
    ),
)

# Runs recipe after recipe in one start of Python, for the sake of time; each as the program's main file.
DRIVER = """
import json, runpy, sys
from accelerate import PartialState
for line in json.loads(sys.argv[1]):
    sys.argv = line
    runpy.run_path(line[0], run_name="__main__")
print("one of", PartialState().num_processes, "processes")
"""


def test_these_are_all_recipes() -> None:
    assert {path.stem for path in (ROOT / "recipes").glob("*.py")} == {*RECIPES, MINIMAL.stem}
    assert len(RECIPES) == 20
    # Its folder comes first on a program's path: beside `evaluate.py` no metric could be imported.
    assert not {*RECIPES} & {*packages_distributions()}


@pytest.mark.slow
def test_the_minimal_script_runs(tmp_path: Path, no_network: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(MINIMAL.read_text(encoding="utf-8").splitlines()) <= 70
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        runpy.run_path(str(MINIMAL), run_name="__main__")
    assert "agreement: 1.00" in capfd.readouterr().out


def _squashed(text: str) -> str:
    return re.sub(r"[\s│]", "", text)


def _documented(settings: type) -> dict[str, str]:
    """The string below each field."""
    module = Path(sys.modules[settings.__module__].__file__ or "")
    for body in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(body, ast.ClassDef) and body.name == settings.__name__:
            pairs = zip(body.body, body.body[1:], strict=False)
            return {
                field.target.id: str(below.value.value)
                for field, below in pairs
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            }
    raise AssertionError(settings)


def _options(settings: Any, prefix: str = "") -> Iterator[tuple[str, str, bool]]:
    """Yields (option or prefix of a group, the string below its field, is an option)."""
    hints = get_type_hints(type(settings), include_extras=True)
    below = _documented(type(settings))
    for field in fields(settings):
        value = getattr(settings, field.name)
        assert below.get(field.name, "").endswith("."), f"{type(settings).__name__}.{field.name}: no sentence"
        name = f"{prefix}{field.name.replace('_', '-')}"
        if is_dataclass(value):
            nameless = any(getattr(extra, "name", None) == "" for extra in get_args(hints[field.name])[1:])
            inner = prefix if nameless else f"{name}."
            yield inner, below[field.name], False
            yield from _options(value, inner)
        else:
            # Words that stand alone have no option; their sentence is shown all the same.
            yield name, below[field.name], POSITIONAL not in get_args(hints[field.name])


def _loaded(name: str) -> Recipe[Any]:
    loaded: Recipe[Any] = load_recipe(Path(recipe(name)))
    return loaded


@each_recipe
def test_help_all_explains_every_field_with_its_default(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    shown = run_here(capfd, name, "--help-all")
    assert shown.status == 0
    options = list(_options(_loaded(name).settings()))
    help_text = _squashed(shown.out)
    assert len(options) >= 9
    for option, sentence, is_option in options:
        if is_option:
            assert re.search(rf"--{re.escape(option)}\b", shown.out), option
            assert f"{_squashed(sentence)}(default:" in help_text, f"--{option}: {sentence}"
        elif option:
            assert _squashed(sentence) in help_text, f"{option}: {sentence}"


@each_recipe
def test_help_shows_what_people_set_first_on_a_page(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    shown = run_here(capfd, name, "--help")
    assert shown.status == 0
    assert len(shown.out.splitlines()) <= 60
    for flag in ("--preset", "--config", "--dry-run", "--help-all"):
        assert flag in shown.out


@each_recipe
def test_a_dry_run_prints_the_plan_first_and_writes_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    ran = run_here(capfd, name, "--preset", "smoke", "--dry-run", "--running.runs", runs)
    assert ran.status == 0, ran.err
    assert not runs.exists()
    # Below an empty line a sweep says how many trials it has, a study its arms.
    plan, *_, settings = ran.out.split("\n\n")
    assert plan
    for line in plan.splitlines():
        assert re.fullmatch(rf"to do +[a-z]+ +{re.escape(str(runs))}/[\w.-]+-[0-9a-f]{{12}}", line), line
    assert yaml.safe_load(settings)["running"] == {"runs": str(runs)}


def test_dry_run_on_own_text_writes_nothing_either(
    tmp_path: Path, toy_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    corpus = ("--corpus.sources", toy_folder / "corpus.txt", "--corpus.tokenizer", toy_folder / "tokenizer")
    ran = run_here(capfd, "pretrain", "--dry-run", *corpus, "--running.runs", runs)
    assert ran.status == 0, ran.err
    assert not runs.exists()


@pytest.fixture(scope="module")
def under_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of every recipe's --smoke; stages that two share are worked once."""
    return tmp_path_factory.mktemp("python") / "runs"


def _folders(ran: Ran, word: str) -> list[Path]:
    return [Path(found) for found in re.findall(rf": {word}\b.* in (/\S+)$", ran.out, flags=re.MULTILINE)]


@pytest.mark.slow
@each_recipe
def test_smoke_finishes_and_a_second_run_finds_all_done(
    name: str, under_python: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = run_here(capfd, name, "--preset", "smoke", "--running.runs", under_python)
    assert first.status == 0, first.err
    # A budget is carried out ahead of the plan that follows from it, and stands in that, too.
    done = list(dict.fromkeys(_folders(first, "done")))
    assert set(_folders(first, "starts")) <= set(done)
    assert all((folder / "stage.json").is_file() for folder in done)
    assert not [folder for folder in done if (folder / "checkpoints").exists()]
    started = time.monotonic()
    second = run_here(capfd, name, "--preset", "smoke", "--running.runs", under_python)
    assert second.status == 0
    assert _folders(second, "done already") == done
    assert not _folders(second, "starts")
    assert time.monotonic() - started < 3
    plan = run_here(capfd, name, "--preset", "smoke", "--dry-run", "--running.runs", under_python)
    assert re.findall(r"^(done|half done|to do) +[a-z]+ +/", plan.out, re.MULTILINE) == ["done"] * len(done)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["teacher", "pf", "label", "distill", "eval"])
def test_smoke_takes_the_toy_world_s_tags(
    name: str, under_python: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(capfd, name, "--preset", "smoke-tags", "--runs", under_python)
    assert ran.status == 0, ran.err
    assert name == "label" or "entity_f1" in ran.out


@pytest.mark.slow
def test_a_second_run_in_a_process_of_its_own_takes_little(under_python: Path) -> None:
    if not under_python.is_dir():
        pytest.skip("no recipe was run before this test")
    started = time.monotonic()
    again = run_command(
        [".venv/bin/python", recipe("pd"), "--preset", "smoke", "--running.runs", under_python]
    )
    assert again.status == 0, again.err
    assert "starts in" not in again.out
    assert "PD-F" in again.out
    assert "chart: " in again.out
    # Well below what loading torch alone takes.
    assert time.monotonic() - started < 6


def _record(runs: Path, kind: str) -> dict[str, Any]:
    (found,) = runs.glob(f"{kind}-*/stage.json")
    record: dict[str, Any] = json.loads(found.read_text())
    return record


@pytest.mark.slow
# Minutes: tests of training and labelling have two processes of their own.
@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2])
def test_every_recipe_runs_under_accelerate_launch(
    processes: int, tmp_path: Path, toy_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one and in two real processes; and these see the same data, masks and soft labels as one."""
    from wellread_hf.labelling.soft_labels import SoftLabels

    runs, alone = tmp_path / "launched", tmp_path / "alone"
    teacher = _teacher(tmp_path / "teacher", toy_folder)
    masked_lm = [*SAME_EVERYWHERE, "--running.runs"]
    labelling = ["--teacher", teacher, *LABEL_TOY, "--running.runs"]
    lines = [
        ["pretrain", *masked_lm, tmp_path / "masked-lm"],
        ["label", *labelling, tmp_path / "labelled"],
        # Sweeps, studies, families and ship train one run a process, and say so.
        *(
            [name, "--preset", "smoke", "--running.runs", runs]
            for name in RECIPES
            if processes == 1 or name not in ("sweep", "study", "family", "ship")
        ),
    ]
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    commands = [[recipe(str(name)), *map(str, options)] for name, *options in lines]
    launched = launch(processes, driver, json.dumps(commands))
    assert launched.status == 0, launched.err[-12_000:]
    assert launched.out.count(f"one of {processes} processes") == processes, "each process went alone"
    # That of SAME_EVERYWHERE, of the preset, and of `pd`, whose corpus goes without the task's held-out rows.
    assert launched.out.count("pretrain bert-2-128-seed0: starts") == 3, "a line comes from one process"
    assert _record(runs, "report")["outcome"]["results"]

    for name, options in (("pretrain", masked_lm), ("label", labelling)):
        assert run_here(capfd, name, *options, alone).status == 0
    ours, theirs = _record(tmp_path / "masked-lm", "pretrain"), _record(alone, "pretrain")
    assert ours["digest"] == theirs["digest"]
    assert ours["outcome"]["held_out_loss"] == pytest.approx(theirs["outcome"]["held_out_loss"], rel=1e-5)
    (store,), (expected,) = (tmp_path / "labelled").glob("label-*"), alone.glob("label-*")
    assert store.name == expected.name
    assert len(list(store.glob("shard-*"))) == 8
    assert sorted(path.name for path in store.iterdir()) == sorted(path.name for path in expected.iterdir())
    ours_labels, their_labels = SoftLabels.open(store), SoftLabels.open(expected)
    np.testing.assert_array_equal(ours_labels.hashes, their_labels.hashes)
    np.testing.assert_allclose(ours_labels.logits, their_labels.logits, atol=1e-6)


def _teacher(folder: Path, toy_folder: Path) -> Path:
    """A classifier with random weights; what it says is nothing, but it says it reliably."""
    from transformers import AutoTokenizer

    from wellread_hf.data.toy.world import LABEL_NAMES
    from wellread_hf.models.load import new_classifier
    from wellread_hf.students import Student

    tokenizer = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    model = new_classifier(Student(2, 128), len(tokenizer), LABEL_NAMES, seed=1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.long
def test_the_demo_shows_the_papers_order(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ran = run_here(capfd, "pd", "--preset", "toy", "--seeds", 0, "--running.runs", tmp_path)
    assert ran.status == 0, ran.err
    (found,) = tmp_path.glob("report-*/results.json")
    score = {result["method"]: result["scores"][0] for result in json.loads(found.read_text())}
    # One seed; docs/log.md has ten. Points of test accuracy, of which 2,000 rows resolve two.
    assert score["PF"] - score["Basic"] > 5
    assert score["PD"] - score["Distillation"] > 5
    assert score["PD"] > score["PF"]
