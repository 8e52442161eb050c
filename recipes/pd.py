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

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.experiments.methods import SMOKE, TITLES, TOY, Method
from wellread_hf.experiments.methods import MethodSettings as Settings
from wellread_hf.results.comparison import report, show_report
from wellread_hf.settings import Start
from wellread_hf.store.stage import Stage


def made_teacher(s: Settings) -> Stage:
    encoder = stages.pretrain(replace(s.teacher_pretrain, student=s.teacher_student), s.corpus, s.running)
    return stages.finetune(encoder, s.task, s.teacher_tuning, s.running)


def random(s: Settings) -> Start:
    # Without pre-training here there is no corpus; the tokenizer is the given student's.
    return Start(student=s.student, tokenizer=s.weights or s.corpus.tokenizer)


def pretrained(s: Settings, seed: int) -> Start | Stage:
    if s.weights is not None:
        return Start(weights=s.weights)
    reading = replace(s.pretrain, student=s.student, seed=0 if s.shared_pretraining else seed)
    return stages.pretrain(reading, s.corpus, s.running)


def plan(settings: Settings) -> list[Stage]:
    s = settings
    made = made_teacher(s) if s.teacher is None else None
    labels = stages.label(s.teacher or made, s.task, s.transfer, s.label, s.running)

    def run(method: Method, seed: int) -> Stage:
        tuning = replace(getattr(s, method), seed=seed)
        if method == "pdf":
            return stages.finetune(run("pd", seed), s.task, tuning, s.running)
        start = pretrained(s, seed) if method in ("pf", "pd") else random(s)
        if method in ("basic", "pf"):
            return stages.finetune(start, s.task, tuning, s.running)
        return stages.distill(start, s.task, labels, s.transfer, s.objective, tuning, s.running)

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
