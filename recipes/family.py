"""The family in one command, from text to the Hub: any of the 24 students, or all.

Packs the text once, pre-trains each student (from random weights, grown from a smaller one with --grow, or
takes over its release), learns GLUE's tasks by PF, and by PD where teachers are named, over seeds; then
cards, and the push with a collection. Writes the ordinary stages and runs/family-...: table.md. What is
finished is skipped: killed anywhere, the same command goes on.

  wellread family --preset toy
  wellread family --corpus my.txt --students h=128 mini --tokens 100000000 --dry-run
  wellread family --corpus wikimedia/wikipedia,config=20231101.en --students all --adopt 12-768 \\
      --teachers MY-NAME/bert-large-{task} --engine ray --address auto --publish MY-NAME
"""

from wellread_hf.cli.recipe import Recipe
from wellread_hf.experiments.family import plan, preview, ready, show
from wellread_hf.experiments.family_settings import SMOKE, TOY
from wellread_hf.experiments.family_settings import FamilySettings as Settings

RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show,
    presets={"smoke": SMOKE, "toy": TOY},
    first="students corpus tokens hours grow adopt weights tasks seeds teachers publish engine runs",
    preview=preview,
    ready=ready,
)

if __name__ == "__main__":
    RECIPE.run()
