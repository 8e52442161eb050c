"""Pre-train a student by masked LM on plain text.

Reads text and a tokenizer; writes runs/pack-... and runs/pretrain-..., an ordinary BertForMaskedLM folder.

  wellread pretrain --corpus my.txt --student 4-256 --minutes 30
  wellread pretrain --corpus my.txt --student 4-256 --grow runs/pretrain-bert-2-128-... --minutes 30
  accelerate launch recipes/pretrain.py --student 4-256 --block-lengths 128 512 --phase-shares 0.9 0.1
"""

from dataclasses import field
from typing import Annotated

from tyro.conf import arg

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.settings import Corpus, Pretrain, Running
from wellread_hf.settings.fields import checked
from wellread_hf.stages.presets import SMOKE_CORPUS, SMOKE_PRETRAIN
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    pretrain: Annotated[Pretrain, arg(name="")] = field(default_factory=Pretrain)
    """What to train, and for how long."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to train on."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    return [stages.pretrain(settings.pretrain, settings.corpus, settings.running)]


SMOKE = Settings(pretrain=SMOKE_PRETRAIN, corpus=SMOKE_CORPUS)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE},
    first="student grow weights corpus tokenizer language minutes epochs block-lengths learning-rate "
    "batch-size seed runs",
)

if __name__ == "__main__":
    RECIPE.run()
