"""The recipe of GLUE: plans, what it records, PD, and starting from MNLI."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipe_runs import Ran, run_here

from wellread_hf.data.predictions import parse
from wellread_hf.errors import WellreadError
from wellread_hf.metrics.scores import scores_of
from wellread_hf.results.dev_scores import read_dev_scores
from wellread_hf.store.records import StageRecord
from wellread_hf.tasks import GLUE_SETS, GLUE_TASKS, parse_glue_tasks

SMALL = (
    *("--data", "toy:glue@smoke", "--weights", "ENCODER", "--tuning.epochs", 1, "--tuning.evaluations", 1),
    *("--tuning.max-length", 32),
)


def _run(capfd: Any, encoder: Path, runs: Path, *options: object) -> Ran:
    small = [encoder if word == "ENCODER" else word for word in SMALL]
    return run_here(capfd, "glue", *small, *options, "--running.runs", runs)


def _records(runs: Path, kind: str) -> dict[str, StageRecord]:
    return {folder.name: StageRecord.read(folder) for folder in sorted(runs.glob(f"{kind}-*"))}


@pytest.mark.slow
def test_every_task_is_scored_and_predicted(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = _run(capfd, encoder, tmp_path, "--tasks", "all", "--seeds", 1, "--from-mnli")
    assert ran.status == 0, ran.err
    # All is looked at before anything is trained.
    assert ran.out.index("check glue: done") < ran.out.index("finetune")
    (board,) = tmp_path.glob("glue-*")
    results = json.loads((board / "results.json").read_text())
    assert (results["split"], results["seeds"], results["student"]) == ("dev", [0], "2-128")
    assert list(results["scores"]) == [name for name in GLUE_SETS if name != "ax"]
    assert results["average"]["name"] == "GLUE score, dev"
    assert results["from_mnli"] == ["mrpc", "stsb", "rte"]
    table = (board / "table.md").read_text()
    for name, metrics in results["scores"].items():
        assert list(metrics) == list(GLUE_SETS[name].metrics)
        share = f"{results['commonest'][name]:.1f}" if name in results["commonest"] else ""
        for metric, values in metrics.items():
            score = f"{values[0]:.1f}"
            assert f"| {GLUE_SETS[name].title} | {metric} | {score} | {share} | 1 | {score} |" in table
    assert "| dev (%) |" in table
    assert "test" not in table
    assert "mrpc, stsb, rte started from the model of MNLI of the same seed" in table

    # `wellread scores` says what the scoreboard says, and finds the settings in the records behind it.
    gathered = read_dev_scores([tmp_path], tuple(GLUE_TASKS))
    shown = {(row.set, row.metric): list(row.values) for row in gathered.rows}
    assert shown == {
        (name, metric): values
        for name, metrics in results["scores"].items()
        for metric, values in metrics.items()
    }
    assert {(row.learning_rate, row.batch_size) for row in gathered.rows} == {(3e-4, 32)}
    (mean,) = gathered.means
    assert (mean.name, list(mean.values)) == ("GLUE score, dev", pytest.approx(results["average"]["values"]))

    tuned, predicted = _records(tmp_path, "finetune"), _records(tmp_path, "predict")
    assert len(tuned) == len(predicted) == 9
    mnli = {f"stage:{record.digest}:." for name, record in tuned.items() if "-mnli-seed" in name}
    for record in tuned.values():
        task = record.settings["task"]["name"]
        assert (record.settings["start"]["weights"] in mnli) == (task in ("mrpc", "stsb", "rte"))
    by_digest = {record.digest: record for record in tuned.values()}
    for folder, record in predicted.items():
        model = by_digest[record.settings["model"].split(":")[1]]
        task = record.outcome["task"]
        # As in training, but with the last layer at all positions or at [CLS] alone: equal to rounding.
        dev = record.outcome["dev"][task]
        assert dev == pytest.approx(model.outcome["validation"], abs=1e-5)
        expected = {f"predictions-{name}-test.tsv" for name, rows in GLUE_SETS.items() if rows.task == task}
        expected |= {f"predictions-{name}-dev.tsv" for name in record.outcome["dev"]}
        assert {path.name for path in (tmp_path / folder).glob("*.tsv")} == expected
        assert set(record.outcome["files"]) == expected
        said = parse((tmp_path / folder / f"predictions-{task}-dev.tsv").read_text(), task, "dev").values
        true = _dev_labels(tmp_path, task)
        assert scores_of(GLUE_SETS[task].metrics, np.array(list(said.values())), true) == pytest.approx(
            dev, abs=1e-6
        )


def _dev_labels(runs: Path, task: str) -> Any:
    import pyarrow.parquet as pq

    (world,) = runs.glob("toyglue-*")
    (file,) = (world / task).glob(f"{GLUE_TASKS[task].validation}-*")
    return np.array(pq.read_table(file)["label"])


@pytest.mark.slow
def test_pd_distils_each_task_from_its_own_teacher_and_a_subset_is_no_glue_score(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pd = ("--method", "pd", "--tasks", "rte,stsb", "--seeds", 1)
    ran = _run(capfd, encoder, tmp_path, *pd, "--teachers", "toy:teacher/{task}@smoke")
    assert ran.status == 0, ran.err
    labels, distilled = _records(tmp_path, "label"), _records(tmp_path, "distill")
    assert sorted(record.name for record in labels.values()) == ["rte", "stsb"]
    assert {record.settings["labels"] for record in distilled.values()} == {
        record.digest for record in labels.values()
    }
    (board,) = tmp_path.glob("glue-2-128-pd-*")
    results = json.loads((board / "results.json").read_text())
    assert results["average"]["name"] == "mean of STS-B, RTE (2 of GLUE's 9 tasks), dev"
    assert "GLUE score" not in (board / "table.md").read_text() + ran.out
    assert list(results["runs"]) == ["stsb", "rte"]

    # Predictions that are gone are made again, and nothing else.
    gone = next(tmp_path.glob("predict-*rte*"))
    shutil.rmtree(gone)
    again = _run(capfd, encoder, tmp_path, *pd, "--teachers", "toy:teacher/{task}@smoke")
    assert re.findall(r"^(\w+) \S+: starts", again.out, re.MULTILINE) == ["predict"]


def test_teachers_are_named_by_task_or_by_one_template(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    for task in ("rte", "sst2"):
        shutil.copytree(encoder, tmp_path / f"teacher-{task}")
        (tmp_path / f"teacher-{task}/vocab.txt").write_text(task)
    pd = ("--method", "pd", "--tasks", "rte,sst2", "--seeds", 1, "--dry-run")
    template = _run(capfd, encoder, runs, *pd, "--teachers", f"{tmp_path}/teacher-{{task}}")
    named = [f"{task}={tmp_path}/teacher-{task}" for task in ("sst2", "rte")]
    assert template.status == 0, template.err
    assert (
        _run(capfd, encoder, runs, *pd, "--teachers", *named).out.split("\n\n")[0]
        == (template.out.split("\n\n")[0])
    )
    for teachers, task in (([], "sst2"), (named[:1], "rte")):
        ran = _run(capfd, encoder, runs, *pd, "--teachers", *teachers)
        assert ran.status == 2
        assert f"soft labels of {task} need a teacher: expected --teachers {task}=MODEL" in ran.err


def test_starting_from_mnli_brings_mnli_along_and_is_off_by_default(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = ("--tasks", "rte,sst2", "--seeds", 2, "--dry-run")
    plain = _run(capfd, encoder, tmp_path, *few).out
    moved = _run(capfd, encoder, tmp_path, *few, "--from-mnli").out
    assert "mnli-seed" not in plain
    assert len(re.findall(r"^to do +finetune .*-mnli-seed", moved, re.MULTILINE)) == 2
    assert len(re.findall(r"^to do +finetune .*-mnli-rte-seed", moved, re.MULTILINE)) == 2
    # SST-2 starts where it did.
    (sst2, also), again = re.findall(r"finetune-\S+-sst2-\S+", plain), moved
    assert sst2 in again
    assert also in again


@pytest.mark.slow
def test_a_folder_with_a_fault_is_refused_before_any_training(
    encoder: Path, tmp_path: Path, toy_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as pq

    from wellread_hf.data.toy.glue import write_toy_glue

    glue = tmp_path / "glue"
    write_toy_glue(glue, toy_folder / "task")
    for file in (glue / "cola").iterdir():
        pq.write_table(pq.read_table(file).drop_columns("idx"), file)
    ran = _run(capfd, encoder, tmp_path / "runs", "--tasks", "sst2,cola", "--data", glue)
    assert ran.status == 2
    assert "expected a column 'idx'" in ran.err
    assert "finetune" not in ran.out


def test_tasks_are_read_in_glues_order() -> None:
    assert parse_glue_tasks("all") == tuple(GLUE_TASKS)
    assert parse_glue_tasks("mrpc, sst2,mrpc") == ("sst2", "mrpc")
    for tasks, error in (
        ("sst2,mprc", "'mprc'; the nearest is mrpc"),
        ("", "expected all or GLUE's tasks"),
    ):
        with pytest.raises(WellreadError, match=error):
            parse_glue_tasks(tasks)


@pytest.mark.slow
def test_predictions_of_real_test_rows_go_into_a_submission(shared: Path, tmp_path: Path) -> None:
    from wellread_hf import stages
    from wellread_hf.models.load import new_classifier
    from wellread_hf.results.submission import submit
    from wellread_hf.settings import Running, Task
    from wellread_hf.store.graph import carry_out
    from wellread_hf.store.stage import Stage
    from wellread_hf.students import Student

    def work(stage: Stage) -> dict[str, Any]:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(shared / "models/bert-base-uncased")
        labels = GLUE_TASKS["cola"].labels
        new_classifier(Student(2, 128), len(tokenizer), labels, seed=0).save_pretrained(stage.folder)
        tokenizer.save_pretrained(stage.folder)
        return {}

    running = Running(runs=tmp_path)
    model = Stage(kind="finetune", name="random", root=tmp_path, identity={}, work=work)
    predicted = stages.predict(model, Task(name="cola", data=str(shared / "data/glue")), 32, running)
    carry_out([predicted])
    files = predicted.record.outcome["files"]
    assert {name: file["rows"] for name, file in files.items()} == {
        "predictions-cola-dev.tsv": 1_043,
        "predictions-cola-test.tsv": 1_063,
    }
    origins = submit([predicted.folder], tmp_path / "glue.zip", baseline_for_missing=True)
    assert origins["CoLA.tsv"] == str(predicted.folder)
