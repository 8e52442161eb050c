"""Train a WordPiece tokenizer on a corpus.

Reads text; writes runs/tokenizer-..., for --tokenizer of the other recipes.

  wellread tokenizer --corpus my.txt --vocabulary 8000
  wellread tokenizer --corpus german.txt --language de --case cased --vocabulary 16000
"""

from dataclasses import field

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.settings import Case, Corpus, Running
from wellread_hf.settings.fields import Vocabulary, checked
from wellread_hf.stages.presets import SMOKE_CORPUS
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    vocabulary: Vocabulary = 8_000
    """Words to learn, special tokens included."""
    case: Case = "lower"
    """What it keeps of letters: `lower` (neither case nor accents, as the release's), `lower-accents`
    (accents and vowel signs, which many languages need), or `cased` (both)."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to learn from; its tokenizer is not used."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    return [stages.train_tokenizer(settings.corpus, settings.vocabulary, settings.running, settings.case)]


SMOKE = Settings(vocabulary=200, corpus=SMOKE_CORPUS)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE},
    first="corpus vocabulary case language runs",
)

if __name__ == "__main__":
    RECIPE.run()
