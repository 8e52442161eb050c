"""The whole chain of "Well-Read Students Learn Better", every method over every seed, and their comparison.

  corpus -> MLM -> student;  task -> teacher -> soft labels of the transfer set (once);
  Basic, Distillation, PF, PD, PD-F -> scores -> runs/report-...: table.md, chart.png, results.json

What is done already is skipped. The preset `toy` runs all of it on an embedded toy world, within minutes.

  wellread pd --preset toy
  wellread pd --task sst2 --student 4-256 --teacher MY-TEACHER --minutes 600 \\
      --transfer task MY-REVIEWS,column=text
  accelerate launch recipes/pd.py --task mnli --weights google/bert_uncased_L-4_H-256_A-4
"""

from dataclasses import field, replace
from typing import Annotated, Literal, get_args

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.results.comparison import report, show_report
from wellread_hf.settings import (
    Corpus,
    Label,
    Objective,
    Optim,
    Pretrain,
    Running,
    Start,
    Task,
    Transfer,
    Tuning,
)
from wellread_hf.settings.fields import FEW, Seed, StudentName, checked, each_once
from wellread_hf.stages.presets import (
    SMOKE_CORPUS,
    SMOKE_PRETRAIN,
    SMOKE_TASK,
    SMOKE_TRANSFER,
    SMOKE_TUNING,
    TOY_CORPUS,
    TOY_PRETRAIN,
    TOY_TASK,
    TOY_TEACHER_PRETRAIN,
    TOY_TEACHER_STUDENT,
    TOY_TEACHER_TUNING,
    TOY_TUNING,
)
from wellread_hf.store.stage import Stage
from wellread_hf.students import METHOD_TITLES

Method = Literal["basic", "distillation", "pf", "pd", "pdf"]
TITLES = {method: METHOD_TITLES[method] for method in get_args(Method)}


def tuning(epochs: float, learning_rate: float) -> Tuning:
    return Tuning(epochs=epochs, optim=Optim(learning_rate=learning_rate))


# Few, for that is where pre-training matters most: docs/log.md.
TOY_TRANSFER = Transfer(sources=("toy:pool",), rows=1_000)
TOY_DISTILLATION = replace(TOY_TUNING, epochs=12)


@checked()
class Settings:
    student: StudentName = "2-128"
    """Which of the 24 students."""
    methods: Annotated[tuple[Method, ...], each_once()] = ("basic", "distillation", "pf", "pd")
    """What to compare; `pdf` is PD followed by fine-tuning."""
    seeds: Annotated[tuple[Seed, ...], FEW, each_once()] = (0, 1, 2)
    """One run of every method a seed."""
    shared_pretraining: bool = True
    """All seeds start from one pre-trained student, as the paper's did; else each seed pre-trains its own."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to pre-train on."""
    task: Task = field(default_factory=Task)
    """What to learn."""
    transfer: Transfer = field(default_factory=Transfer)
    """Text that the teacher labels; its own labels, if it has any, are not looked at."""
    pretrain: Pretrain = field(default_factory=Pretrain)
    """Pre-training of the student (`student`, `seed` and `start` are set by this recipe)."""
    weights: str | None = None
    """A pre-trained student for all seeds instead: Hub id (`NAME@REVISION`) or folder."""
    teacher: str | None = None
    """A fine-tuned classifier; without one, `teacher_student` is pre-trained and fine-tuned first."""
    teacher_student: StudentName = "12-768"
    """Size of the teacher made here."""
    teacher_pretrain: Pretrain = field(default_factory=Pretrain)
    """Its pre-training."""
    teacher_tuning: Tuning = field(default_factory=lambda: tuning(3, 3e-5))
    """Its fine-tuning on the task's labels."""
    label: Label = field(default_factory=Label)
    """How the transfer set is labelled."""
    objective: Objective = field(default_factory=Objective)
    """What distillation minimises."""
    basic: Tuning = field(default_factory=lambda: tuning(4, 3e-4))
    """Random weights, fine-tuned on the labels."""
    distillation: Tuning = field(default_factory=lambda: tuning(6, 5e-4))
    """Random weights, distilled."""
    pf: Tuning = field(default_factory=lambda: tuning(4, 3e-4))
    """Pre-trained, fine-tuned."""
    pd: Tuning = field(default_factory=lambda: tuning(6, 5e-4))
    """Pre-trained, distilled."""
    pdf: Tuning = field(default_factory=lambda: tuning(2, 1e-4))
    """The last step of PD-F: the PD student, fine-tuned."""
    running: Running = field(default_factory=Running)
    """How the runs are carried out."""


TOY = Settings(
    corpus=TOY_CORPUS,
    task=TOY_TASK,
    transfer=TOY_TRANSFER,
    pretrain=replace(TOY_PRETRAIN, steps=1_500),
    teacher_student=TOY_TEACHER_STUDENT,
    teacher_pretrain=replace(TOY_TEACHER_PRETRAIN, steps=3_000),
    teacher_tuning=TOY_TEACHER_TUNING,
    basic=TOY_TUNING,
    distillation=TOY_DISTILLATION,
    pf=TOY_TUNING,
    pd=TOY_DISTILLATION,
    pdf=replace(TOY_TUNING, epochs=5),
)


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


SMOKE = Settings(
    methods=tuple(TITLES),
    seeds=(0, 1),
    corpus=SMOKE_CORPUS,
    task=SMOKE_TASK,
    transfer=SMOKE_TRANSFER,
    pretrain=SMOKE_PRETRAIN,
    teacher_student="2-128",
    teacher_pretrain=SMOKE_PRETRAIN,
    **dict.fromkeys((*TITLES, "teacher_tuning"), SMOKE_TUNING),
)


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
