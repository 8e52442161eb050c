"""Let a teacher, or several, label a transfer set, once for all students; or import soft labels.

Reads unlabelled text and fine-tuned classifiers, or a language model and a prompt; or a table of soft labels.
Writes runs/label-..., shards of logits, of several teachers also those of their mean.

  wellread label --teacher runs/finetune-bert-large-uncased-sst2-seed0-... --task sst2
  accelerate launch recipes/label.py --teacher MY-ID --task sst2 \\
      --transfer task more.jsonl,column=text
  wellread label --teacher ONE ANOTHER --teacher-weights 0.7 0.3 --task sst2
  wellread label --teacher SOME/causal-lm --prompt prompt.jinja --label-words bad good --task sst2
  wellread label --endpoint http://localhost:8000/v1 --endpoint.model NAME --prompt prompt.jinja \\
      --label-words bad good --task sst2
  wellread label --from probabilities.csv,column=sentence --task sst2
"""

from dataclasses import field, replace
from typing import Annotated

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.settings import Endpoint, Imported, Label, Prompt, Running, Task, Transfer
from wellread_hf.settings.fields import FEW, Weight, checked, one_origin
from wellread_hf.stages.presets import (
    SMOKE_TASK,
    SMOKE_TEACHER,
    SMOKE_TRANSFER,
    TAGS_TASK,
    TAGS_TEACHER,
    TAGS_TRANSFER,
)
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    teacher: tuple[str, ...] | None = None
    """The classifier, or with `prompt` a causal language model: Hub id (`NAME@REVISION`) or folder. Of
    several classifiers the mean of their probabilities is taken."""
    teacher_weights: Annotated[tuple[Weight, ...], FEW] = ()
    """Weights of several teachers in that mean, e.g. `0.7 0.3`; default: all alike."""
    prompt: Prompt = field(default_factory=Prompt)
    """What a language model is asked, where the teacher is one or lies behind an endpoint."""
    imported: Imported = field(default_factory=Imported)
    """Soft labels that are there already, instead of a teacher."""
    endpoint: Endpoint = field(default_factory=Endpoint)
    """A server of a language model that is asked by `prompt`, instead of a teacher."""
    task: Task = field(default_factory=Task)
    """The teacher's task: its text columns and class names."""
    transfer: Transfer = field(default_factory=Transfer)
    """The text to label."""
    label: Label = field(default_factory=Label)
    """How to label it."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


# What of a prompt a server can follow.
ASKED = ("template", "label_words", "shots", "seed", "calibrate")
# Where soft labels may come from, and which of these settings have an effect with it.
ORIGINS = {
    "teacher": ("teacher_weights", "label", "prompt"),
    "imported.source": ("imported", "label.teacher_labels", "label.shard_rows"),
    "endpoint.url": ("endpoint", *(f"prompt.{name}" for name in ASKED), "label.shard_rows"),
}


def plan(settings: Settings) -> list[Stage]:
    s = settings
    match one_origin(s, ORIGINS):
        case "imported.source":
            return [stages.import_labels(s.imported, s.task, s.transfer, s.label, s.running)]
        case "endpoint.url":
            return [stages.ask_endpoint(s.endpoint, s.prompt, s.task, s.transfer, s.label, s.running)]
    if s.prompt.template is not None:
        model = stages.one_teacher(s.teacher, s.teacher_weights)
        return [stages.label_by_prompt(model, s.prompt, s.task, s.transfer, s.label, s.running)]
    teachers = [stages.named_teacher(name) for name in s.teacher or (None,)]
    return [stages.label_by_all(teachers, s.teacher_weights, s.task, s.transfer, s.label, s.running)]


SMOKE = Settings(
    teacher=(SMOKE_TEACHER,),
    task=SMOKE_TASK,
    transfer=Transfer(sources=("task", *SMOKE_TRANSFER.sources)),
)
SMOKE_TAGS = replace(SMOKE, teacher=(TAGS_TEACHER,), task=TAGS_TASK, transfer=TAGS_TRANSFER)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE, "smoke-tags": SMOKE_TAGS},
    first="teacher prompt label-words prompt.shots endpoint endpoint.model from imported.kind task task.data "
    "task.columns transfer transfer.rows max-length label.batch-tokens runs",
)

if __name__ == "__main__":
    RECIPE.run()
