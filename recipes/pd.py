"""The whole chain of "Well-Read Students Learn Better", every method over every seed, and their comparison.

  corpus -> MLM -> student;  task -> teacher -> soft labels of the transfer set (once);
  Basic, Distillation, PF, PD, PD-F -> scores -> runs/report-...: table.md, chart.png, results.json

What is done already is skipped. The preset `toy` runs all of it on an embedded toy world, within minutes.

  wellread pd --preset toy
  wellread pd --task sst2 --student 4-256 --teacher MY-TEACHER --minutes 600 \\
      --transfer task MY-REVIEWS,column=text
  accelerate launch recipes/pd.py --task mnli --weights google/bert_uncased_L-4_H-256_A-4
"""

from dataclasses import replace

from wellread_hf.cli.recipe import Recipe
from wellread_hf.experiments.methods import SMOKE, TITLES, TOY, Method
from wellread_hf.experiments.methods import MethodSettings as Settings
from wellread_hf.experiments.planner import Planner
from wellread_hf.results.comparison import report, show_report
from wellread_hf.store.stage import Stage


def plan(settings: Settings) -> list[Stage]:
    s = settings
    made = s.teacher.made(s.given.corpus, s.task, s.running)
    planner = Planner(s.given, lambda task: made or str(s.teacher.teacher), s.running, held_out=(s.task,))
    # A wrong teacher is found also where no method asks it.
    planner.labels(s.task)

    def run(method: Method, seed: int) -> Stage:
        tuning = replace(getattr(s, method), seed=seed)
        if method == "pdf":
            return planner.trained("pf", run("pd", seed), s.task, tuning)
        start = planner.start(method, s.student, 0 if s.shared_pretraining else seed)
        return planner.trained(method, start, s.task, tuning)

    # What methods and seeds share is planned alike, and so carried out once.
    runs = {TITLES[method]: [run(method, seed) for seed in s.seeds] for method in s.methods}
    return [report(s.task.name, s.student, runs, made, s.running.runs)]


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=show_report,
    presets={"smoke": SMOKE, "toy": TOY},
    first="task task.data student teacher weights corpus transfer methods seeds minutes runs",
)

if __name__ == "__main__":
    RECIPE.run()
