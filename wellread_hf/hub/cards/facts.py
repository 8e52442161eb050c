"""What a card tells, as frozen data: no paths, no clock, nothing that is not in a record."""

import re
from dataclasses import dataclass
from math import isfinite
from statistics import mean, stdev
from typing import Literal

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in its __all__

from wellread_hf.errors import CardError
from wellread_hf.hub.cards.shelf import Method
from wellread_hf.students import VOCABULARY, Student

Split = Literal["dev", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Content that went in, known by its fingerprint (`locations.Location`): a Hub commit, files, a stage.

    Attributes:
        fingerprint: `hub:ID@COMMIT`, `sha256:...` or `stage:DIGEST:PATH`.
    """

    fingerprint: str

    @property
    def hub_id(self) -> str | None:
        """The Hub id, if the content came from the Hub and the id is one."""
        if not self.fingerprint.startswith("hub:"):
            return None
        repo_id = self.fingerprint.removeprefix("hub:").rpartition("@")[0]
        try:
            validate_repo_id(repo_id)
        except HFValidationError:
            return None
        # The client's own rule ends in `$`, which lets a line break through.
        return repo_id if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo_id, re.ASCII) else None

    @property
    def revision(self) -> str | None:
        """The Hub commit, 40 hexadecimal digits; None for a branch or for what did not come from the Hub."""
        tail = self.fingerprint.rpartition("@")[2]
        return tail if self.hub_id is not None and re.fullmatch(r"[0-9a-f]{40}", tail) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source of plain text: which content, and which part of it."""

    origin: Origin
    config: str | None
    split: str
    columns: tuple[str, ...]
    rows: int | None


# Rows of each class, by split: `train`, `validation`.
ClassCounts = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric of one split, a value a seed.

    Attributes:
        split: `dev` for validation rows, which also chose the checkpoint; `test` for rows that chose nothing.
        metric: Name among `evaluation.metrics.METRICS`.
        values: As the metric gives them (0.91, not 91), in the order of the seeds.
    """

    split: Split
    metric: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not all(map(isfinite, self.values)):
            raise CardError(
                f"expected finite values of {self.metric} on {self.split}, got {self.values}; "
                "score the model again"
            )

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return mean(self.values)

    @property
    def std(self) -> float | None:
        """Standard deviation over the seeds (n - 1); None for one seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """A labelled task.

    Attributes:
        name: GLUE's name of it, or the user's.
        glue: Whether it is one of GLUE's tasks, read from GLUE's data set (the Hub's or a copy).
        origin: The data set, or the file of training rows.
        config: Configuration of the data set.
        validation: Name of the data set's split that `dev` stands for.
        columns: Number of text columns, 1 or 2; 0 where the record does not say.
        regression: The label is a number.
        class_counts: Rows of each class; empty where the record does not say.
    """

    name: str
    glue: bool
    origin: Origin
    config: str | None
    validation: str
    columns: int
    regression: bool
    class_counts: ClassCounts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """Where soft labels came from.

    Attributes:
        teacher: Fingerprint of the teacher.
        teacher_name: What the teacher's stage is called, where it is one that is still there.
        transfer: Sources of the transfer set; None stands for the task's own training text.
        rows: Rows labelled.
        metric: Metric of the teacher's own score; `score` is on the task's validation rows.
        method: What was learnt from the teacher, by its name in `--objective.method`.
    """

    teacher: Origin
    teacher_name: str | None
    transfer: tuple[Source | None, ...]
    rows: int | None
    metric: str | None
    score: float | None
    temperature: float
    hard_label_share: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One method on one task with one choice of settings, over its seeds.

    Attributes:
        train_rows: Rows trained on: labelled ones, or soft-labelled ones where there is `teaching`.
        epochs: Passes over them.
        max_length: Tokens a row.
        mlm_loss: Held-out masked-LM loss in nats of the encoder it started from.
        this_seed: Which of the seeds is the card's own model, if one is.
        lora_rank: Rank of LoRA; None where all weights were trained.
    """

    method: Method
    task: TaskData
    seeds: tuple[int, ...]
    scores: tuple[Score, ...]
    train_rows: int | None
    epochs: float
    max_length: int
    learning_rate: float
    batch_size: int
    teaching: Teaching | None
    mlm_loss: float | None
    this_seed: int | None = None
    lora_rank: int | None = None

    @property
    def soft_labelled(self) -> bool:
        """Whether the rows that it was trained on last had a teacher's soft labels."""
        return self.method in ("Distillation", "PD", "Patient KD", "Another distillation")

    def __post_init__(self) -> None:
        if not self.scores or {len(score.values) for score in self.scores} != {len(self.seeds)}:
            raise CardError(
                f"expected a score of every seed of {self.method} on {self.task.name}, got {self.scores} for "
                f"seeds {self.seeds}; run the stage again"
            )

    @property
    def first(self) -> Score:
        """The task's first metric on dev."""
        return self.scores[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """A finished masked-LM pre-training.

    Attributes:
        sources: The corpus; empty where the record of its packing is gone.
        corpus_tokens: Tokens in the packed corpus (of the longest blocks).
        tokens: Tokens seen in training.
        start: What it went on from; None for random weights.
        loss: Held-out masked-LM loss in nats; `unigram_loss` that of word frequencies alone.
        schedule: Settings as (name, value), ready to be read.
        seconds: Wall time of training.
    """

    sources: tuple[Source, ...]
    corpus_tokens: int | None
    tokenizer: Origin
    tokens: int
    steps: int
    start: Origin | None
    loss: float
    unigram_loss: float
    schedule: tuple[tuple[str, str], ...]
    seconds: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """Weights that were taken over and compared with the original.

    Attributes:
        source: Where they come from.
        parity: Largest absolute difference of a logit between ours and the original.
        sentences: Sentences compared.
    """

    source: Origin
    parity: float
    sentences: int

    @property
    def googles(self) -> bool:
        """Whether the source is Google's release; of a copy elsewhere nobody here can tell."""
        return str(self.source.hub_id).startswith("google/bert_uncased_L-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How the weights in this repository were made."""

    command: str
    versions: tuple[tuple[str, str], ...]
    seconds: float
    processes: int | None
    device: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was read off the model's own files.

    Attributes:
        weights: Numbers in `model.safetensors`.
        size: Bytes of that file.
        latency_ms: Milliseconds a forward pass, where a record has it.
    """

    weights: int
    size: int
    latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a card is made of.

    Attributes:
        name: Name of the repository.
        namespace: User or organisation it is pushed to, if known.
        student: Which of the 24.
        vocabulary: Words of its tokenizer.
        run: How it was made; None for a student that was not trained.
        pretraining: Its own, or that of the encoder a task student started from.
        adoption: Where the weights, or a task student's encoder, are Google's.
        base: What the weights started from: another model, or a task student's encoder.
        task: The task it was taught, for a task student.
        results: Of a pre-trained student, the best choice of settings a task, method and budget; of a
            task student, its own and other methods' at the same budget.
    """

    name: str
    namespace: str | None = None
    student: Student
    vocabulary: int = VOCABULARY
    measured: Measured | None = None
    run: Run | None = None
    pretraining: Pretraining | None = None
    adoption: Adoption | None = None
    base: Origin | None = None
    task: TaskData | None = None
    results: tuple[Result, ...] = ()

    @property
    def repo_id(self) -> str:
        """Name of the repository, with its namespace if that is known."""
        return self.name if self.namespace is None else f"{self.namespace}/{self.name}"

    @property
    def stated(self) -> bool:
        """Whether licence and language are known: all that went in lies on the Hub, or is Google's.

        For the user's own files neither is known.
        """
        if self.run is None:
            return True
        origins: list[Origin | None] = []
        if self.pretraining is not None:
            origins += [source.origin for source in self.pretraining.sources] or [None]
        elif self.adoption is not None:
            origins += [] if self.adoption.googles else [None]
        elif self.base is not None:
            origins.append(self.base)
        if self.own is not None:
            task = self.own.task
            origins += [] if task.glue else [task.origin]
            if self.own.teaching is not None:
                origins += [part.origin for part in self.own.teaching.transfer if part is not None]
        return all(origin is not None and origin.hub_id is not None for origin in origins)

    @property
    def own(self) -> Result | None:
        """A task student's own result."""
        return next((result for result in self.results if result.this_seed is not None), None)
