"""The name `toy` in settings: the embedded toy world as corpus, tokenizer, task, transfer set or GLUE."""

import json
from collections.abc import Sequence
from dataclasses import replace

from wellread_hf.data.toy.domains import write_toy_domains
from wellread_hf.data.toy.glue import write_toy_glue
from wellread_hf.data.toy.world import LABEL_NAMES, ToyWorldSettings, write_toy_world
from wellread_hf.errors import SettingsError
from wellread_hf.settings import (
    Corpus,
    Label,
    Lora,
    Objective,
    Optim,
    Pretrain,
    Running,
    Start,
    Task,
    Transfer,
    Tuning,
)
from wellread_hf.stages import finetune, pretrain
from wellread_hf.store.graph import Stage
from wellread_hf.students import Student

TOY = "toy"
TOY_DOMAINS = {"toy-near": "near.jsonl", "toy-far": "far.jsonl"}
SMOKE_STUDENT = "2-128"
SMOKE_LAYERS = Student.parse(SMOKE_STUDENT).layers
# A world that is written and learnt in seconds; too small to teach anything.
SMOKE = ToyWorldSettings(corpus_texts=2_000, train_rows=64, validation_rows=64, test_rows=64, pool_rows=128)

SMOKE_PRETRAIN = Pretrain(
    steps=10,
    block_lengths=(32, 64),
    phase_shares=(0.9, 0.1),
    optim=Optim(learning_rate=1e-3, batch_size=8),
)
SMOKE_TUNING = Tuning(epochs=1, evaluations=2, max_length=32, optim=Optim(learning_rate=1e-3, batch_size=8))

# A text of the toy world has 14 words, so a block of 17 tokens holds one. Dropout only slows down a student
# that sees its corpus about once. What it takes to read within minutes: docs/log.md.
TOY_PRETRAIN = Pretrain(
    block_lengths=(17,),
    dropout=0.0,
    mask_share=0.3,
    optim=Optim(learning_rate=2e-3, batch_size=32, beta2=0.98, warmup=0.3),
)
TOY_TEACHER_STUDENT = "2-256"
# Better than any student that is fine-tuned on the same labels, as the paper's teacher is.
TOY_TEACHER_PRETRAIN = replace(
    TOY_PRETRAIN, steps=2_000, optim=Optim(learning_rate=1e-3, batch_size=32, beta2=0.98)
)
# One learning rate serves every method alike, see docs/reproduction.md; the wider teacher has half of it.
TOY_TUNING = Tuning(epochs=15, max_length=32, optim=Optim(learning_rate=1e-3, batch_size=32))
TOY_TEACHER_TUNING = replace(TOY_TUNING, optim=Optim(learning_rate=5e-4, batch_size=32))


class Toy:
    """Plans the toy world, and puts its folders where settings say `toy`.

    Args:
        settings: Sizes and seed of the world.
        running: Where it goes.
    """

    def __init__(self, settings: ToyWorldSettings, running: Running) -> None:
        def work(stage: Stage) -> dict[str, object]:
            write_toy_world(stage.folder, settings)
            return {}

        self.stage = Stage(
            kind="toyworld",
            name=f"seed{settings.seed}",
            root=running.runs,
            identity={"settings": settings},
            work=work,
            solo=True,
        )
        self.used = False
        self.glue_stage = Stage(
            kind="toyglue",
            name=f"seed{settings.seed}",
            root=running.runs,
            identity={"world": self.stage.digest},
            after=[self.stage],
            work=lambda stage: write_toy_glue(stage.folder, self.stage.folder / "task"),
            solo=True,
        )
        self.glue_used = False
        self.domains_stage = Stage(
            kind="toydomains",
            name=f"seed{settings.seed}",
            root=running.runs,
            identity={"world": self.stage.digest},
            after=[self.stage],
            work=lambda stage: write_toy_domains(stage.folder, settings, self.stage.folder / "task"),
            solo=True,
        )
        self.domains_used = False

    @property
    def after(self) -> Sequence[Stage]:
        """The world's stages, as far as anything asked for them."""
        used = [(self.used, self.stage), (self.glue_used, self.glue_stage)]
        return [stage for is_used, stage in [*used, (self.domains_used, self.domains_stage)] if is_used]

    def corpus(self, corpus: Corpus) -> Corpus:
        """Replaces `toy` among a corpus' sources and as its tokenizer."""
        sources = tuple(self._path("corpus.txt") if name == TOY else name for name in corpus.sources)
        return replace(corpus, sources=sources, tokenizer=self._tokenizer(corpus.tokenizer))

    def start(self, start: Start) -> Start:
        """Replaces `toy` as the tokenizer of random weights."""
        return (
            start if start.tokenizer is None else replace(start, tokenizer=self._tokenizer(start.tokenizer))
        )

    def task(self, task: Task) -> Task:
        """Replaces the task named `toy`, keeping how many training rows are drawn."""
        if task.name != TOY or task.data is not None:
            return task
        return replace(
            task,
            data=self._path("task/train.jsonl"),
            validation=self._path("task/validation.jsonl"),
            test=self._path("task/test.jsonl"),
            columns=("sentence",),
            labels=LABEL_NAMES,
        )

    def transfer(self, transfer: Transfer) -> Transfer:
        """Replaces `toy`, `toy-near` and `toy-far` among the sources of a transfer set: unlabelled text."""
        return replace(transfer, sources=tuple(map(self.text, transfer.sources)))

    def text(self, source: str) -> str:
        """Replaces `toy`, the unlabelled pool, `toy-near` or `toy-far`, text of other domains."""
        if source == TOY:
            return self._path("pool.jsonl") + ",column=sentence"
        if source in TOY_DOMAINS:
            self.domains_used = True
            return str(self.domains_stage.folder / TOY_DOMAINS[source]) + ",column=sentence"
        return source

    def glue(self, data: str) -> str:
        """Replaces `toy` as the home of GLUE: a folder in its layout, of the world's sentences."""
        if data != TOY:
            return data
        self.glue_used = True
        return str(self.glue_stage.folder)

    def _tokenizer(self, name: str) -> str:
        return self._path("tokenizer") if name == TOY else name

    def _path(self, name: str) -> str:
        self.used = True
        return str(self.stage.folder / name)


def smoke_teacher(
    name: str | None, toy: Toy, running: Running, task: Task | None = None
) -> tuple[str, list[Stage]]:
    """Plans a tiny teacher where the teacher is named `toy`, of the toy task unless another is given.

    Returns:
        The teacher's name or folder, and the stages that must come first.

    Raises:
        SettingsError: No teacher is named.
    """
    if name is None:
        raise SettingsError(
            "`teacher` is missing: expected a fine-tuned classifier, a folder (recipes/teacher.py makes one) "
            "or a Hub id"
        )
    if name != TOY:
        return name, list(toy.after)
    start = toy.start(Start(student=SMOKE_STUDENT, tokenizer=TOY))
    teacher = finetune(start, task or toy.task(Task(name=TOY)), SMOKE_TUNING, running, toy.after)
    return str(teacher.folder), [*toy.after, teacher]


def smoke_start(lora: Lora) -> Start:
    """Returns what a smoke test starts from: random weights, or with LoRA the encoder named `toy`."""
    return Start(student=SMOKE_STUDENT, tokenizer=TOY) if lora.lora_rank is None else Start(weights=TOY)


def smoke_label(label: Label) -> Label:
    """Returns how a smoke test labels: with the states of those of its teacher's layers that are named."""
    fitting = tuple(layer for layer in label.states if layer <= SMOKE_LAYERS)
    return replace(label, states=fitting or (label.states and (1,)))


def smoke_objective(objective: Objective) -> Objective:
    """Returns what a smoke test minimises: the default layer map where the one named needs deeper models."""
    named = (int(layer) for pair in objective.layers if ":" in pair for layer in pair.split(":"))
    return (
        replace(objective, layers=Objective().layers) if max(named, default=0) > SMOKE_LAYERS else objective
    )


def smoke_encoder(start: Start, toy: Toy, running: Running) -> tuple[Start, list[Stage]]:
    """Plans a tiny pre-training where the weights to start from are named `toy`.

    Returns:
        The start, and the pre-training, which must come first.
    """
    if start.weights != TOY:
        return toy.start(start), []
    encoder = pretrain(SMOKE_PRETRAIN, toy.corpus(Corpus(sources=(TOY,), tokenizer=TOY)), running, toy.after)
    return replace(start, weights=str(encoder.folder)), [encoder]


def toy_release(toy: Toy, running: Running) -> tuple[str, list[Stage]]:
    """Plans a tiny checkpoint with random weights that lies as Google's do: bare config, `vocab.txt`, NSP.

    Returns:
        Its folder, and the stages that must come first.
    """
    start = toy.start(Start(student=SMOKE_STUDENT, tokenizer=TOY))

    def work(stage: Stage) -> dict[str, object]:
        import torch
        from transformers import AutoTokenizer, BertForPreTraining

        torch.manual_seed(0)
        vocabulary = AutoTokenizer.from_pretrained(start.tokenizer).get_vocab()
        (stage.folder / "vocab.txt").write_text(
            "".join(f"{w}\n" for w in sorted(vocabulary, key=vocabulary.__getitem__))
        )
        BertForPreTraining(student.fresh_config(len(vocabulary))).save_pretrained(stage.folder)
        bare = json.loads((stage.folder / "config.json").read_text())
        del bare["architectures"]
        (stage.folder / "config.json").write_text(json.dumps(bare))
        return {}

    student = Student.parse(str(start.student))
    release = Stage(
        kind="release",
        name=student.name,
        root=running.runs,
        identity={"student": student.name, "world": toy.stage.digest},
        after=toy.after,
        work=work,
        solo=True,
    )
    return str(release.folder), [*toy.after, release]
