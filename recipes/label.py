"""Let a teacher, or several, label a transfer set, once for all students.

Reads fine-tuned classifiers and unlabelled text; writes runs/label-..., shards of logits, of several teachers
also those of their mean.

  python recipes/label.py --teacher runs/finetune-bert-large-uncased-sst2-seed0-... --task.name sst2
  accelerate launch recipes/label.py --teacher MY-ID --task.name sst2 \\
      --transfer.sources task more.jsonl,column=text
  python recipes/label.py --teacher ONE ANOTHER --teacher-weights 0.7 0.3 --task.name sst2
"""

from dataclasses import field, replace
from typing import Annotated

from wellread_hf import stages
from wellread_hf.cli.recipe import run_recipe
from wellread_hf.data.toy.world import ToyWorldSettings
from wellread_hf.results.summary import show_result
from wellread_hf.settings import Label, Running, Task, Transfer
from wellread_hf.settings.fields import FEW, Weight, checked
from wellread_hf.stages.toy import SMOKE, Toy, smoke_label, smoke_teacher
from wellread_hf.store.graph import Stage


@checked()
class Settings:
    teacher: tuple[str, ...] | None = None
    """The classifier: Hub id (`NAME@REVISION`) or folder; `toy` trains a tiny one on the toy task. Of several
    the mean of their probabilities is taken."""
    teacher_weights: Annotated[tuple[Weight, ...], FEW] = ()
    """Weights of several teachers in that mean, e.g. `0.7 0.3`; default: all alike."""
    task: Task = field(default_factory=Task)
    """The teacher's task: its text columns and class names."""
    transfer: Transfer = field(default_factory=Transfer)
    """The text to label."""
    label: Label = field(default_factory=Label)
    """How to label it."""
    toy: ToyWorldSettings = field(default_factory=ToyWorldSettings)
    """Sizes of the embedded toy world, where it is used."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    toy = Toy(settings.toy, settings.running)
    task, transfer = toy.task(settings.task), toy.transfer(settings.transfer)
    teachers = [smoke_teacher(name, toy, settings.running) for name in settings.teacher or (None,)]
    weights, running = settings.teacher_weights, settings.running
    return [stages.label_by_all(teachers, weights, task, transfer, settings.label, running)]


def smoke(settings: Settings) -> Settings:
    transfer = Transfer(sources=("task", "toy"))
    teachers = ("toy",) * max(1, len(settings.teacher_weights))
    label = smoke_label(settings.label)
    return replace(
        settings, teacher=teachers, task=Task(name="toy"), transfer=transfer, label=label, toy=SMOKE
    )


if __name__ == "__main__":
    run_recipe(Settings, plan, smoke, show_result, __doc__)
