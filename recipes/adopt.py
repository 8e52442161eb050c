"""Take over released BERTs, Google's 24 above all, instead of pre-training: whole, checked, safetensors.

Reads Hub repositories or folders; writes runs/adopt-..., ordinary BertForPreTraining folders (pooler and
next-sentence head included, so that fine-tuning starts from the pooler of the release) that give their
source's logits, and record which source and revision that was.

  wellread adopt --weights google/bert_uncased_L-4_H-256_A-4
  wellread adopt --all --pickle
"""

from dataclasses import field

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.errors import SettingsError
from wellread_hf.settings import Running
from wellread_hf.settings.fields import checked
from wellread_hf.store.stage import Stage
from wellread_hf.students import STUDENTS


@checked()
class Settings:
    sources: tuple[str, ...] = ()
    """Each a Hub id (`NAME@REVISION`) or folder of a BERT with its masked-LM head."""
    all: bool = False
    """Take over Google's release of all 24 students instead."""
    tokenizer: str | None = None
    """Hub id (`NAME@REVISION`) or folder of the tokenizer; default: the one that lies with each source."""
    pickle: bool = False
    """Read weights from pytorch_model.bin where a source has no safetensors; only tensors, no code."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    if bool(s.sources) == s.all:
        raise SettingsError("expected `sources` with at least one name, or `all`, got both or neither")
    sources = [student.release for student in STUDENTS] if s.all else s.sources
    return [stages.adopt(source, s.tokenizer, s.pickle, s.running) for source in sources]


SMOKE = Settings(sources=("toy:release@smoke",))


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE},
    first="weights all tokenizer pickle runs",
)

if __name__ == "__main__":
    RECIPE.run()
