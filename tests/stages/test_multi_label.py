"""Multi-label tasks: scores at threshold 0.5, teachers' kinds, means of sigmoids, and all stages in a row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from tiny import word_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from wellread_hf import stages
from wellread_hf.errors import LabelError
from wellread_hf.labelling.soft_labels import SoftLabels
from wellread_hf.models.load import new_classifier
from wellread_hf.settings import Label, Objective, Optim, Running, Start, Task, Transfer, Tuning
from wellread_hf.store.graph import carry_out
from wellread_hf.store.stage import Stage
from wellread_hf.students import Student

NAMES = ("insult", "threat", "toxic")
MULTI, SINGLE = "multi_label_classification", "single_label_classification"


# Of so few words most rows are validation rows as well.
EVERY = Transfer(guard=False)
WORDS = {"insult": "word1", "threat": "word2", "toxic": "word3"}
TUNING = Tuning(epochs=6, evaluations=1, max_length=16, optim=Optim(learning_rate=1e-3, batch_size=8))


def _write(path: Path, rows: int, seed: int) -> list[list[str]]:
    """Rows whose classes are shown by three words among others; returns the classes of each."""
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
    labels = stages.label(teacher, task, EVERY, labelling, running)
    mean = stages.label_by_all(
        [teacher, str(other)],
        (0.9, 0.1),
        task,
        EVERY,
        Label(max_length=16),
        running,
    )

    def student(objective: Objective, of: Stage) -> Stage:
        return stages.distill(start, task, of, EVERY, objective, TUNING, running)

    students = {
        "plain": student(Objective(temperature=2.0), labels),
        "share": student(Objective(hard_label_share=0.5), mean),
        "patient": student(Objective(method="patient"), labels),
    }
    again = stages.finetune(students["plain"], task, TUNING, running)
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
        # The words show the classes; always the commonest class alone would have about 0.4.
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
    student = stages.distill(start, task, taught["labels"], EVERY, Objective(), TUNING, running)
    with pytest.raises(LabelError, match=r"labels are for the independent classes insult.* has the classes"):
        carry_out([student])
    labels = stages.label(str(taught["other"]), task, EVERY, Label(max_length=16), running)
    # Before anything runs, by --dry-run too.
    with pytest.raises(LabelError, match="trained for 3 independent classes, the task is 3 classes"):
        labels.check()
    assert not labels.folder.exists()
