"""Fine-tune a large encoder on a task's labels: the teacher.

Reads an encoder and a task; writes runs/finetune-..., an ordinary sequence classifier folder.

  wellread teacher --task sst2
  accelerate launch recipes/teacher.py --task mnli --weights google-bert/bert-large-uncased
"""

from dataclasses import field, replace
from typing import Annotated

from tyro.conf import arg

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.settings import Lora, Optim, Running, Start, Task, Tuning
from wellread_hf.settings.fields import checked
from wellread_hf.stages.presets import SMOKE_ENCODER, SMOKE_TASK, SMOKE_TUNING, TAGS_TASK
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    # The paper's teacher is BERT-Large; fine-tuning settings are BERT's own.
    start: Start = field(default_factory=lambda: Start(weights="google-bert/bert-large-uncased"))
    """The encoder to fine-tune."""
    task: Task = field(default_factory=Task)
    """What to learn; the name `toy` stands for the embedded toy task."""
    tuning: Annotated[Tuning, arg(name="")] = field(
        default_factory=lambda: Tuning(epochs=3, optim=Optim(learning_rate=3e-5))
    )
    """How long and how fast."""
    lora: Annotated[Lora, arg(name="")] = field(default_factory=Lora)
    """LoRA, in place of training all weights."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    return [stages.finetune(s.start, s.task, s.tuning, s.running, s.lora)]


SMOKE = Settings(start=Start(weights=SMOKE_ENCODER), task=SMOKE_TASK, tuning=SMOKE_TUNING)
SMOKE_TAGS = replace(SMOKE, task=TAGS_TASK)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE, "smoke-tags": SMOKE_TAGS},
    first="task task.data weights epochs learning-rate batch-size max-length lora-rank seed runs",
)

if __name__ == "__main__":
    RECIPE.run()
