"""Let a teacher label a transfer set, once for all students.

Reads a fine-tuned classifier and unlabelled text; writes runs/label-..., shards of logits.

  python recipes/label.py --teacher runs/finetune-bert-large-uncased-sst2-seed0-... --task.name sst2
  accelerate launch recipes/label.py --teacher MY-ID --task.name sst2 \\
      --transfer.sources task more.jsonl,column=text
"""

from dataclasses import dataclass, field, replace

from wellread_hf import stages
from wellread_hf.cli import run_recipe
from wellread_hf.data.toyworld import ToyWorldSettings
from wellread_hf.graph import Stage
from wellread_hf.settings import Label, Running, Task, Transfer
from wellread_hf.toy import SMOKE, Toy, smoke_teacher


@dataclass(frozen=True, kw_only=True)
class Settings:
    teacher: str | None = None
    """The classifier: Hub id (`NAME@REVISION`) or folder; `toy` trains a tiny one on the toy task."""
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
    teacher, after = smoke_teacher(settings.teacher, toy, settings.running)
    return [stages.label(teacher, task, transfer, settings.label, settings.running, after)]


def smoke(settings: Settings) -> Settings:
    transfer = Transfer(sources=("task", "toy"))
    return replace(settings, teacher="toy", task=Task(name="toy"), transfer=transfer, toy=SMOKE)


if __name__ == "__main__":
    run_recipe(Settings, plan, smoke, description=__doc__)
