"""The paper's findings put to the test: studies of many runs, every arm under one budget over several seeds.

Each finding of the paper is confirmed, not confirmed or not decidable, by a paired test over students and
seeds. Reads a task, a teacher, text and students, or the toy world; writes, beside the ordinary
stages, runs/study-...: table.md, chart.png, results.json. Finished stages are skipped; it can be stopped
at any time.

  wellread study --preset toy --dry-run
  wellread study methods depth-width --preset toy --engine ray
  wellread study methods transfer-size --task sst2 --seeds 0 1 2 \\
      --teacher MY-SST2-TEACHER --weights google/bert_uncased_L-{layers}_H-{hidden}_A-{heads} \\
      --transfer task MY-REVIEWS,column=text --budget.labelled-rows 60000 --budget.labels-seen 180000 \\
      --budget.transfer-rows 140000 --budget.soft-labels-seen 420000
"""

from wellread_hf.cli.recipe import Recipe
from wellread_hf.experiments.study.studies import plan, preview, ready, show
from wellread_hf.experiments.study.study_settings import ON_TOY, SMOKE
from wellread_hf.experiments.study.study_settings import StudySettings as Settings

RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show,
    presets={"smoke": SMOKE, "toy": ON_TOY},
    first="scale students seeds task teacher weights transfer engine runs",
    preview=preview,
    ready=ready,
)

if __name__ == "__main__":
    RECIPE.run()
