"""A language model that is asked for soft labels: from a template to a student, digests, refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from causal import CHAT, byte_tokenizer, plain_loop, saved
from recipe_runs import run_here
from scipy.special import logsumexp, softmax
from transformers import AutoModelForCausalLM, AutoTokenizer

from wellread_hf import stages
from wellread_hf.data.toy.world import LABEL_NAMES
from wellread_hf.errors import DataError, LabelError, SettingsError
from wellread_hf.hub.cards.labels_card import soft_labels_card
from wellread_hf.labelling.soft_labels import SoftLabels
from wellread_hf.settings import Label, Prompt, Running, Task, Transfer
from wellread_hf.store.graph import carry_out
from wellread_hf.store.records import StageRecord
from wellread_hf.store.stage import Stage

TEMPLATE = (
    "Is a sentence {{ labels | join(' or ') }}?\n"
    "{% for example in examples %}{{ example.sentence }}\nIt is {{ example.label }}\n{% endfor %}"
    "{{ sentence }}\nIt is\n"
)
WORDS = ("bad", "good")


@pytest.fixture(scope="module")
def task(toy_folder: Path) -> Task:
    files = {name: str(toy_folder / f"task/{name}.jsonl") for name in ("train", "validation")}
    return Task(
        name="mine",
        data=files["train"],
        validation=files["validation"],
        columns=("sentence",),
        labels=LABEL_NAMES,
    )


@pytest.fixture(scope="module")
def texts(toy_folder: Path) -> list[tuple[str, ...]]:
    lines = (toy_folder / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    return [(json.loads(line)["sentence"],) for line in lines]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory, texts: Any) -> Path:
    """A Llama, and a Qwen3 with a chat template, with the toy world's words."""
    folder = tmp_path_factory.mktemp("teachers")
    lines = [text for (text,) in texts] + ["It is bad or good\n"] * 50
    for family, chat in (("llama", False), ("qwen3", True)):
        saved(folder / family, family, byte_tokenizer(lines, 600, chat=chat, start=not chat))
    return folder


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "asked.jinja").write_text(TEMPLATE)
    return tmp_path / "asked.jinja"


def asked(teacher: Path, template: Path, task: Task, toy_folder: Path, runs: Path, **more: Any) -> Stage:
    label = more.pop("label", Label(max_length=32, shard_rows=64))
    prompt = Prompt(**{"template": template, "label_words": WORDS} | more)
    transfer = Transfer(sources=(f"{toy_folder}/pool.jsonl,column=sentence",))
    return stages.label_by_prompt(str(teacher), prompt, task, transfer, label, Running(runs=runs))


def test_a_student_learns_from_a_language_model(
    teachers: Path, template: Path, toy_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = ("--task", "toy", "--task.data", "toy:task@smoke", "--transfer", "toy:pool@smoke")
    prompt = ("--prompt", template, "--label-words", *WORDS, "--prompt.shots", 4, "--prompt.calibrate")
    runs = ("--runs", tmp_path / "runs")
    ran = run_here(capfd, "label", "--teacher", teachers / "qwen3", *prompt, *task, *runs)
    assert ran.status == 0, ran.err
    assert "the label words have" in ran.out
    assert "without contextual calibration" in ran.out
    (labels,) = (tmp_path / "runs").glob("label-*")
    outcome = StageRecord.read(labels).outcome
    assert outcome["label_words"] == dict(zip(LABEL_NAMES, WORDS, strict=True))
    assert outcome["teacher_validation_rows"] == 64
    assert set(outcome["uncalibrated"]) == {"content_free", "teacher_validation", "teacher_validation_ece"}
    card = soft_labels_card(StageRecord.read(labels), "me/labels")
    assert "the logits are | `bad`, `good` |" in card
    tuning = ("--epochs", 1, "--tuning.evaluations", 1, "--max-length", 32, "--batch-size", 8)
    start = ("--labels", labels, "--weights", "toy:encoder@smoke")
    ran = run_here(capfd, "distill", *start, *tuning, *task, *runs)
    assert ran.status == 0, ran.err
    # The same command is done.
    ran = run_here(capfd, "label", "--teacher", teachers / "qwen3", *prompt, *task, *runs)
    assert len([*(tmp_path / "runs").glob("label-*")]) == 1


@pytest.mark.parametrize("calibrate", [False, True])
def test_what_is_stored_is_the_loops_log_probabilities(
    calibrate: bool, teachers: Path, template: Path, task: Task, toy_folder: Path, tmp_path: Path, texts: Any
) -> None:
    stage = asked(teachers / "llama", template, task, toy_folder, tmp_path / "runs", calibrate=calibrate)
    carry_out([stage])
    store = SoftLabels.open(stage.folder)
    store.check_belongs(texts)
    model = AutoModelForCausalLM.from_pretrained(teachers / "llama", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(teachers / "llama")

    def by_loop(some: Any) -> Any:
        prompts = [f"Is a sentence bad or good?\n{text}\nIt is" for (text,) in some]
        return plain_loop(model, tokenizer, prompts, [f" {word}" for word in WORDS]).numpy()

    free = by_loop([("N/A",), ("[MASK]",), ("",)])
    content_free = softmax(free, axis=1).mean(axis=0)
    expected = by_loop(texts)
    outcome = stage.record.outcome
    mass = np.exp(logsumexp(expected, axis=1))
    assert outcome["label_words_mass"]["median"] == pytest.approx(np.median(mass), rel=1e-3)
    assert outcome["label_words_mass"]["below_1_percent"] == pytest.approx((mass < 0.01).mean())
    if calibrate:
        # Zhao et al. 2021: W p with W = diag(p_cf)^-1.
        expected = expected - np.log(content_free)
        assert [*outcome["uncalibrated"]["content_free"].values()] == pytest.approx(content_free, rel=1e-3)
    np.testing.assert_allclose(store.logits, expected, atol=1e-4)


def test_what_decides_the_answers_decides_the_digest(
    teachers: Path, template: Path, task: Task, toy_folder: Path, tmp_path: Path
) -> None:
    def digest(teacher: Path = teachers / "qwen3", of: Task = task, **more: Any) -> str:
        return asked(teacher, more.pop("at", template), of, toy_folder, tmp_path / "runs", **more).digest

    moved, other = tmp_path / "moved.jinja", tmp_path / "other.jinja"
    moved.write_text(TEMPLATE)
    other.write_text(TEMPLATE.replace("It is", "It was"))
    fewer = replace(task, train_rows=20)
    shown = digest(shots=4)
    # Where a template lies does not matter, nor do rows and a seed that nothing is drawn with.
    assert digest() == digest(at=moved) == digest(seed=1) == digest(of=fewer)
    assert digest(of=replace(task, metric="f1_macro")) == digest()
    changed = [
        digest(teachers / "llama"),
        digest(at=other),
        digest(label_words=("dull", "good")),
        shown,
        digest(shots=4, seed=1),
        digest(shots=4, of=fewer),
        digest(calibrate=True),
        digest(chat="no"),
        digest(precision="bf16"),
        digest(label=Label(max_length=16, shard_rows=64)),
    ]
    before = digest()
    # The fingerprint of a model leaves out a chat template in a file of its own.
    chat = teachers / "qwen3/chat_template.jinja"
    text = chat.read_text()
    try:
        chat.write_text(CHAT.replace("<|end|>", "."))
        changed.append(digest())
        assert digest(chat="no") == changed[7]
    finally:
        chat.write_text(text)
    assert len({*changed, before}) == len(changed) + 1


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"label_words": ("a", "b", "c")}, TEMPLATE, "expected 2 words.*negative, positive; got 3"),
    ({}, "{{ sentence }}:\n{{ 1 / 0 }}", "line 2.*division by zero"),
    ({}, "Is it?", "uses the text column 'sentence'"),
    ({}, "{{ sentense }}", "'sentense' is undefined"),
    ({"shots": 65}, TEMPLATE, "labelled rows, 64"),
    ({"shots": 2}, "{{ sentence }} is", "shows `examples`"),
    ({"chat": "yes"}, TEMPLATE, "has none; take an instructed model"),
]


@pytest.mark.parametrize(("prompt", "text", "said"), REFUSED)
def test_what_cannot_be_asked_is_refused_before_anything_runs(
    prompt: dict[str, Any],
    text: str,
    said: str,
    teachers: Path,
    template: Path,
    task: Task,
    toy_folder: Path,
    tmp_path: Path,
) -> None:
    template.write_text(text)
    stage = asked(teachers / "llama", template, task, toy_folder, tmp_path / "runs", **prompt)
    with pytest.raises((DataError, LabelError, SettingsError), match=said):
        stage.check()
    assert not (tmp_path / "runs").exists() or not [*(tmp_path / "runs").glob("label-*")]
