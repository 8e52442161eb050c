"""Cut a model's vocabulary to the pieces that your text uses: fewer parameters, the same answers there.

Reads a classifier or a masked LM and text; writes runs/prune-..., an ordinary folder of the same class.

  wellread prune runs/distill-... --task sst2
  wellread prune runs/distill-... --text my-texts.txt --vocabulary 8000
"""

from dataclasses import field

from tyro.conf import Positional

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_result
from wellread_hf.errors import SettingsError
from wellread_hf.settings import Running, Task
from wellread_hf.settings.fields import Vocabulary, checked
from wellread_hf.stages.presets import SMOKE_TASK, SMOKE_TEACHER
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    model: Positional[str | None] = None
    """The model: a folder or a Hub id (`NAME@REVISION`)."""
    text: tuple[str, ...] = ("task",)
    """Text that it has to read: `task` (the task's training text) and sources as in a corpus."""
    vocabulary: Vocabulary | None = None
    """Pieces to keep; default: all that the text uses, special tokens and single characters."""
    task: Task = field(default_factory=Task)
    """The task that `task` in `text` stands for."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    if s.model is None:
        raise SettingsError("expected a `model` to prune, got none; give a folder or a Hub id")
    return [stages.prune(s.model, s.task, s.text, s.vocabulary, s.running)]


SMOKE = Settings(model=SMOKE_TEACHER, task=SMOKE_TASK)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_result,
    presets={"smoke": SMOKE},
    first="text vocabulary task task.data task.columns runs",
)

if __name__ == "__main__":
    RECIPE.run()
