"""Export a finished model as ONNX: fp32, and int8 where it is as good, agrees and is not slower here.

Reads a model and a task, whose validation rows compare the graphs with the model; writes runs/export-..., a
folder that answers without torch: config.json, the tokenizer, onnx/.

  wellread export runs/distill-bert-2-128-sst2-seed0-... --task sst2
  wellread export MY-ID --task mine.yaml --tolerance 1
"""

from dataclasses import field
from typing import Annotated

from tyro.conf import Positional, arg

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_export
from wellread_hf.errors import SettingsError
from wellread_hf.settings import Export, Running, Task
from wellread_hf.settings.fields import checked
from wellread_hf.stages.presets import SMOKE_TEACHER, TOY_TASK
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    model: Positional[str | None] = None
    """A classifier, a masked LM or an encoder: Hub id (`NAME@REVISION`) or folder."""
    task: Task = field(default_factory=Task)
    """Its validation rows compare the graphs with the model; of a classifier it is the classifier's task."""
    export: Annotated[Export, arg(name="")] = field(default_factory=Export)
    """How it is exported, and what int8 may lose."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    if s.model is None:
        raise SettingsError("expected a `model` to export, got none; give a folder or a Hub id")
    return [stages.export(s.model, s.task, s.export, s.running)]


# The whole toy task: the tiny one has too few rows to compare graphs on.
SMOKE = Settings(model=SMOKE_TEACHER, task=TOY_TASK)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_export,
    presets={"smoke": SMOKE},
    first="task task.data tolerance agreement max-length kind runs",
)

if __name__ == "__main__":
    RECIPE.run()
