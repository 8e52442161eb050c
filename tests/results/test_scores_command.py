"""`wellread scores`: one table on the screen, as CSV, as Markdown and as a picture."""

import io
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from boards import board, sweep, trials_of
from PIL import Image
from recipe_runs import ROOT, run_command

from wellread_hf.paper import published_test
from wellread_hf.results.scores.gather import gather
from wellread_hf.results.scores.picture import draw_scores, figure_of
from wellread_hf.results.scores.rows import Row
from wellread_hf.students import METHODS, STUDENTS, Student
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS

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


def test_ours_and_the_papers_points_stand_in_each_tasks_panel(runs: Path) -> None:
    figure = figure_of(gather([runs], tuple(GLUE_TASKS)).rows)
    sst2, mrpc = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["SST-2: accuracy (%)", "MRPC: f1 (%)"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "PF, ours, dev (± 1 std of seeds)",
        "PD, ours, dev (± 1 std of seeds)",
        "PF, Turc et al. 2019, test",
        "PD, Turc et al. 2019, test",
    ]
    for axes, name in ((sst2, "sst2"), (mrpc, "mrpc")):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for method in ("pf", "pd"):
            theirs = lines[f"{method.upper()}, Turc et al. 2019, test"]
            assert theirs.get_markerfacecolor() == "none"
            assert dict(zip(theirs.get_xdata(), theirs.get_ydata(), strict=True)) == {
                student.parameters(): figure for student, figure in published_test(method, name).items()
            }
    ours = {bars.get_label(): bars for bars in sst2.containers}
    pd_line = ours["PD, ours, dev (± 1 std of seeds)"].lines[0]
    assert list(pd_line.get_xdata()) == [Student(2, 128).parameters()]
    assert list(pd_line.get_ydata()) == pytest.approx([79])


@pytest.mark.parametrize(("method", "title"), [("basic", "Basic"), ("distillation", "Distillation")])
def test_a_sweep_from_random_weights_is_shown_beside_the_others(
    method: str, title: str, tmp_path: Path
) -> None:
    trials = [trials_of("sst2", {(3e-4, 8): [0.7, 0.8]}, "bert-2-128", by) for by in ("pf", method)]
    sweep(tmp_path, *(trial for of in trials for trial in of))
    files = [tmp_path / f"scores.{end}" for end in ("csv", "md", "png")]
    ran = run_command(
        [*WELLREAD, "scores", tmp_path, "--csv", files[0], "--markdown", files[1], "--png", files[2]]
    )
    assert ran.status == 0, ran.err
    assert f"| 4,433,468 | {title} | SST-2 |" in files[1].read_text()
    assert set(pd.read_csv(files[0]).method) == {method, "pf"}
    (legend,) = figure_of(gather([tmp_path], tuple(GLUE_TASKS)).rows).legends
    assert [text.get_text() for text in legend.get_texts() if "ours" in text.get_text()] == [
        f"{title}, ours, dev (± 1 std of seeds)",
        "PF, ours, dev (± 1 std of seeds)",
    ]


def test_all_students_sets_and_methods_have_their_place_and_the_same_bytes_each_time() -> None:
    rows = [
        Row(
            student=student,
            method=method,
            set=name,
            metric=rows_of.metrics[0],
            values=(50.0 + student.layers, 52.0 + student.layers),
            seeds=(0, 1),
            learning_rate=3e-4,
            batch_size=32,
            source="glue-x",
        )
        for student in STUDENTS
        for method in METHODS
        for name, rows_of in GLUE_SETS.items()
        if rows_of.dev is not None
    ]
    figure = figure_of(rows)
    assert len(figure.axes) == 10
    for axes in figure.axes:
        left, right = axes.get_xlim()
        assert all(left < student.parameters() < right for student in STUDENTS)
        for bars in axes.containers:
            assert len(bars.lines[0].get_xdata()) == 24
    first = draw_scores(rows[:4])
    assert first == draw_scores(rows[:4])
    with Image.open(io.BytesIO(first)) as picture:
        assert picture.size[0] > 500
