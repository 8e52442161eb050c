"""The paper's findings put to the test: studies of many runs, every arm under one budget over several seeds.

Each finding of the paper is confirmed, not confirmed or not decidable, by a paired test over students and
seeds. Reads nothing on the toy world, else a task, a teacher, text and students; writes, beside the ordinary
stages, runs/study-...: table.md, chart.png, results.json. What is done is skipped; end it and go on at will.

  python recipes/study.py --dry-run
  python recipes/study.py methods depth-width --engine ray
  python recipes/study.py methods transfer-size --scale text --task.name sst2 --seeds 0 1 2 \\
      --teacher MY-SST2-TEACHER --weights google/bert_uncased_L-{layers}_H-{hidden}_A-{heads} \\
      --transfer task MY-REVIEWS,column=text --budget.labelled-rows 60000 --budget.labels-seen 180000 \\
      --budget.transfer-rows 140000 --budget.soft-labels-seen 420000
"""

import sys

from wellread_hf.cli.recipe import run_recipe
from wellread_hf.experiments.study.studies import plan, preview, ready, show
from wellread_hf.experiments.study.study_settings import ON_TOY, real_text, smoke_study
from wellread_hf.experiments.study.study_settings import StudySettings as Settings

if __name__ == "__main__":
    default = Settings(scale="text") if real_text(sys.argv) else ON_TOY
    run_recipe(Settings, plan, smoke_study, show, __doc__, default=default, preview=preview, ready=ready)
