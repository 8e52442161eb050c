"""`wellread scores`: one table on the screen, as CSV, as Markdown and as a picture."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from boards import board, sweep, trials_of
from PIL import Image
from recipe_runs import ROOT, run_command

from wellread_hf.students import Student

WELLREAD = [sys.executable, "-m", "wellread_hf.cli.wellread"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished scoreboard of PF and a running sweep of PD."""
    root = tmp_path_factory.mktemp("runs")
    board(root, {"sst2": [0.80, 0.82], "mrpc": [0.9, 0.7]}, student="4-256")
    points = {(3e-4, 8): [0.78, 0.80], (1e-4, 8): [0.6, "stopped"]}
    sweep(root, *trials_of("sst2", points, "bert-2-128", "pd"))
    return root


def test_all_forms_say_the_same(runs: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"scores.{end}" for end in ("csv", "md", "png")]
    ran = run_command(
        [*WELLREAD, "scores", runs, "--csv", files[0], "--markdown", files[1], "--png", files[2]]
    )
    assert ran.status == 0, ran.err
    assert ran.out.splitlines()[-3:] == [str(file) for file in files]
    shown = ran.out + files[1].read_text()
    for words in (
        "4,433,468",
        "PD",
        "SST-2",
        "accuracy",
        "79.0 ± 1.4",
        "0.0003",
        "3/0/1",
        "dev (%)",
        "81.0 ± 1.4",
    ):
        assert shown.count(words) >= 2, words
    assert "mean of SST-2, MRPC (2 of GLUE's 9 tasks), dev" in files[1].read_text()
    assert "GLUE score" not in shown
    assert "is not over yet" in ran.out

    table = pd.read_csv(files[0])
    assert set(table.split) == {"dev"}
    assert list(table.task[:4]) == ["SST-2", "SST-2", "MRPC", "MRPC"]
    sst2 = table[(table.task == "SST-2") & (table.student == "bert-2-128")].iloc[0]
    assert sst2["mean"] == pytest.approx(79)
    assert sst2["std"] == pytest.approx(2**0.5)
    assert (sst2.learning_rate, sst2.batch_size, sst2.done, sst2.failed, sst2.stopped) == (3e-4, 8, 3, 0, 1)
    for row in table.itertuples():
        values = pd.Series([float(value) for value in row.values.split()])
        assert row.mean == pytest.approx(values.mean())
        assert row.std == pytest.approx(values.std())
        assert len(values) == len(row.seeds.split())
        assert row.parameters == Student.parse(row.student).parameters()
    assert list(table[table.metric == "average"].task) == [
        "mean of SST-2 (1 of GLUE's 9 tasks), dev",
        "mean of SST-2, MRPC (2 of GLUE's 9 tasks), dev",
    ]
    with Image.open(files[2]) as picture:
        assert picture.format == "PNG"


def test_lora_is_said_in_every_form(tmp_path: Path) -> None:
    for lora in (None, 8):
        board(tmp_path, {"sst2": [0.80, 0.82]}, lora=lora)
    files = [tmp_path / f"scores.{end}" for end in ("csv", "md")]
    ran = run_command([*WELLREAD, "scores", tmp_path, "--csv", files[0], "--markdown", files[1]])
    assert ran.status == 0, ran.err
    assert files[1].read_text().count("| PF, LoRA 8 |") == files[1].read_text().count("| PF |") == 2
    table = pd.read_csv(files[0])
    assert sorted(table.lora_rank.fillna(0)) == [0, 0, 8, 8]
    assert set(table.method) == {"pf"}


def test_tasks_can_be_chosen(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    ran = run_command([*WELLREAD, "scores", runs, "--tasks", "mrpc", "--csv", out])
    assert ran.status == 0, ran.err
    assert list(pd.read_csv(out).metric) == ["f1", "accuracy", "average"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["{runs}", "--csv", "{tmp}/missing/scores.csv"], "cannot be written"),
        (["{runs}", "--png", "{tmp}"], "give another place with --png"),
        (["{runs}", "--tasks", "sst3"], "the nearest is sst2"),
        (["{runs}", "--tasks", "rte"], "expected dev scores of rte"),
        (["{tmp}"], "found none"),
        ([], "expected a folder of runs"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    options: list[str], words: str, runs: Path, tmp_path: Path
) -> None:
    ran = run_command([*WELLREAD, "scores", *(word.format(runs=runs, tmp=tmp_path) for word in options)])
    assert ran.status == 2
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not list(tmp_path.iterdir())


def test_it_loads_no_torch(runs: Path) -> None:
    program = (
        f"import sys; sys.argv = ['wellread', 'scores', {str(runs)!r}]\n"
        "from wellread_hf.cli.wellread import main\nmain()\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
