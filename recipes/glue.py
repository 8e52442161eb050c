"""A student on GLUE's tasks, several seeds each: dev scores, and predictions of dev and test in files.

PF fine-tunes a pre-trained student on each task's labels, PD distils a teacher of each task into it. Reads
GLUE, text or --weights, for PD the teachers; writes runs/finetune-... or runs/distill-..., runs/predict-...
with predictions-*.tsv, and runs/glue-...: table.md, results.json. `wellread submission` makes the zip of it.

  wellread glue --student 4-256 --method pf --tasks sst2,mrpc --seeds 3
  wellread glue --method pd --tasks all --weights google/bert_uncased_L-4_H-256_A-4 \\
      --student 4-256 --teachers MY-NAME/bert-large-{task} --from-mnli
"""

from dataclasses import field, replace
from typing import Annotated, Literal

from tyro.conf import arg

from wellread_hf.cli.recipe import Recipe
from wellread_hf.experiments.glue_runs import SMOKE_GLUE, GlueRuns, GlueSettings
from wellread_hf.results.scoreboard import show_scoreboard
from wellread_hf.settings import Running
from wellread_hf.settings.fields import Several, StudentName, checked
from wellread_hf.store.stage import Stage
from wellread_hf.tasks import parse_glue_tasks


@checked()
class Settings:
    student: StudentName = "2-128"
    """Which of the 24 students."""
    method: Literal["pf", "pd"] = "pf"
    """`pf` fine-tunes on labels, `pd` distils from `teachers`."""
    tasks: str = "all"
    """GLUE's tasks joined by commas, e.g. `sst2,mrpc`, or `all`."""
    seeds: Several = 3
    """Number of runs of every task: seeds 0, 1, ..."""
    glue: Annotated[GlueSettings, arg(name="")] = field(default_factory=GlueSettings)
    """What the runs have in common."""
    running: Running = field(default_factory=Running)
    """How the runs are carried out."""


def plan(settings: Settings) -> list[Stage]:
    s = settings
    return [GlueRuns(s.glue, s.running).board(s.student, s.method, parse_glue_tasks(s.tasks), s.seeds)]


SMOKE = Settings(tasks="sst2,mnli,stsb", seeds=2, glue=replace(SMOKE_GLUE, from_mnli=True))


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_scoreboard,
    presets={"smoke": SMOKE},
    first="student method tasks seeds weights teachers data from-mnli epochs learning-rate batch-size runs",
)

if __name__ == "__main__":
    RECIPE.run()
