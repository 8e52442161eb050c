"""recipes/study.py as a user runs it: what it refuses, going on after a kill, and past a failure."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recipe_runs import Ran, recipe, run_here
from transformers import AutoTokenizer

from wellread_hf.data.toy.world import LABEL_NAMES
from wellread_hf.errors import SettingsError
from wellread_hf.experiments.planner import Teacher
from wellread_hf.experiments.study.arms import PATIENT, PD
from wellread_hf.experiments.study.catalogue import STUDIES
from wellread_hf.experiments.study.planning import Plan, names_here
from wellread_hf.experiments.study.study_settings import ON_TOY
from wellread_hf.experiments.study.texts import TEXT as FILE
from wellread_hf.experiments.study.texts import transfer_text
from wellread_hf.models.load import new_classifier
from wellread_hf.models.masked_lm import new_masked_lm
from wellread_hf.settings import Running, Task, Transfer
from wellread_hf.stages.inputs import FoundTask
from wellread_hf.stages.transfer_set import TransferSet
from wellread_hf.store.graph import carry_out
from wellread_hf.store.stage import in_order
from wellread_hf.students import Student

TEXT = ("--scale", "text", "--dry-run")
BUDGET = (
    *("--budget.labelled-rows", 64, "--budget.labels-seen", 64),
    *("--budget.transfer-rows", 64, "--budget.soft-labels-seen", 64, "--budget.mlm-steps", 5),
)
# A world that is learnt in no time, and learns nothing.
SMALL = (
    *("--preset", "toy", "--students", "2-128", "--seeds", 0, 1, *BUDGET, "--task.data", "toy:task@smoke"),
    *("--corpus.sources", "toy:corpus@smoke", "--corpus.tokenizer", "toy:tokenizer@smoke"),
    *("--transfer", "toy:pool@smoke", "--near", "toy:near@smoke", "--far", "toy:far@smoke"),
    *("--teacher-pretrain.steps", 5),
    *("--teacher-student", "2-128", "--teacher-tuning.epochs", 1),
)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--seeds", 3), "--seeds: expected two or more, got 3; a single run has no error bar"),
        (("--seeds", 1, 1), "--seeds: expected one or more values, each once, got 1 1"),
        (
            ("--task.name", "sst2", "--task.data", "x.csv", "--corpus", "x.txt", "--tokenizer", "x"),
            "expected --scale text",
        ),
        (("--budget.labels-seen", 499), "499: expected at least the 500 of --budget.labelled-rows"),
        (("--budget.soft-labels-seen", 99), "99: expected at least the 6000 of --budget.transfer-rows"),
        (
            (
                *("concurrent", "--budget.labelled-rows", 7_000, "--budget.labels-seen", 7_000),
                *("--budget.soft-labels-seen", 6_000),
            ),
            "6000: expected at least the 7000 of --budget.labelled-rows, which TF sees as often",
        ),
        (("--labels.patience", 1), "--labels.patience: the study decides it"),
        (
            ("transfer-size", "--budget.transfer-rows", 10),
            "--budget.transfer-rows 10: Distillation, 2 % has 2% of them, which is not one row",
        ),
        (("--teacher", "no/such/place"), "--teacher no/such/place: there is no such file"),
        (("--teacher", Path(__file__).parent), ": expected a fine-tuned classifier whose config.json"),
        (("--weights", Path(__file__).parent), ": expected a pre-trained model, with depth and width"),
        (("--task.train-rows", 100), "--task.train-rows: the study decides it"),
        (("--labels.epochs", 9), "expected --budget.labels-seen instead, got 9"),
        (("--pretrain.steps", 9), "expected --budget.mlm-steps instead, got 9"),
        (("--patient.method", "soft-labels"), "expected the study concurrent instead, got soft-labels"),
        (("--engine", "ray", "--asha"), "needs all of them"),
        (("--budget.labelled-rows", "None"), "expected --budget.labelled-rows and a number, got none"),
        (("domain", "--far"), "--far is missing: expected sources of text"),
        (("concurrent", "--label.states"), "--label.states is missing: Patient KD"),
        (("concurrent", "--patient.layers", "5:1"), "--patient.layers 5:1: expected a layer of the student"),
        (("concurrent", "--label.states", 1, 3), "--label.states 1 3: the teacher has 2 layers"),
        (
            ("concurrent", "--one-student", "--students", "2-128", "--weights", "no/such/place"),
            "--weights no/",
        ),
        (("initialisation", "--deep", "no/such/place"), "--deep no/such/place: there is no such file"),
        (
            ("initialisation", "--students", "2-128", "--mlm-plus", "no/such/{student}"),
            "--mlm-plus no/such/bert-2-128: there is no",
        ),
        (("domain", "--near", "no/such/place"), "--near no/such/place: there is no such file"),
        (
            ("initialisation", "--one-student", "--deep-layers", 4),
            "--deep-layers 4: expected more than the students have, got bert-4-128 among them",
        ),
        (("--deep-layers", 3), "--deep-layers: expected one of 2, 4, 6, 8, 10, 12, got 3"),
        (
            ("--students", "tiny", "2-128"),
            "--students: expected one or more values, each once, got tiny 2-128",
        ),
        (
            ("--pretrain.dropout", "None", "--pretrain.start", "x"),
            "--pretrain.start: the study decides it for all arms alike, so expected --w",
        ),
        (("--teacher-pretrain.student", "12-768"), "12-768: the recipe sets it, from its --teacher-student"),
    ],
)
def test_what_is_refused(
    options: tuple[object, ...], error: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(
        capfd, "study", "--preset", "toy", *options, "--dry-run", "--running.runs", tmp_path / "runs"
    )
    assert ran.status == 2, ran.out
    assert error in ran.err, ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "runs").exists()


def test_real_text_has_no_budget_unless_it_is_named(
    tmp_path: Path, toy_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = (
        *(
            "--task.name",
            "mine",
            "--task.data",
            toy_folder / "task/train.jsonl",
            "--task.columns",
            "sentence",
        ),
        *("--task.validation", toy_folder / "task/validation.jsonl", "--weights", f"{tmp_path}/{{student}}"),
        *("--teacher", tmp_path / "teacher", "--transfer", f"{toy_folder}/pool.jsonl,column=sentence"),
    )
    _given(tmp_path, Student(2, 128), Student(4, 128))
    _given_plus(tmp_path / "plus", Student(2, 128))
    new_classifier(Student(2, 128), 100, LABEL_NAMES, seed=1).save_pretrained(tmp_path / "teacher")
    for given in range(0, 8, 2):
        ran = run_here(capfd, "study", "methods", *TEXT, *task, *BUDGET[:given])
        assert ran.status == 2, ran.out
        assert re.search(r"which has to be named: expected --budget\.[a-z-]+ and a number", ran.err), ran.err
    # Pre-trained students are given, so its steps need not be.
    one = ("--students", "2-128", *BUDGET[:8], "--running.runs", tmp_path)
    planned = run_here(capfd, "study", *TEXT, *task, *one)
    assert planned.status == 0, planned.err
    # What the text allows: no other domains are named, no steps to read in, and no deeper students.
    found = re.findall(r"^([a-z-]+): \d+ arms", planned.out, re.MULTILINE)
    assert found == ["methods", "transfer-size", "temperature"]
    assert "\nmethods: 4 arms, 12 runs" in planned.out
    # Students are given, and so are the same for all seeds.
    assert "  not decidable, with one pre-training for all seeds" in planned.out
    assert re.findall(r"^left out: (.*)", planned.out, re.MULTILINE) == [
        "initialisation, which needs `budget.mlm_steps`, or `deep` and `mlm_plus`",
        "depth-width, which needs `weights` of 2-256 and 8-128",
        "domain, which needs `near` and `far`",
        "compound, which needs `budget.mlm_steps`",
        "concurrent, which needs `budget.mlm_steps` and `label.states`",
    ]
    given = ("--deep", tmp_path / "bert-4-128", "--mlm-plus", tmp_path / "plus")
    planned = run_here(capfd, "study", *TEXT, *task, *one, *given)
    assert "\ninitialisation: 5 arms, 15 runs" in planned.out, planned.err
    named = run_here(capfd, "study", "methods", *TEXT, *task, *one)
    assert "left out" not in named.out


def test_a_study_of_one_student_is_over_the_first() -> None:
    settings = replace(ON_TOY, students=("4-128", "2-128"), one_student=("compound",))
    methods, compound, *_ = Plan(replace(settings, studies=("methods", "compound"))).studies
    assert {run.student.name for run in methods.runs} == {"bert-2-128", "bert-4-128"}
    assert {run.student.name for run in compound.runs} == {"bert-4-128"}


def _given(folder: Path, *students: Student) -> None:
    for student in students:
        new_masked_lm(student, 100, dropout=0.1, seed=0).save_pretrained(folder / student.name)


def _given_plus(folder: Path, student: Student) -> None:
    student.config(100, architectures=["BertForPreTraining"]).save_pretrained(folder)


def test_students_that_are_given_are_pre_trained_no_more(tmp_path: Path) -> None:
    _given(tmp_path, Student(2, 128), Student(4, 128))
    _given_plus(tmp_path / "plus", Student(2, 128))
    running, given = replace(ON_TOY.running, runs=tmp_path), f"{tmp_path}/{{student}}"
    # `--deep` is filled in for --deep-layers, which are four: one of two layers would be refused.
    settings = replace(
        ON_TOY,
        studies=("initialisation",),
        students=("2-128",),
        seeds=(0, 1),
        running=running,
        **{"weights": given, "deep": given, "mlm_plus": f"{tmp_path}/plus"},
    )
    (study,) = Plan(settings).studies
    kinds = {run.arm.name: [stage.kind for stage in run.steps] for run in study.runs}
    assert kinds == {
        "random weights": ["distill"],
        "word embeddings alone": ["init", "distill"],
        "first layers of a deeper one": ["init", "distill"],
        "pre-trained": ["distill"],
        "pre-trained, next sentences too": ["distill"],
    }


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            {"weights": "bert-4-128"},
            "`weights` {}/bert-4-128: expected bert-2-128, 2 layers 128 wide, got 4 layers 128 wide; put",
        ),
        (
            {"mlm_plus": "plus"},
            "`mlm_plus` {}/plus: expected bert-2-128, 2 layers 128 wide, got 2 layers 256 wide",
        ),
        (
            {"weights": "classifier"},
            "`weights` {}/classifier: expected a pre-trained model, got a classifier (BertForSequence",
        ),
        (
            {"mlm_plus": "bert-2-128"},
            "`mlm_plus` {}/bert-2-128: expected a model with a next-sentence head (BertForPreTraining), got",
        ),
        (
            {"deep": "bert-2-128"},
            "`deep` {}/bert-2-128: expected more layers than bert-2-128 has and its width",
        ),
        (
            {"deep": "bert-2-256"},
            "`deep` {}/bert-2-256: expected more layers than bert-2-128 has and its width",
        ),
    ],
)
def test_students_of_another_kind_are_refused(tmp_path: Path, options: dict[str, str], error: str) -> None:
    _given(tmp_path, Student(2, 128), Student(4, 128), Student(2, 256))
    _given_plus(tmp_path / "plus", Student(2, 256))
    new_classifier(Student(2, 128), 100, LABEL_NAMES, seed=1).save_pretrained(tmp_path / "classifier")
    settings = replace(
        ON_TOY,
        studies=("initialisation",),
        students=("2-128",),
        running=replace(ON_TOY.running, runs=tmp_path),
        **{name: f"{tmp_path}/{student}" for name, student in options.items()},
    )
    with pytest.raises(SettingsError, match="^" + re.escape(error.format(tmp_path))):
        Plan(settings)


def test_students_of_other_words_are_refused(tmp_path: Path, toy_folder: Path) -> None:
    _given(tmp_path, Student(2, 128), Student(4, 128))
    shutil.copy(toy_folder / "tokenizer/tokenizer.json", tmp_path / "bert-2-128")
    (tmp_path / "bert-4-128/vocab.txt").write_text("[PAD]\na\nb\n")
    settings = replace(
        ON_TOY,
        studies=("concurrent",),
        students=("2-128",),
        running=replace(ON_TOY.running, runs=tmp_path),
        weights=f"{tmp_path}/bert-2-128",
        deep=f"{tmp_path}/bert-4-128",
    )
    with pytest.raises(SettingsError, match=r"^`deep` .* and `weights` .*: expected the same words"):
        Plan(settings)
    # What cannot be read is reported when it is loaded.
    for damaged in ("{", "{}", '{"model": {"vocab": [["a", 0]]}}'):
        (tmp_path / "bert-2-128/tokenizer.json").write_text(damaged)
        assert Plan(settings).studies


def test_a_teacher_that_is_no_classifier_is_refused(tmp_path: Path) -> None:
    _given(tmp_path, Student(2, 128))
    with pytest.raises(
        SettingsError, match=r"`teacher` .*: expected a fine-tuned classifier.*, got BertForM"
    ):
        Plan(replace(ON_TOY, teacher=Teacher(teacher=f"{tmp_path}/bert-2-128")))
    # Code of its own has names of its own; and a config may say anything.
    config = tmp_path / "bert-2-128/config.json"
    for heads, own_code in ((["MyClassifier"], True), (5, False)):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"architectures": heads}))
        label = replace(ON_TOY.label, trust_remote_code=own_code)
        assert Plan(replace(ON_TOY, teacher=Teacher(teacher=f"{tmp_path}/bert-2-128"), label=label)).studies


def test_settings_of_stages_have_the_names_of_the_study() -> None:
    arms = {arm.weights: arm for study in STUDIES.values() for arm in study.arms}
    given = replace(ON_TOY, weights="W")
    assert names_here(given, arms["pre-trained, MLM+"])["start.weights"] == "mlm_plus"
    assert names_here(given, arms["truncated"])["source"] == "deep"
    assert names_here(given, arms["random"])["start.tokenizer"] == "weights"
    assert names_here(ON_TOY, arms["random"])["start.tokenizer"] == "corpus.tokenizer"
    assert names_here(given, PATIENT)["transfer.rows"] == "budget.labelled_rows"
    far = names_here(given, replace(PD, domain="far"))
    assert (far["transfer.rows"], far["transfer.sources"]) == ("budget.transfer_rows", "far")


def test_the_text_that_is_read_is_the_text_that_is_labelled(tmp_path: Path, toy_folder: Path) -> None:
    train, validation = (str(toy_folder / f"task/{split}.jsonl") for split in ("train", "validation"))
    task = Task(name="mine", data=train, validation=validation, columns=("sentence",))
    transfer = Transfer(sources=(f"{toy_folder}/pool.jsonl,column=sentence", "task"), rows=40)
    running = Running(runs=tmp_path)
    stage = transfer_text(task, transfer, running)
    carry_out([stage])
    written = [json.loads(line)["text"] for line in (stage.folder / FILE).read_text().splitlines()]
    loaded = FoundTask(task, running).load()
    assert written == [text for (text,) in TransferSet(transfer, running).rows(loaded).texts]
    assert len(written) == 40
    # A row of two texts is two of them.
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"first": f"a{i}", "second": f"b{i}", "label": i % 2} for i in range(4)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    others = tmp_path / "others.jsonl"
    others.write_text(pairs.read_text().replace('"a', '"c'))
    two = Task(name="two", data=str(pairs), validation=str(others), columns=("first", "second"))
    stage = transfer_text(two, Transfer(sources=("task",), rows=4), running)
    carry_out([stage])
    texts = [json.loads(line)["text"] for line in (stage.folder / FILE).read_text().splitlines()]
    assert texts == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"]
    # Students read what they are taught by.
    (compound,) = Plan(replace(ON_TOY, studies=("compound",), running=running)).studies
    stages = in_order(compound.stages)
    read = [stage.identity["transfer"] for stage in stages if stage.kind == "text"]
    labelled = [stage.identity["transfer"] for stage in stages if stage.kind == "label"]
    assert read == labelled
    assert read[0]["rows"] == 6_000


def _study(folder: Path, name: str) -> dict[str, Any]:
    (found,) = folder.glob(f"study-{name}-*/results.json")
    results: dict[str, Any] = json.loads(found.read_text())
    return results


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_run_goes_on_and_a_second_does_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    words = ("concurrent", *SMALL, "--running.runs", runs)
    process = subprocess.Popen(
        [sys.executable, recipe("study"), *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(runs.glob("label-*/stage.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(runs.glob("study-*/stage.json"))
    done = {path: path.stat().st_mtime_ns for path in runs.glob("*/stage.json")}
    assert done
    on = run_here(capfd, "study", *words)
    assert on.status == 0, on.err
    assert {path: path.stat().st_mtime_ns for path in done} == done
    found = _study(runs, "concurrent")
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/stage.json")}
    again = run_here(capfd, "study", *words)
    assert again.status == 0
    assert "done already" in again.out
    assert {path: path.stat().st_mtime_ns for path in runs.glob("*/stage.json")} == before
    # Every run saw what the budget says, pre-trained or not.
    for score in found["scores"]:  # type: ignore[attr-defined]
        seen = {name: amount for name, amount in score["budget"].items() if name.endswith("seen")}
        assert sum(seen.values()) == 64, score


@pytest.mark.slow
def test_a_given_teacher_labels_whatever_its_size(
    tmp_path: Path, toy_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    teacher = tmp_path / "teacher"
    tokenizer = AutoTokenizer.from_pretrained(toy_folder / "tokenizer")
    new_classifier(Student(2, 128), len(tokenizer), LABEL_NAMES, seed=1).save_pretrained(teacher)
    tokenizer.save_pretrained(teacher)
    runs = tmp_path / "runs"
    ran = run_here(capfd, "study", "methods", *SMALL, "--teacher", teacher, "--running.runs", runs)
    assert ran.status == 0, ran.err
    assert len(_study(runs, "methods")["findings"]) == 5


@pytest.mark.long
def test_a_failed_stage_leaves_the_others_going_and_is_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs, far = tmp_path / "runs", tmp_path / "far.jsonl"
    far.write_text('{"sentence": "one row"}\n')
    words = ("domain", "concurrent", *SMALL, "--far", f"{far},column=sentence", "--running.runs", runs)
    ran: Ran = run_here(capfd, "study", *words)
    assert ran.status == 1
    assert "1 of 2 studies lack runs" in ran.err
    assert "there are 1 rows to draw from" in ran.err
    assert "Traceback" not in ran.err
    assert not list(runs.glob("study-domain-*/stage.json"))
    assert _study(runs, "concurrent")["findings"]
    # The soft labels of other domains were learnt all the same.
    assert len(list(runs.glob("distill-*/stage.json"))) >= 8
