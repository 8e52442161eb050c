"""PF: pre-train a student by masked LM, then fine-tune it on a task's labels.

Reads text, a tokenizer and a task; writes runs/pretrain-... (or takes --weights) and runs/finetune-....

  wellread pf --student 4-256 --minutes 60 --task sst2
  wellread pf --weights google/bert_uncased_L-4_H-256_A-4 --task mrpc
"""

from dataclasses import field, replace
from typing import Annotated

from tyro.conf import arg

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.experiments.planner import refuse_pretraining
from wellread_hf.settings import Corpus, Lora, Optim, Pretrain, Running, Start, Task, Tuning
from wellread_hf.settings.fields import checked
from wellread_hf.stages.presets import (
    SMOKE_CORPUS,
    SMOKE_ENCODER,
    SMOKE_PRETRAIN,
    SMOKE_TASK,
    SMOKE_TUNING,
    TAGS_TASK,
)
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    weights: str | None = None
    """A pre-trained student to fine-tune instead: Hub id (`NAME@REVISION`) or folder."""
    pretrain: Pretrain = field(default_factory=Pretrain)
    """Pre-training of the student, unless `weights` is given."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to pre-train on."""
    task: Task = field(default_factory=Task)
    """What to learn; the name `toy` stands for the embedded toy task."""
    # The best of the release's grid (3e-4 to 3e-5) for the smallest students is at its upper end.
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=4, optim=Optim(learning_rate=3e-4)))
    """Fine-tuning."""
    lora: Annotated[Lora, arg(name="")] = field(default_factory=Lora)
    """LoRA, in place of training all weights."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    refuse_pretraining(s.pretrain, s.weights)
    if s.weights is None:
        start: Start | Stage = stages.pretrain(s.pretrain, s.corpus, s.running, tasks=(s.task,))
    else:
        start = Start(weights=s.weights)
    return [stages.finetune(start, s.task, s.tuning, s.running, s.lora)]


SMOKE = Settings(
    pretrain=SMOKE_PRETRAIN,
    corpus=SMOKE_CORPUS,
    task=SMOKE_TASK,
    tuning=SMOKE_TUNING,
)
SMOKE_TAGS = replace(SMOKE, weights=SMOKE_ENCODER, task=TAGS_TASK)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE, "smoke-tags": SMOKE_TAGS},
    first="task weights student corpus minutes epochs learning-rate batch-size max-length seed runs",
)

if __name__ == "__main__":
    RECIPE.run()
