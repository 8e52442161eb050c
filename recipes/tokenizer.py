"""Train a lower-case WordPiece tokenizer on a corpus.

Reads text; writes runs/tokenizer-..., for --corpus.tokenizer of the other recipes.

  python recipes/tokenizer.py --corpus.sources my.txt --vocabulary 8000
"""

from dataclasses import field, replace

from wellread_hf import stages
from wellread_hf.cli.recipe import run_recipe
from wellread_hf.data.toy.world import ToyWorldSettings
from wellread_hf.results.summary import show_result
from wellread_hf.settings import Corpus, Running
from wellread_hf.settings.fields import Vocabulary, checked
from wellread_hf.stages.toy import SMOKE, Toy
from wellread_hf.store.graph import Stage


@checked()
class Settings:
    vocabulary: Vocabulary = 8_000
    """Words to learn, special tokens included."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to learn from; its tokenizer is not used."""
    toy: ToyWorldSettings = field(default_factory=ToyWorldSettings)
    """Sizes of the embedded toy world, where it is used."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    toy = Toy(settings.toy, settings.running)
    corpus = toy.corpus(settings.corpus)
    return [stages.train_tokenizer(corpus, settings.vocabulary, settings.running, toy.after)]


def smoke(settings: Settings) -> Settings:
    corpus = Corpus(sources=("toy",), tokenizer="toy")
    return replace(settings, vocabulary=200, corpus=corpus, toy=SMOKE)


if __name__ == "__main__":
    run_recipe(Settings, plan, smoke, show_result, __doc__)
