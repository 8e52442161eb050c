"""Score finished classifiers on a task's validation rows, and store what they said of each row.

Reads models and a task; writes runs/evaluate-...: scores, calibration, predictions.parquet. `wellread pick`
and `wellread report` read them.

  wellread eval runs/distill-... MY-TEACHER --task sst2
"""

from dataclasses import field, replace

from tyro.conf import Positional

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.cli.summary import show_evaluations
from wellread_hf.errors import SettingsError
from wellread_hf.settings import Running, Task
from wellread_hf.settings.fields import Length, checked
from wellread_hf.stages.presets import SMOKE_TASK, SMOKE_TEACHER, TAGS_TASK, TAGS_TEACHER
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    models: Positional[tuple[str, ...]] = ()
    """The classifiers: folders or Hub ids (`NAME@REVISION`)."""
    task: Task = field(default_factory=Task)
    """The task that they were trained for."""
    # As many as each was saved for.
    max_length: Length | None = None
    """Tokens a row; default: what each model was saved with."""
    running: Running = field(default_factory=Running)
    """How the run is carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    if not s.models:
        raise SettingsError("`models`: expected classifiers, folders or Hub ids, got none; name one or more")
    return [stages.evaluate(model, s.task, s.max_length, s.running) for model in s.models]


SMOKE = Settings(models=(SMOKE_TEACHER,), task=SMOKE_TASK)
SMOKE_TAGS = replace(SMOKE, models=(TAGS_TEACHER,), task=TAGS_TASK)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_evaluations,
    presets={"smoke": SMOKE, "smoke-tags": SMOKE_TAGS},
    first="task task.data task.columns max-length runs",
)

if __name__ == "__main__":
    RECIPE.run()
