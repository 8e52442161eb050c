"""Fine-tune a large encoder on a task's labels: the teacher.

Reads an encoder and a task; writes runs/finetune-..., an ordinary sequence classifier folder.

  python recipes/teacher.py --task.name sst2
  accelerate launch recipes/teacher.py --task.name mnli --start.weights google-bert/bert-large-uncased
"""

from dataclasses import field, replace
from typing import Annotated

from tyro.conf import arg

from wellread_hf import stages
from wellread_hf.cli.recipe import run_recipe
from wellread_hf.data.toy.world import ToyWorldSettings
from wellread_hf.results.summary import show_result
from wellread_hf.settings import Lora, Optim, Running, Start, Task, Tuning
from wellread_hf.settings.fields import checked
from wellread_hf.stages.toy import SMOKE, SMOKE_TUNING, Toy, smoke_encoder, smoke_start
from wellread_hf.store.graph import Stage


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
    toy: ToyWorldSettings = field(default_factory=ToyWorldSettings)
    """Sizes of the embedded toy world, where it is used."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    toy = Toy(settings.toy, settings.running)
    start, encoder = smoke_encoder(settings.start, toy, settings.running)
    task = toy.task(settings.task)
    after = [*toy.after, *encoder]
    return [stages.finetune(start, task, settings.tuning, settings.running, after, settings.lora)]


def smoke(settings: Settings) -> Settings:
    start = smoke_start(settings.lora)
    return replace(settings, start=start, task=Task(name="toy"), tuning=SMOKE_TUNING, toy=SMOKE)


if __name__ == "__main__":
    run_recipe(Settings, plan, smoke, show_result, __doc__)
