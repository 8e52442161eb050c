"""Take a student's first weights from another BERT: some layers, its word embeddings, or all, grown.

Reads a pre-trained BERT or a fine-tuned classifier; writes runs/init-..., an ordinary BertForMaskedLM folder
for --weights of the other recipes (truncated and then fine-tuned it is the paper's TF).

  wellread init --weights google/bert_uncased_L-12_H-256_A-4 --student 4-256
  wellread init --weights google-bert/bert-base-uncased --layers 1 3 5 8 10 12
  wellread init --weights google/bert_uncased_L-4_H-256_A-4 --student 4-256 --keep embeddings
  wellread init --weights google/bert_uncased_L-2_H-128_A-2 --student 4-256 --keep grow
"""

from dataclasses import field
from typing import Annotated

from tyro.conf import arg

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.settings import Init, Running
from wellread_hf.settings.fields import checked
from wellread_hf.stages.presets import SMOKE_ENCODER
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    init: Annotated[Init, arg(name="")] = field(default_factory=Init)
    """What to take, and from where."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    return [stages.initialise(settings.init, settings.running)]


SMOKE = Settings(init=Init(source=SMOKE_ENCODER))


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE},
    first="weights student keep layers tokenizer runs",
)

if __name__ == "__main__":
    RECIPE.run()
