"""A student on GLUE's tasks, several seeds each: dev scores, and predictions of dev and test in files.

PF fine-tunes a pre-trained student on each task's labels, PD distils a teacher of each task into it. Reads
GLUE, text or --weights, for PD the teachers; writes runs/finetune-... or runs/distill-..., runs/predict-...
with predictions-*.tsv, and runs/glue-...: table.md, results.json. `wellread submission` makes the zip of it.

  python recipes/glue.py --student 4-256 --method pf --tasks sst2,mrpc --seeds 3
  python recipes/glue.py --method pd --tasks all --weights google/bert_uncased_L-4_H-256_A-4 \\
      --student 4-256 --teachers MY-NAME/bert-large-{task} --from-mnli
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from wellread_hf import stages
from wellread_hf.cli import run_recipe
from wellread_hf.data.toyworld import ToyWorldSettings
from wellread_hf.errors import SettingsError
from wellread_hf.graph import Stage
from wellread_hf.scoreboard import scoreboard, show_scoreboard
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
from wellread_hf.tasks import GLUE, parse_glue_tasks
from wellread_hf.toy import SMOKE, SMOKE_PRETRAIN, SMOKE_TUNING, Toy, smoke_teacher

# Small tasks that gain from sentence pairs that were seen before; BERT's successors start them from MNLI.
AFTER_MNLI = ("rte", "mrpc", "stsb")


@dataclass(frozen=True, kw_only=True)
class Settings:
    student: str = "2-128"
    """Which of the 24 students."""
    method: Literal["pf", "pd"] = "pf"
    """`pf` fine-tunes on labels, `pd` distils from `teachers`."""
    tasks: str = "all"
    """GLUE's tasks joined by commas, e.g. `sst2,mrpc`, or `all`."""
    seeds: int = 3
    """Number of runs of every task: seeds 0, 1, ..."""
    data: str = GLUE
    """Home of GLUE: Hub id, or a folder of its layout."""
    weights: str | None = None
    """A pre-trained student instead of `pretrain`: Hub id (`NAME@REVISION`) or folder."""
    pretrain: Pretrain = field(default_factory=Pretrain)
    """Pre-training of the student (`student` is set by this recipe)."""
    corpus: Corpus = field(default_factory=Corpus)
    """Text to pre-train on."""
    teachers: tuple[str, ...] = ()
    """Fine-tuned classifiers for `pd`: `TASK=MODEL` each, or one MODEL with `{task}` in its name."""
    transfer: Transfer = field(default_factory=Transfer)
    """Text that the teachers label; `task` is each task's own."""
    label: Label = field(default_factory=Label)
    """How it is labelled."""
    objective: Objective = field(default_factory=Objective)
    """What distillation minimises."""
    from_mnli: bool = False
    """RTE, MRPC and STS-B start from the model of MNLI of the same seed."""
    # One point of the release's grid; its upper end suits the smallest students.
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=4, optim=Optim(learning_rate=3e-4)))
    """Training on each task (`seed` is set by this recipe)."""
    toy: ToyWorldSettings = field(default_factory=ToyWorldSettings)
    """Sizes of the embedded toy world, where it is used."""
    running: Running = field(default_factory=Running)
    """How the runs are carried out."""


class Chain:
    """Plans the stages that tasks and seeds share."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.running = settings, settings.running
        self.toy = Toy(settings.toy, settings.running)
        self.data, self.corpus = self.toy.glue(settings.data), self.toy.corpus(settings.corpus)
        self.encoder: Stage | None = None
        if settings.weights is None:
            pretrain = replace(settings.pretrain, student=settings.student)
            self.encoder = stages.pretrain(pretrain, self.corpus, self.running, self.toy.after)
        self.models: dict[tuple[str, int], Stage] = {}

    def task(self, name: str) -> Task:
        return Task(name=name, data=self.data)

    def start(self, name: str, seed: int) -> tuple[Start, list[Stage]]:
        encoder = self.model("mnli", seed) if self.from_mnli(name) else self.encoder
        if encoder is None:
            return Start(weights=self.settings.weights), [*self.toy.after]
        return Start(weights=str(encoder.folder)), [*self.toy.after, encoder]

    def from_mnli(self, name: str) -> bool:
        return self.settings.from_mnli and name in AFTER_MNLI

    def model(self, name: str, seed: int) -> Stage:
        if (name, seed) not in self.models:
            s = self.settings
            tuning = replace(s.tuning, seed=seed)
            start, after = self.start(name, seed)
            if s.method == "pf":
                made = stages.finetune(start, self.task(name), tuning, self.running, after)
            else:
                made = stages.distill(
                    start,
                    self.task(name),
                    self.labels(name),
                    s.transfer,
                    s.objective,
                    tuning,
                    self.running,
                    after,
                )
            self.models[name, seed] = made
        return self.models[name, seed]

    def labels(self, name: str) -> Stage:
        s, task = self.settings, self.task(name)
        teacher, after = smoke_teacher(self.teacher(name), self.toy, self.running, task)
        return stages.label(teacher, task, s.transfer, s.label, self.running, after)

    def teacher(self, name: str) -> str:
        named = dict(entry.split("=", 1) for entry in self.settings.teachers if "=" in entry)
        alike = [entry for entry in self.settings.teachers if "=" not in entry]
        if name in named:
            return named[name]
        if len(alike) == 1:
            return alike[0].replace("{task}", name)
        raise SettingsError(
            f"--method pd needs a teacher of {name}: expected --teachers {name}=MODEL, or one MODEL with "
            f"{{task}} in its name, got {' '.join(self.settings.teachers) or 'none'}"
        )

    def predictions(self, name: str, seed: int) -> Stage:
        length = self.settings.tuning.max_length
        return stages.predict(self.model(name, seed), self.task(name), length, self.running, self.toy.after)


def plan(settings: Settings) -> list[Stage]:
    if settings.seeds < 1:
        raise SettingsError(f"--seeds is a number of runs: expected at least 1, got {settings.seeds}")
    names = parse_glue_tasks(settings.tasks)
    chain = Chain(settings)
    runs = {name: [chain.predictions(name, seed) for seed in range(settings.seeds)] for name in names}
    read = [chain.task(name) for name in parse_glue_tasks(",".join({name for name, _ in chain.models}))]
    checks = stages.check_glue(read, settings.running, chain.toy.after)
    about = {
        "student": settings.student,
        "method": settings.method,
        "seeds": list(range(settings.seeds)),
        "from_mnli": [name for name in names if chain.from_mnli(name)],
    }
    return [scoreboard(f"{settings.student}-{settings.method}", runs, about, checks, settings.running.runs)]


def smoke(settings: Settings) -> Settings:
    return replace(
        settings,
        student="2-128",
        tasks="sst2,mnli,stsb",
        seeds=2,
        data="toy",
        weights=None,
        pretrain=SMOKE_PRETRAIN,
        corpus=Corpus(sources=("toy",), tokenizer="toy"),
        teachers=("toy",),
        from_mnli=True,
        tuning=SMOKE_TUNING,
        toy=SMOKE,
    )


if __name__ == "__main__":
    run_recipe(Settings, plan, smoke, show_scoreboard, __doc__)
