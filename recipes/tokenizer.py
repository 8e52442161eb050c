"""Train a lower-case WordPiece tokenizer on a corpus.

Reads text; writes runs/tokenizer-..., for --corpus.tokenizer of the other recipes.

  python recipes/tokenizer.py --corpus.sources my.txt --vocabulary 8000
"""

from dataclasses import field, replace

from wellread_hf import stages
from wellread_hf.cli.recipe import run_recipe
from wellread_hf.results.summary import show_result
from wellread_hf.settings import Corpus, Running
from wellread_hf.settings.fields import Vocabulary, checked
from wellread_hf.stages.presets import SMOKE_CORPUS
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    vocabulary: Vocabulary = 8_000
    """Words to learn, special tokens included."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to learn from; its tokenizer is not used."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    return [stages.train_tokenizer(settings.corpus, settings.vocabulary, settings.running)]


def smoke(settings: Settings) -> Settings:
    return replace(settings, vocabulary=200, corpus=SMOKE_CORPUS)


if __name__ == "__main__":
    run_recipe(Settings, plan, smoke, show_result, __doc__)
