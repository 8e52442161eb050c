"""DistilBERT's loss is its formula computed densely by hand, and nothing where the student is the teacher."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from launched import Recipes
from tiny import random_blocks, tiny_masked_lm, word_tokenizer
from torch import Tensor
from transformers import AutoModelForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from wellread_hf.errors import SettingsError
from wellread_hf.settings import Distil, Pretrain
from wellread_hf.training.distilbert import LearntFromTeacher
from wellread_hf.training.masking import MlmCollator


def batch(rows: int = 6, length: int = 24) -> dict[str, Tensor]:
    blocks = random_blocks(rows, length)
    examples = [{"input_ids": ids, "epoch": 0, "block": block} for block, ids in enumerate(blocks)]
    return MlmCollator(word_tokenizer(), seed=1)(examples)


def by_hand(student: Any, teacher: Any, given: dict[str, Tensor], distil: Distil) -> dict[str, Tensor]:
    """Each row's three parts, densely and by loops over rows and positions."""
    ours = student(given["input_ids"], output_hidden_states=True)
    theirs = teacher(given["input_ids"], output_hidden_states=True)
    parts: dict[str, list[Tensor]] = {"mlm_loss": [], "soft_loss": [], "cosine_loss": []}
    for row in range(len(given["labels"])):
        words, soft = [], []
        for place, label in zip(given["positions"][row], given["labels"][row], strict=True):
            logits, taught = ours.logits[row, place], theirs.logits[row, place].detach()
            words.append(-torch.log(torch.softmax(logits, 0)[label]))
            p = torch.softmax(taught / distil.temperature, 0)
            q = torch.softmax(logits / distil.temperature, 0)
            soft.append(distil.temperature**2 * (p * (p / q).log()).sum())
        cosines = [
            a @ b.detach() / (a.norm() * b.detach().norm())
            for a, b in zip(ours.hidden_states[-1][row], theirs.hidden_states[-1][row], strict=True)
        ]
        parts["mlm_loss"].append(torch.stack(words).mean())
        parts["soft_loss"].append(torch.stack(soft).mean())
        parts["cosine_loss"].append(1 - torch.stack(cosines).mean())
    return {name: torch.stack(values) for name, values in parts.items()}


def test_loss_and_gradients_are_those_computed_densely_by_hand() -> None:
    student, teacher, given = tiny_masked_lm(0), tiny_masked_lm(1, num_hidden_layers=3), batch()
    distil = Distil(teacher="there")
    assert (distil.temperature, distil.mlm_weight, distil.soft_weight, distil.cosine_weight) == (2, 2, 5, 1)
    expected = by_hand(student.train(), teacher.eval(), given, distil)
    total = 2 * expected["mlm_loss"] + 5 * expected["soft_loss"] + expected["cosine_loss"]
    total.mean().backward()
    gradients = {name: weight.grad.clone() for name, weight in student.named_parameters()}
    student.zero_grad()
    losses, parts = LearntFromTeacher(teacher, student, distil)(student, student, given)
    assert parts.keys() == expected.keys()
    for name, part in parts.items():
        torch.testing.assert_close(part, expected[name], atol=1e-5, rtol=1e-5, msg=name)
    torch.testing.assert_close(losses, total, atol=1e-5, rtol=1e-5)
    losses.mean().backward()
    for name, weight in student.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], atol=1e-5, rtol=1e-5, msg=name)
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())


def test_the_soft_part_has_the_gradient_of_the_papers_cross_entropy() -> None:
    student, teacher, given = tiny_masked_lm(0), tiny_masked_lm(1), batch()
    distil = Distil(teacher="there", mlm_weight=0, cosine_weight=0, soft_weight=1, temperature=3)
    ours, theirs = student(given["input_ids"]).logits, teacher(given["input_ids"]).logits.detach()
    rows = torch.arange(len(ours))[:, None]
    p = torch.softmax(theirs[rows, given["positions"]] / 3, -1)
    crossed = -9 * (p * torch.log_softmax(ours[rows, given["positions"]] / 3, -1)).sum(-1).mean()
    crossed.backward()
    expected = student.cls.predictions.bias.grad.clone()
    student.zero_grad()
    LearntFromTeacher(teacher, student, distil)(student, student, given)[0].mean().backward()
    torch.testing.assert_close(student.cls.predictions.bias.grad, expected, atol=1e-6, rtol=1e-5)


def test_a_student_that_equals_its_teacher_has_the_masked_lm_loss_alone() -> None:
    student, teacher, given = tiny_masked_lm(0), tiny_masked_lm(0), batch()
    losses, parts = LearntFromTeacher(teacher, student, Distil(teacher="there"))(student, student, given)
    np.testing.assert_allclose(parts["soft_loss"].detach(), 0, atol=1e-6)
    np.testing.assert_allclose(parts["cosine_loss"].detach(), 0, atol=1e-6)
    torch.testing.assert_close(losses, 2 * parts["mlm_loss"], atol=1e-5, rtol=1e-5)


def test_without_a_cosine_widths_and_families_may_differ() -> None:
    student, given = tiny_masked_lm(0), batch()
    wider = tiny_masked_lm(1, hidden_size=64)
    with pytest.raises(SettingsError, match=r"H = 32, since .* got H = 64; give `distil.cosine_weight` 0"):
        LearntFromTeacher(wider, student, Distil(teacher="there"))
    sizes = {"dim": 48, "n_layers": 1, "n_heads": 2, "hidden_dim": 64}
    torch.manual_seed(0)
    family = DistilBertForMaskedLM(DistilBertConfig(vocab_size=student.config.vocab_size, **sizes))
    for teacher in (wider, family):
        objective = LearntFromTeacher(teacher, student, Distil(teacher="there", cosine_weight=0))
        losses, parts = objective(student, student, given)
        assert parts.keys() == {"mlm_loss", "soft_loss"}
        assert torch.isfinite(losses).all()


def test_a_teacher_with_another_number_of_words_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected 60 words as the student has, got 61"):
        LearntFromTeacher(tiny_masked_lm(1, vocab_size=61), tiny_masked_lm(0), Distil(teacher="there"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": 0}, "`distil.temperature` must be above 0"),
        ({"temperature": math.inf}, "expected a finite number, got inf"),
        ({"soft_weight": -1}, "at least 0"),
        ({"soft_weight": math.nan}, "expected a finite number, got nan"),
        ({"cosine_weight": math.inf}, "expected a finite number, got inf"),
        ({"soft_weight": 0, "cosine_weight": 0}, "above 0, got 0 for both"),
        ({"teacher": None, "soft_weight": 1}, "`distil.soft_weight`: expected a teacher as well, got none"),
    ],
)
def test_settings_that_no_run_can_have_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Distil(**({"teacher": "there"} | values))


def test_next_sentences_and_a_teacher_are_refused_together() -> None:
    with pytest.raises(SettingsError, match="two ways to pre-train"):
        Pretrain(next_sentence=True, distil=Distil(teacher="there"))


@pytest.fixture(scope="module")
def options(world: Path) -> list[object]:
    return [
        *("--corpus.sources", world / "corpus.txt", "--corpus.tokenizer", world / "tokenizer"),
        *("--steps", 8, "--block-lengths", 16, "--optim.batch-size", 8),
    ]


@pytest.mark.long
def test_the_recipe_learns_from_a_teacher_with_its_layers_as_a_start(
    recipes: Recipes, undisturbed_pretraining: Path, options: list[object], tmp_path: Path
) -> None:
    teacher = undisturbed_pretraining
    runs = ("--running.runs", tmp_path)
    recipes.run("init", "--source", teacher, "--keep", "spread", *runs)
    start = next(tmp_path.glob("init-*"))
    recipes.run("pretrain", "--start", start, "--distil.teacher", teacher, *options, *runs)
    folder = next(tmp_path.glob("pretrain-*"))
    record = json.loads((folder / "stage.json").read_text())
    outcome = record["outcome"]
    assert {"held_out_loss", "held_out_soft_loss", "held_out_cosine_loss"} < outcome.keys()
    assert record["settings"]["distil"]["teacher"].startswith("stage:")
    assert AutoModelForMaskedLM.from_pretrained(folder).config.num_hidden_layers == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("other words", ("--distil.teacher", "another vocabulary")),
        ("fine-tuned", ("--distil.teacher", "trained masked LM", "pre-trained")),
        ("too wide", ("H = 128", "H = 256", "--distil.cosine-weight 0")),
        ("too short", ("--block-lengths 16", "8 positions")),
        ("nowhere", ("--distil.teacher",)),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_in_a_sentence(
    change: str, words: tuple[str, ...], recipes: Recipes, options: list[object], world: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, BertForMaskedLM, BertTokenizer

    from wellread_hf.models.load import new_classifier
    from wellread_hf.models.masked_lm import new_masked_lm
    from wellread_hf.students import Student

    tokenizer = AutoTokenizer.from_pretrained(world / "tokenizer")
    model: Any = new_masked_lm(Student(2, 256 if change == "too wide" else 128), len(tokenizer), 0.1, seed=0)
    if change == "fine-tuned":
        model = new_classifier(Student(2, 128), len(tokenizer), ("0", "1"), seed=0)
    if change == "too short":
        model = BertForMaskedLM(Student(2, 128).config(len(tokenizer), max_position_embeddings=8))
    if change == "other words":
        tokenizer = BertTokenizer(vocab={word: row for row, word in enumerate(sorted(tokenizer.get_vocab()))})
    if change != "nowhere":
        model.save_pretrained(tmp_path / "teacher")
        tokenizer.save_pretrained(tmp_path / "teacher")
    output = recipes.run(
        "pretrain",
        *("--distil.teacher", tmp_path / "teacher", *options, "--running.runs", tmp_path / "runs"),
        status=2,
    )
    (sentence,) = (line for line in output.splitlines() if line.startswith("error: "))
    for word in words:
        assert word in sentence
