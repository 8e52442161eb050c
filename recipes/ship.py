"""A budget, a teacher and text in; the best student that keeps to the budget out, exported, with a report.

  budget (which sizes fit on this machine) -> soft labels, once -> PD of the largest that fit, over seeds ->
  evaluate -> export behind a gate, measure -> pick -> report, card, static Space -> push, if asked for

Reads a task, text and a teacher; writes the ordinary stages and runs/ship-...: report.html, space/. What is
finished is skipped: killed anywhere, the same command goes on. Status 3: nothing fits.

  wellread ship --preset toy
  wellread ship --teacher MY-TEACHER --task mine.yaml --pool my.txt --max-ms 2 --dry-run
  wellread ship --teacher MY-TEACHER --task sst2 --pool task my.txt --max-ms 2 --max-mb 20 --publish MY-NAME
"""

from wellread_hf.cli.recipe import Recipe
from wellread_hf.experiments.ship_settings import SMOKE, TOY
from wellread_hf.experiments.ship_settings import ShipSettings as Settings
from wellread_hf.experiments.shipping import plan, preview, ready, show

RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show,
    presets={"smoke": SMOKE, "toy": TOY},
    first="teacher task transfer max-ms max-mb students candidates seeds weights prune publish engine runs",
    preview=preview,
    ready=ready,
)

if __name__ == "__main__":
    RECIPE.run()
