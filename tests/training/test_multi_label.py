"""Multi-label tasks: scores at threshold 0.5, teachers' kinds, means of sigmoids, and all stages in a row."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from tiny import word_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from wellread_hf import stages
from wellread_hf.errors import LabelError, NotFiniteError
from wellread_hf.metrics.scores import metric_at, predictions_from, scores
from wellread_hf.models.load import new_classifier
from wellread_hf.settings import Label, Objective, Optim, Running, Start, Task, Transfer, Tuning
from wellread_hf.store.graph import Stage, carry_out
from wellread_hf.students import Student
from wellread_hf.training.soft_labels import SoftLabels, mean_logits
from wellread_hf.training.teacher_classes import teacher_order

NAMES = ("insult", "threat", "toxic")
MULTI, SINGLE = "multi_label_classification", "single_label_classification"


def test_f1_over_classes_is_the_textbooks_at_a_threshold_of_one_half() -> None:
    logits = np.array([[2.0, -1.0, 0.1], [-3.0, 0.0, 5.0], [1.0, 1.0, -1.0]])
    labels = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float32)
    # A probability of one half is not above it.
    said = [[1, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert predictions_from(logits, multi_label=True).tolist() == said
    found = scores(("f1_micro", "f1_macro"), logits, labels)
    # Three right, two too many, one missed; by class F1 is 1/2, 1 and 2/3.
    assert found["f1_micro"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["f1_macro"] == pytest.approx((0.5 + 1 + 2 / 3) / 3)
    assert scores(("f1_micro", "f1_macro"), -np.ones((2, 3)), np.zeros((2, 3))) == {
        "f1_micro": 0.0,
        "f1_macro": 0.0,
    }
    assert metric_at("f1_micro") == "f1_micro at threshold 0.5"
    assert metric_at("accuracy") == "accuracy"
    with pytest.raises(NotFiniteError, match="in row 2"):
        scores(("f1_micro",), np.array([[0.0, 1.0], [np.nan, 1.0]]), np.zeros((2, 2)))


def test_the_mean_of_teachers_is_that_of_each_class() -> None:
    draw = np.random.default_rng(0)
    teachers = [4 * draw.normal(size=(7, 3)).astype(np.float32) for _ in range(2)]
    found = expit(mean_logits(teachers, [0.7, 0.3], multi_label=True))
    np.testing.assert_allclose(found, 0.7 * expit(teachers[0]) + 0.3 * expit(teachers[1]), rtol=1e-5)
    one = [teacher[:, :1] for teacher in teachers]
    np.testing.assert_allclose(expit(mean_logits(one, [0.7, 0.3], multi_label=True)), found[:, :1], rtol=1e-6)
    # Sure of everything, and sure of the opposite.
    sure = np.array([[300.0, -300.0]], dtype=np.float32)
    np.testing.assert_allclose(mean_logits([sure, sure], [0.5, 0.5], multi_label=True), sure, rtol=1e-6)
    assert expit(mean_logits([sure, -sure], [0.2, 0.8], multi_label=True)) == pytest.approx(
        np.array([[0.2, 0.8]]), rel=1e-6
    )


def _config(problem: str | None, *names: str) -> Any:
    return SimpleNamespace(num_labels=len(names), id2label=dict(enumerate(names)), problem_type=problem)


@pytest.mark.parametrize(
    ("problem", "names", "task", "multi_label", "told"),
    [
        (MULTI, NAMES, NAMES, False, r"trained for 3 independent classes, the task is 3 classes \(insult"),
        (SINGLE, NAMES, NAMES, True, "trained for 3 classes, the task is 3 independent classes"),
        (None, NAMES, NAMES, True, "or correct problem_type in its config.json"),
        ("regression", NAMES, NAMES, False, "trained for regression, the task is 3 classes"),
        (MULTI, ("score",), (), False, "trained for 1 independent classes, the task is regression"),
    ],
)
def test_a_teacher_of_another_kind_is_refused(
    problem: str | None, names: tuple[str, ...], task: tuple[str, ...], multi_label: bool, told: str
) -> None:
    with pytest.raises(LabelError, match=told):
        teacher_order(_config(problem, *names), task, (), multi_label=multi_label)


def test_a_teacher_of_the_tasks_kind_is_matched_by_name() -> None:
    turned = tuple(reversed(NAMES))
    assert teacher_order(_config(MULTI, *turned), NAMES, (), multi_label=True) == [2, 1, 0]
    assert teacher_order(_config(None, *turned), NAMES, ()) == [2, 1, 0]
    assert teacher_order(_config("regression", "score"), (), ()) == [0]


WORDS = {"insult": "word1", "threat": "word2", "toxic": "word3"}
TUNING = Tuning(epochs=6, evaluations=1, max_length=16, optim=Optim(learning_rate=1e-3, batch_size=8))


def _write(path: Path, rows: int, seed: int) -> list[list[str]]:
    """Rows whose classes are told by three words among others; returns the classes of each."""
    draw = np.random.default_rng(seed)
    classes = [[name for name in NAMES if draw.random() < 0.4] for _ in range(rows)]
    texts = [
        " ".join([*(WORDS[name] for name in each), f"word{number % 5 + 7}"])
        for number, each in enumerate(classes)
    ]
    lines = (json.dumps({"text": text, "labels": each}) for text, each in zip(texts, classes, strict=True))
    path.write_text("\n".join(lines) + "\n")
    return classes


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A teacher, another from outside, the soft labels of both, and students."""
    folder = tmp_path_factory.mktemp("multi")
    tokenizer = word_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    dev = _write(folder / "dev.jsonl", 40, 1)
    _write(folder / "train.jsonl", 120, 0)
    task = Task(
        name="mine",
        data=str(folder / "train.jsonl"),
        validation=str(folder / "dev.jsonl"),
        test=str(folder / "dev.jsonl"),
        columns=("text",),
        label="labels",
        multi_label=True,
    )
    running = Running(runs=folder / "runs")
    start = Start(weights=None, student="2-128", tokenizer=str(folder / "tokenizer"))
    teacher = stages.finetune(start, task, TUNING, running)
    other = folder / "other"
    new_classifier(
        Student(2, 128), len(tokenizer), tuple(reversed(NAMES)), seed=1, multi_label=True
    ).save_pretrained(other)
    tokenizer.save_pretrained(other)
    labelling = Label(max_length=16, states=(1,))
    labels = stages.label(str(teacher.folder), task, Transfer(), labelling, running, [teacher])
    mean = stages.label_by_all(
        [(str(teacher.folder), [teacher]), (str(other), [])],
        (0.9, 0.1),
        task,
        Transfer(),
        Label(max_length=16),
        running,
    )

    def student(objective: Objective, of: Stage) -> Stage:
        return stages.distill(start, task, of, Transfer(), objective, TUNING, running)

    students = {
        "plain": student(Objective(temperature=2.0), labels),
        "share": student(Objective(hard_label_share=0.5), mean),
        "patient": student(Objective(method="patient"), labels),
    }
    again = stages.finetune(
        Start(weights=str(students["plain"].folder)), task, TUNING, running, [students["plain"]]
    )
    carry_out([*students.values(), again])
    return {
        "folder": folder,
        "task": task,
        "running": running,
        "start": start,
        "teacher": teacher,
        "labels": labels,
        "mean": mean,
        "other": other,
        "students": students | {"again": again},
        "dev": dev,
    }


def _logits(folder: Path, texts: list[str]) -> np.ndarray:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()


def test_every_stage_knows_that_classes_are_independent(taught: dict[str, Any]) -> None:
    for stage in (taught["teacher"], *taught["students"].values()):
        config = json.loads((stage.folder / "config.json").read_text())
        assert config["problem_type"] == MULTI
        assert config["id2label"] == {str(number): name for number, name in enumerate(NAMES)}
        outcome = stage.record.outcome
        assert outcome["metric"] == "f1_micro"
        assert set(outcome["test"]) == set(outcome["validation"]) == {"f1_micro", "f1_macro"}
        # The words tell the classes; always the commonest class alone would have about 0.4.
        assert outcome["test"]["f1_micro"] > 0.9
    dev = [json.loads(line)["text"] for line in (taught["folder"] / "dev.jsonl").read_text().splitlines()]
    said = _logits(taught["teacher"].folder, dev) > 0
    truth = np.array([[name in row for name in NAMES] for row in taught["dev"]])
    hits, apart = (said & truth).sum(), (said != truth).sum()
    assert taught["teacher"].record.outcome["test"]["f1_micro"] == pytest.approx(
        2 * hits / (2 * hits + apart)
    )


def test_soft_labels_are_stored_as_logits_and_their_mean_is_that_of_sigmoids(taught: dict[str, Any]) -> None:
    texts = [json.loads(line)["text"] for line in (taught["folder"] / "train.jsonl").read_text().splitlines()]
    ours = _logits(taught["teacher"].folder, texts)
    theirs = _logits(taught["other"], texts)[:, ::-1]
    np.testing.assert_allclose(SoftLabels.open(taught["labels"].folder).logits, ours, atol=1e-4)
    mean = expit(SoftLabels.open(taught["mean"].folder).logits)
    np.testing.assert_allclose(mean, 0.9 * expit(ours) + 0.1 * expit(theirs), atol=1e-5)
    for stage in (taught["labels"], taught["mean"]):
        assert stage.record.outcome["multi_label"] is True


def test_soft_labels_of_independent_classes_meet_no_task_of_exclusive_ones(
    taught: dict[str, Any], tmp_path: Path
) -> None:
    rows = [{"text": f"word{number % 3 + 1} word7", "label": NAMES[number % 3]} for number in range(12)]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = Task(
        name="mine",
        data=str(tmp_path / "train.jsonl"),
        validation=str(tmp_path / "dev.jsonl"),
        columns=("text",),
    )
    running, start = taught["running"], taught["start"]
    student = stages.distill(start, task, taught["labels"], Transfer(), Objective(), TUNING, running)
    with pytest.raises(LabelError, match=r"labels are for the independent classes insult.* has the classes"):
        carry_out([student])
    labels = stages.label(str(taught["other"]), task, Transfer(), Label(max_length=16), running)
    # Before anything runs, by --dry-run too.
    with pytest.raises(LabelError, match="trained for 3 independent classes, the task is 3 classes"):
        labels.check()
    assert not labels.folder.exists()
