"""A grid of runs over students, GLUE's tasks, methods, learning rates, batch sizes and seeds.

The point with the best mean over its seeds on dev is chosen, its dev and test rows are predicted. Reads what
recipes/glue.py reads; writes runs/sweep-...: trials.json, the plan, and table.md, the best points; then
runs/glue-..., one a student and method. It can be stopped at any time and resumes.

  wellread sweep --students 2-128 4-256 --tasks sst2,cola --seeds 3 --dry-run
  wellread sweep --tasks all --weights google/bert_uncased_L-{layers}_H-{hidden}_A-{heads} \\
      --students 2-128 4-512 --engine ray --address auto --asha
"""

from wellread_hf.cli.recipe import Recipe
from wellread_hf.experiments.sweep import plan, preview, ready, show
from wellread_hf.experiments.sweep_settings import SMOKE
from wellread_hf.experiments.sweep_settings import SweepSettings as Settings

RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show,
    presets={"smoke": SMOKE},
    first="students tasks methods learning-rates batch-sizes seeds weights teachers engine asha runs",
    preview=preview,
    ready=ready,
)

if __name__ == "__main__":
    RECIPE.run()
