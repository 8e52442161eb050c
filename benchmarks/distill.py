"""Distillation on stored soft labels, labelling included, beside a live teacher in every step.

  python -m benchmarks --only distill

Teacher 12-768, student 2-128, random weights, 3 epochs over rows of SST-2's lengths (benchmarks/sst2.py).
The live teacher runs in our own trainer, in file order and in batches of like length. TextBrewer's
GeneralDistiller runs in an interpreter that has it, named by the environment variable TEXTBREWER:

  python -m venv OTHER && OTHER/bin/pip install textbrewer torch transformers
  TEXTBREWER=OTHER/bin/python python -m benchmarks --only distill
"""

import copy
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Figure, compared
from benchmarks.sst2 import classifier, encoded, encoder, in_turns, our_training, rows

NAME = "distill"
EPOCHS = 3
_BATCH = 32
# The live teacher takes minutes; more rounds would take hours for the same picture.
_ROUNDS = 5
_ATOL = 1e-4


def run(rounds: int, quick: bool) -> list[Figure]:
    """Distils the same student from the same teacher by all ways in turn."""
    teacher_size, count = ("4-128", 64) if quick else ("12-768", 192)
    texts, _ = rows(count)
    data = encoded(texts)
    teacher, student = classifier(teacher_size).eval(), classifier("2-128")
    file_order = np.tile(np.arange(count), EPOCHS)
    parts: dict[str, list[float]] = {"student": []}

    def stored() -> float:
        logits, seconds = labelled(teacher, texts)
        parts["student"].append(
            our_training(copy.deepcopy(student), data, {"teacher_logits": logits}, EPOCHS)
        )
        return seconds + parts["student"][-1]

    def live(order: Any) -> float:
        return our_training(copy.deepcopy(student), data, {}, EPOCHS, order, teacher=teacher)

    sides = {
        "ours": stored,
        "file order": lambda: live(file_order),
        "length-grouped": lambda: live(None),
    }
    same = {"live": _loss_against_live(teacher, student, data, texts)}
    with tempfile.TemporaryDirectory() as folder:
        if "TEXTBREWER" in os.environ:
            _write(Path(folder), teacher, student, data)
            sides["TextBrewer"] = lambda: float(textbrewer(Path(folder), "train"))
            same["TextBrewer"] = abs(
                float(textbrewer(Path(folder), "loss")) - _loss(student, data, labelled(teacher, texts)[0])
            )
        for name, difference in same.items():
            assert difference < _ATOL, f"losses of ours and of {name} differ by {difference}"
        # Warms up what both sides use; a whole live run would cost a minute for nothing.
        stored()
        parts["student"].clear()
        seconds = in_turns(sides, min(rounds, _ROUNDS))
    further = tuple(parts["student"])

    def figure(case: str, ours: str, values: tuple[float, ...], theirs: str, target: float | None) -> Figure:
        live_values = seconds[theirs]
        difference = same["TextBrewer" if theirs == "TextBrewer" else "live"]
        return Figure(
            benchmark=NAME,
            case=case,
            ours=ours,
            theirs=theirs if theirs == "TextBrewer" else f"live teacher, {theirs}",
            unit="s",
            ours_values=values,
            theirs_values=live_values,
            ratios=compared(values, live_values, "lower"),
            target=None if quick else target,
            better="lower",
            same=f"loss on one batch differs by {difference:.0e}",
            note=f"{teacher_size} to 2-128, {count} rows, {EPOCHS} epochs, batches of {_BATCH}",
        )

    first, another = "labelling and a student", "a further student"
    figures = [
        figure("file order", first, seconds["ours"], "file order", 5.0),
        figure("length-grouped", first, seconds["ours"], "length-grouped", 2.5),
        figure("further student", another, further, "file order", 20.0),
        figure("further student, length-grouped", another, further, "length-grouped", None),
    ]
    if "TextBrewer" in seconds:
        figures += [
            figure("TextBrewer", first, seconds["ours"], "TextBrewer", 5.0),
            figure("TextBrewer, further student", another, further, "TextBrewer", 20.0),
        ]
    return figures


def labelled(teacher: Any, texts: Any) -> tuple[Any, float]:
    """Returns the logits of our labelling pass, and its seconds; reading them back included."""
    from wellread_hf.labelling.classifier_labeller import ClassifierLabeller
    from wellread_hf.labelling.label_rows import label_rows
    from wellread_hf.labelling.soft_labels import SoftLabels
    from wellread_hf.settings import Label

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        label_rows(
            ClassifierLabeller(teacher, encoder(), [0, 1], Label()), texts, Label().shard_rows, Path(folder)
        )
        logits = SoftLabels.open(Path(folder)).logits
        return logits, time.perf_counter() - started


def _batch(data: Any, **targets: Any) -> Any:
    from wellread_hf.models.encode import PadCollator

    return PadCollator(data.pad_id)(
        [data.row(row) | {name: values[row] for name, values in targets.items()} for row in range(_BATCH)]
    )


def _loss(student: Any, data: Any, logits: Any, **more: Any) -> float:
    """Returns the loss of our trainer on the first rows, without dropout."""
    import torch
    from transformers import TrainingArguments

    from wellread_hf.training.distillation import DistillationTrainer

    silent = copy.deepcopy(student).train()
    for module in silent.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    with tempfile.TemporaryDirectory() as folder:
        trainer = DistillationTrainer(model=silent, args=TrainingArguments(folder, use_cpu=True), **more)
        batch = _batch(data) if logits is None else _batch(data, teacher_logits=logits)
        with torch.no_grad():
            return float(trainer.compute_loss(silent, batch))


def _loss_against_live(teacher: Any, student: Any, data: Any, texts: Any) -> float:
    return abs(
        _loss(student, data, labelled(teacher, texts)[0]) - _loss(student, data, None, teacher=teacher)
    )


def _write(folder: Path, teacher: Any, student: Any, data: Any) -> None:
    """Writes what another interpreter needs."""
    teacher.save_pretrained(folder / "teacher")
    student.save_pretrained(folder / "student")
    np.savez(folder / "rows.npz", ids=data.ids, offsets=data.offsets)


def textbrewer(folder: Path, what: str) -> str:
    """Runs benchmarks/textbrewer_side.py in the interpreter TEXTBREWER; returns what it prints last."""
    done = subprocess.run(
        [os.environ["TEXTBREWER"], Path(__file__).with_name("textbrewer_side.py"), folder, what],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"TextBrewer ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.split()[-1]
