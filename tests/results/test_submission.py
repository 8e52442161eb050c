"""The zip for GLUE's server: complete, checked, the same bytes each time; and its scores on labels."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipe_runs import run_command

from wellread_hf.data.predictions import Predictions, file_name
from wellread_hf.errors import DataError, SettingsError, StoreError
from wellread_hf.results.submission import compare, submit
from wellread_hf.store.records import StageRecord, file_digest
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS, sets_of

TITLES = ["CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI-m", "MNLI-mm", "QNLI", "RTE", "WNLI", "AX"]
ROWS = [1063, 1821, 1725, 1379, 390965, 9796, 9847, 5463, 3000, 146, 1104]
WELLREAD = [sys.executable, "-m", "wellread_hf.cli.wellread"]


def record(folder: Path, kind: str, outcome: dict[str, Any]) -> Path:
    StageRecord(
        kind=kind, name=folder.name, digest="0" * 64, settings={}, inputs={}, outcome=outcome, seconds=1.0,
        versions={}, command="",
    ).write(folder)  # fmt: skip
    return folder


def predicted(root: Path, task: str, seed: int = 0, score: float = 0.5, **changed: dict[int, float]) -> Path:
    """A folder as a `predict` stage leaves it, of drawn predictions; `changed` replaces those of a set."""
    folder = root / f"predict-{task}-seed{seed}"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    files = {}
    for name, rows in sets_of(task).items():
        classes = len(GLUE_TASKS[task].labels)
        count = rows.test_rows
        drawn = draw.integers(0, classes, count) if classes else draw.uniform(0, 5, count)
        values = changed.get(name, dict(enumerate(drawn.tolist())))
        path = folder / file_name(name, "test")
        path.write_text(Predictions(name, values).text)
        files[path.name] = {"rows": len(values), "sha256": file_digest(path)}
    dev = {
        name: dict.fromkeys(rows.metrics, score)
        for name, rows in sets_of(task).items()
        if rows.dev is not None
    }
    return record(folder, "predict", {"task": task, "dev": dev, "files": files})


@pytest.fixture(scope="module")
def all_tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [predicted(root, task) for task in GLUE_TASKS]


@pytest.fixture(scope="module")
def packed(all_tasks: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zip") / "glue.zip"
    submit(all_tasks, out)
    return out


def test_the_zip_has_what_the_server_takes(packed: Path, all_tasks: list[Path]) -> None:
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{title}.tsv" for title in TITLES]
        texts = [archive.read(name).decode() for name in archive.namelist()]
    for text, rows, (name, facts) in zip(texts, ROWS, GLUE_SETS.items(), strict=True):
        head, *lines = text.splitlines()
        assert head == "index\tprediction"
        assert [int(line.partition("\t")[0]) for line in lines] == list(range(rows))
        said = {line.partition("\t")[2] for line in lines}
        if name == "stsb":
            assert all(0 <= float(value) <= 5 for value in said)
        else:
            labels = GLUE_TASKS[facts.task].labels
            words = name in ("mnli", "mnli_mismatched", "qnli", "rte", "ax")
            assert said == (set(labels) if words else {"0", "1"})
    origins = json.loads(packed.with_name("glue.zip.json").read_text())
    assert list(origins) == [f"{title}.tsv" for title in TITLES]
    assert origins["AX.tsv"] == str(all_tasks[list(GLUE_TASKS).index("mnli")])


def test_the_same_predictions_give_the_same_bytes(
    packed: Path, all_tasks: list[Path], tmp_path: Path
) -> None:
    submit(all_tasks[::-1], tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_a_missing_task_is_refused_unless_it_may_be_filled(all_tasks: list[Path], tmp_path: Path) -> None:
    some = [folder for folder in all_tasks if "wnli" in folder.name or "cola" in folder.name]
    out = tmp_path / "glue.zip"
    with pytest.raises(SettingsError, match=r"SST-2, MRPC.*, AX are missing;.*`baseline_for_missing`"):
        submit(some, out)
    assert not out.exists()
    origins = submit(some, out, baseline_for_missing=True)
    filled = [file for file, origin in origins.items() if origin == "baseline"]
    assert filled == [f"{title}.tsv" for title in TITLES if title not in ("CoLA", "WNLI")]
    assert json.loads((tmp_path / "glue.zip.json").read_text()) == origins
    with zipfile.ZipFile(out) as archive:
        said = {name: archive.read(name).decode().splitlines()[1:] for name in archive.namelist()}
    assert [len(lines) for lines in said.values()] == ROWS
    for file, value in (("SST-2", "1"), ("STS-B", "2.7"), ("QQP", "0"), ("RTE", "entailment")):
        assert {line.partition("\t")[2] for line in said[f"{file}.tsv"]} == {value}


def test_wrong_rows_and_edited_files_are_refused(tmp_path: Path) -> None:
    run = predicted(tmp_path, "wnli", wnli=dict.fromkeys([*range(5), *range(6, 147)], 1))
    with pytest.raises(DataError, match=r"1 missing \(the first is row 5\) and 1 too many"):
        submit([run], tmp_path / "glue.zip", baseline_for_missing=True)
    run = predicted(tmp_path, "rte")
    path = run / file_name("rte", "test")
    path.write_text(path.read_text().replace("\tentailment", "\tnot_entailment", 1))
    with pytest.raises(StoreError, match="is not what its stage wrote"):
        submit([run], tmp_path / "glue.zip", baseline_for_missing=True)
    assert not list(tmp_path.glob("glue.zip*"))


def test_a_scoreboard_gives_each_tasks_best_seed_on_dev(tmp_path: Path) -> None:
    runs = {
        "wnli": [predicted(tmp_path, "wnli", seed, score) for seed, score in enumerate((0.4, 0.6, 0.6))],
        "rte": [predicted(tmp_path, "rte", seed, score) for seed, score in enumerate((0.7, 0.6, 0.5))],
    }
    board = tmp_path / "glue-2-128-pf"
    board.mkdir()
    names = {task: [folder.name for folder in of] for task, of in runs.items()}
    (board / "results.json").write_text(json.dumps({"runs": names}))
    record(board, "glue", {"runs": names})
    origins = submit([board], tmp_path / "glue.zip", baseline_for_missing=True)
    assert origins["WNLI.tsv"] == str(runs["wnli"][1])
    assert origins["RTE.tsv"] == str(runs["rte"][0])


def test_folders_of_no_use_are_refused(all_tasks: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected one run of cola, got"):
        submit([all_tasks[0], all_tasks[0]], tmp_path / "glue.zip")
    with pytest.raises(SettingsError, match="expected a folder of predictions"):
        submit([], tmp_path / "glue.zip")
    with pytest.raises(StoreError, match=r"found no stage\.json"):
        submit([tmp_path], tmp_path / "glue.zip")
    (tmp_path / "finetune-x").mkdir()
    with pytest.raises(StoreError, match="a stage 'finetune': expected predictions"):
        submit([record(tmp_path / "finetune-x", "finetune", {})], tmp_path / "glue.zip")


def _labels(packed: Path, folder: Path, title: str, rows: slice = slice(None)) -> Path:
    """The submission's own predictions as labels, so that it is right."""
    with zipfile.ZipFile(packed) as archive:
        lines = archive.read(f"{title}.tsv").decode().splitlines()[1:][rows]
    path = folder / f"{title}.tsv"
    path.write_text("\n".join(["index\tlabel", *lines]) + "\n")
    return path


def test_a_submission_is_scored_on_labels_that_there_are(packed: Path, tmp_path: Path) -> None:
    titles = ("CoLA", "STS-B", "RTE", "AX")
    found = compare(packed, [_labels(packed, tmp_path, title) for title in titles])
    for metrics in found.scores.values():
        assert all(value == pytest.approx(1) for value in metrics.values())
    assert found.rows == {"cola": 1063, "stsb": 1379, "rte": 3000, "ax": 1104}
    assert found.name == "mean of CoLA, STS-B, RTE (3 of GLUE's 9 tasks)"
    assert found.average is not None
    assert found.average.value == pytest.approx(1)


def test_some_rows_do_but_no_glue_score_comes_of_them(packed: Path, tmp_path: Path) -> None:
    labels = [_labels(packed, tmp_path, title, slice(0, 140)) for title in TITLES]
    found = compare(packed, labels)
    assert set(found.rows.values()) == {140}
    assert found.name.endswith("(9 of GLUE's 9 tasks), on the rows with labels")
    assert "GLUE score" not in found.name


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("SST2.tsv", "index\tlabel\n0\t1\n", "the nearest is SST-2.tsv"),
        ("SST-2.tsv", "index\tprediction\n0\t1\n", "'index<TAB>label'"),
        ("SST-2.tsv", "index\tlabel\n0\t1\n9000\t1\n", "got 1 others (the first is row 9000)"),
        ("SST-2.tsv", "index\tlabel\n", "got none"),
        ("RTE.tsv", "index\tlabel\n0\t1\n", "expected entailment or not_entailment as label, got '1'"),
        ("RTE.tsv", "index\tlabel\n0\t-1\n", "expected entailment or not_entailment as label, got '-1'"),
    ],
)
def test_labels_of_another_form_are_refused(
    packed: Path, tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as refusal:
        compare(packed, [tmp_path / name])
    assert words in str(refusal.value)


def test_the_commands_say_what_was_filled_and_what_it_scores(all_tasks: list[Path], tmp_path: Path) -> None:
    wnli = next(folder for folder in all_tasks if "wnli" in folder.name)
    out = tmp_path / "glue.zip"
    ran = run_command([*WELLREAD, "submission", wnli, "-o", out])
    assert ran.status == 2
    assert ran.err.startswith("error: expected predictions of all of GLUE's tasks, CoLA,")
    ran = run_command([*WELLREAD, "submission", wnli, "-o", out, "--baseline-for-missing"])
    assert ran.status == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split() for line in lines[:2]] == [["CoLA.tsv", "baseline"], ["SST-2.tsv", "baseline"]]
    assert lines[9].split() == ["WNLI.tsv", str(wnli)]
    assert lines[-1] == str(out)
    labels = [_labels(out, tmp_path, title) for title in ("WNLI", "CoLA")]
    ran = run_command([*WELLREAD, "compare", out, "--labels", *labels])
    assert ran.status == 0, ran.err
    assert ran.out.splitlines() == [
        "WNLI     accuracy 100.0 (146 rows)",
        "CoLA     matthews_correlation 0.0 (1,063 rows)",
        "mean of CoLA, WNLI (2 of GLUE's 9 tasks): 50.0",
    ]
    ran = run_command([*WELLREAD, "compare", tmp_path / "WNLI.tsv", "--labels", labels[0]])
    assert ran.status == 2
    assert "expected a zip of predictions" in ran.err
