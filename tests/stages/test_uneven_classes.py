"""Uneven classes: the metric that chooses, weights of classes, a table by class; and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support
from tiny import word_tokenizer

from wellread_hf import stages
from wellread_hf.cli.summary import show_evaluations, show_result
from wellread_hf.data.evaluated_rows import EvaluatedRows
from wellread_hf.errors import DataError, SettingsError, UnknownNameError
from wellread_hf.hub.cards import facts_of_run, render
from wellread_hf.results.class_table import class_table
from wellread_hf.results.report_facts import read_facts
from wellread_hf.results.report_sections import lead, sections_of
from wellread_hf.settings import Label, Objective, Optim, Picking, Running, Start, Task, Transfer, Tuning
from wellread_hf.store.graph import carry_out

NAMES = ("common", "odd:one", "rare")
SHARES = (0.8, 0.12, 0.08)
TUNING = Tuning(epochs=3, evaluations=3, max_length=16, optim=Optim(learning_rate=1e-3, batch_size=8))


def _write(path: Path, rows: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    numbers = draw.choice(3, p=SHARES, size=rows)
    # Noise, so that scores are no round numbers.
    shown = np.where(draw.random(rows) < 0.2, draw.integers(0, 3, rows), numbers)
    lines = (
        json.dumps({"text": f"word{each + 1} word{row % 7 + 7}", "label": NAMES[number]})
        for row, (number, each) in enumerate(zip(numbers, shown, strict=True))
    )
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("uneven")
    word_tokenizer().save_pretrained(folder / "tokenizer")
    _write(folder / "train.jsonl", 160, 0)
    _write(folder / "dev.jsonl", 80, 1)
    data, validation = str(folder / "train.jsonl"), str(folder / "dev.jsonl")
    task = Task(name="mine", data=data, validation=validation, columns=("text",), metric="f1_macro")
    return {
        "task": task,
        "running": Running(runs=folder / "runs"),
        "start": Start(weights=None, student="2-128", tokenizer=str(folder / "tokenizer")),
    }


def test_the_chosen_metric_comes_first_everywhere_and_classes_have_a_table(
    uneven: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    task, running, start = uneven["task"], uneven["running"], uneven["start"]
    rare = replace(task, metric="f1:odd:one")
    teacher = stages.finetune(start, task, replace(TUNING, class_weights=("balanced",)), running)
    labels = stages.label(teacher, task, Transfer(), Label(max_length=16), running)
    objective = Objective(hard_label_share=0.5)
    weighted = replace(TUNING, class_weights=("rare=5",))
    student = stages.distill(start, rare, labels, Transfer(), objective, weighted, running)
    found = [stages.evaluate(student, each, None, running) for each in (task, rare)]
    carry_out([student, *found])
    outcome = student.record.outcome
    assert outcome["metric"] == "f1:1:odd:one"
    assert set(outcome["validation"]) == {"f1:1:odd:one", "accuracy"}
    log = json.loads((student.folder / "log.json").read_text())
    history = log["log_history"] if isinstance(log, dict) else log
    each = [entry["eval_f1:1:odd:one"] for entry in history if "eval_f1:1:odd:one" in entry]
    assert outcome["validation"]["f1:1:odd:one"] == max(each)
    assert teacher.record.outcome["metric"] == labels.record.outcome["metric"] == "f1_macro"
    for stage, metric in zip(found, ("f1_macro", "f1:1:odd:one"), strict=True):
        rows = EvaluatedRows.read(stage.folder)
        said, evaluated = rows.logits.argmax(axis=1), stage.record.outcome
        expected = (
            f1_score(rows.labels, said, average="macro")
            if metric == "f1_macro"
            else f1_score(rows.labels == 1, said == 1)
        )
        assert evaluated["metric"] == metric
        assert evaluated["scores"][metric] == pytest.approx(expected)
        assert len(evaluated["without"]) == 50
        table = precision_recall_fscore_support(rows.labels, said, zero_division=0)
        for name, ours, *theirs in zip(NAMES, evaluated["per_class"], *table, strict=True):
            assert [ours[key] for key in ("class", "precision", "recall", "f1", "rows")] == [
                name,
                *(pytest.approx(value) for value in theirs),
            ]
    assert outcome["per_class"] == found[0].record.outcome["per_class"]
    show_evaluations(type("Settings", (), {"running": running}), found[1:])
    shown = capsys.readouterr().out
    assert "F1 of odd:one" in shown
    assert "recall (%)" in shown
    show_result(type("Settings", (), {"running": running, "task": task}), [student])
    shown = capsys.readouterr().out
    assert "F1 of odd:one" in shown
    assert "validation rows by class" in shown
    card = render(facts_of_run(student.folder), picture=False).markdown
    assert "| class | labels | precision (%) | recall (%) | F1 (%) |" in card
    assert f"| odd&#58;one | {outcome['per_class'][1]['rows']} |" in card
    assert "F1 of odd&#58;one" in card


def test_a_report_compares_trainings_by_a_score_that_they_have(
    uneven: dict[str, Any], tmp_path: Path
) -> None:
    task, start, running = uneven["task"], uneven["start"], Running(runs=tmp_path / "runs")
    short = replace(TUNING, epochs=0.2, evaluations=1)
    rare = replace(task, metric="f1:rare")
    models = [stages.finetune(start, each, short, running) for each in (rare, task)]
    for model in models:
        carry_out([model])
    runs = (running.runs,)
    # The last one, until something was evaluated.
    assert read_facts(runs, Picking()).metric == "f1_macro"
    carry_out([stages.evaluate(models[0], rare, None, running)])
    found = read_facts(runs, Picking())
    assert (found.metric, len(found.trained)) == ("f1:2:rare", 1)
    assert "Scores are F1 of rare" in lead(found)
    (confusion,) = [each for each in sections_of(found) if each.id == "confusion"]
    assert confusion.tables[0].table.head[0] == "class"
    carry_out([stages.evaluate(models[0], replace(task, metric="f1:common"), None, running)])
    with pytest.raises(SettingsError, match=r"trainings with F1 of common, .* got F1 of rare, f1_macro"):
        read_facts(runs, Picking(task="mine"))


def test_two_even_classes_have_no_table_and_of_many_the_worst_are_shown() -> None:
    def scored(rows: list[int]) -> list[dict[str, Any]]:
        return [
            {"class": f"class{number}", "rows": count, "precision": 1.0, "recall": 1.0, "f1": number / 100}
            for number, count in enumerate(rows)
        ]

    assert class_table([]) is None
    assert class_table(scored([10, 30])) is None
    found = class_table(scored([9, 28]))
    assert found is not None
    assert found.rows[1] == ["class1", "28", "100.0", "100.0", "1.0"]
    found = class_table(scored([5] * 30)[::-1])
    assert found is not None
    assert [row[0] for row in found.rows] == [f"class{number}" for number in range(20)]
    assert "20 of 30 classes" in found.notes[0]


def test_the_metric_and_the_weights_decide_what_is_learnt_and_not_what_a_teacher_says(
    uneven: dict[str, Any],
) -> None:
    task, running, start = uneven["task"], uneven["running"], uneven["start"]
    usual = replace(task, metric=None)

    def digest(task: Task, tuning: Tuning = TUNING) -> str:
        return stages.finetune(start, task, tuning, running).digest

    assert len({digest(task), digest(usual), digest(usual, replace(TUNING, class_weights=("rare=5",)))}) == 3
    plain = teacher = stages.finetune(start, usual, TUNING, running)
    assert not {"metric", "class_weights"} & {*plain.identity["task"], *plain.identity["tuning"]}
    passes = {stages.label(teacher, each, Transfer(), Label(), running).digest for each in (task, usual)}
    assert len(passes) == 1


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"metric": "f1_marco"}, UnknownNameError, "the nearest is f1_macro"),
        ({"metric": "f1:raer"}, UnknownNameError, "common, odd:one, rare; the nearest is rare"),
        ({"metric": "f1"}, DataError, "the second of two classes, got 3"),
        ({"metric": "pearson"}, UnknownNameError, "accuracy, f1, f1_macro, matthews_correlation or f1:CLASS"),
        ({"metric": "accuracy:rare"}, UnknownNameError, "'accuracy:rare'"),
        ({"metric": "f1_macro", "regression": True}, UnknownNameError, "expected one of pearson, spearman"),
        ({"metric": "accuracy", "multi_label": True}, UnknownNameError, "expected one of f1_micro, f1_macro"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_before_training(
    uneven: dict[str, Any], changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    task = replace(uneven["task"], **changes)
    with pytest.raises(kind, match=message):
        stages.finetune(uneven["start"], task, TUNING, uneven["running"]).check()


def test_weights_of_soft_labels_alone_are_refused_before_training(uneven: dict[str, Any]) -> None:
    task, running, start = uneven["task"], uneven["running"], uneven["start"]
    teacher = stages.finetune(start, task, TUNING, running)
    labels = stages.label(teacher, task, Transfer(), Label(), running)
    weighted = replace(TUNING, class_weights=("balanced",))
    student = stages.distill(start, task, labels, Transfer(), Objective(), weighted, running)
    with pytest.raises(SettingsError, match="soft labels alone"):
        student.check()
