"""Distil a teacher's soft labels into a student: PD from a pre-trained one, Distillation from random weights.

Reads a student, a teacher and a transfer set; labels it unless that is done (`wellread label`); writes
runs/distill-..., an ordinary sequence classifier folder.

  wellread distill --teacher MY-TEACHER --task sst2 --weights google/bert_uncased_L-4_H-256_A-4
  wellread distill --teacher MY-TEACHER --task sst2 --weights None --student 4-256 \\
      --tokenizer google-bert/bert-base-uncased
  wellread distill --teacher MY-12-LAYER-TEACHER --task sst2 --label.states 3 6 9 \\
      --weights google/bert_uncased_L-4_H-256_A-4 --objective.method patient --objective.projection
"""

from dataclasses import field, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.settings import Label, Lora, Objective, Optim, Running, Start, Task, Transfer, Tuning
from wellread_hf.settings.fields import checked
from wellread_hf.stages.presets import (
    SMOKE_ENCODER,
    SMOKE_TASK,
    SMOKE_TEACHER,
    SMOKE_TRANSFER,
    SMOKE_TUNING,
    TAGS_TASK,
    TAGS_TEACHER,
    TAGS_TRANSFER,
)
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    teacher: str | None = None
    """The classifier: Hub id (`NAME@REVISION`) or folder; or a folder of soft labels."""
    labels: Path | None = None
    """Soft labels that are there, instead of a teacher: folder of `wellread label` or `wellread pull`."""
    start: Start = field(default_factory=lambda: Start(weights="google/bert_uncased_L-2_H-128_A-2"))
    """The student."""
    task: Task = field(default_factory=Task)
    """The task: its class names, and the rows to evaluate on."""
    transfer: Transfer = field(default_factory=Transfer)
    """The text that the teacher labels."""
    label: Label = field(default_factory=Label)
    """How it is labelled."""
    objective: Objective = field(default_factory=Objective)
    """What is minimised; default: the paper's soft cross-entropy."""
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=6, optim=Optim(learning_rate=5e-4)))
    """How long and how fast."""
    lora: Annotated[Lora, arg(name="")] = field(default_factory=Lora)
    """LoRA, in place of training all weights."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    if s.labels is not None:
        labels = stages.stored_labels(s.labels)
    else:
        teacher = stages.named_teacher(s.teacher)
        labels = stages.soft_labels(teacher, s.task, s.transfer, s.label, s.running)
    return [stages.distill(s.start, s.task, labels, s.transfer, s.objective, s.tuning, s.running, s.lora)]


SMOKE = Settings(
    teacher=SMOKE_TEACHER,
    start=Start(weights=SMOKE_ENCODER),
    task=SMOKE_TASK,
    transfer=SMOKE_TRANSFER,
    tuning=SMOKE_TUNING,
)
SMOKE_TAGS = replace(SMOKE, teacher=TAGS_TEACHER, task=TAGS_TASK, transfer=TAGS_TRANSFER)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE, "smoke-tags": SMOKE_TAGS},
    first="teacher labels task weights student transfer epochs learning-rate batch-size max-length seed runs",
)

if __name__ == "__main__":
    RECIPE.run()
