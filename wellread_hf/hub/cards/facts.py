"""What a card says, as frozen data: no paths, no clock, nothing that is not in a record.

Records are files, and files can say anything: every field is validated when it is set.
"""

from statistics import mean, stdev
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from wellread_hf.hub.cards.origins import Adoption, Origin, Pretraining, Source
from wellread_hf.hub.cards.shipped_facts import STRICT, Choice, Confidence, Example, Exported, Latency
from wellread_hf.settings import Case
from wellread_hf.students import VOCABULARY, Student

Split = Literal["dev", "test"]
# Rows of each class, by split: `train`, `validation`.
ClassCounts = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Score:
    """One metric of one split, a value a seed."""

    split: Split  # `dev` rows chose the checkpoint as well, `test` rows chose nothing
    metric: str  # of `metrics.scores.METRICS`
    values: tuple[Annotated[float, Field(ge=-1, le=1)], ...]  # a seed each: 0.91, not 91

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return mean(self.values)

    @property
    def std(self) -> float | None:
        """Standard deviation over the seeds (n - 1); None for one seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TaskData:
    """A labelled task."""

    name: str  # GLUE's, or the user's
    glue: bool  # one of GLUE's tasks, read from GLUE's data set (the Hub's or a copy)
    origin: Origin  # the data set, or the file of training rows
    config: str | None
    validation: str  # the data set's split that `dev` stands for
    columns: int  # of text, 1 or 2; 0 where the record does not say
    regression: bool
    tagging: bool = False
    class_counts: ClassCounts = ()  # empty where the record does not say


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ClassScores:
    """Scores of one class on dev, 0 to 1, and its rows."""

    name: str
    rows: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SoftLabels:
    """A teacher's outputs on a transfer set, or what a table said of it."""

    teacher: Origin  # the model; of imported ones the table
    imported: str | None = None  # what the table holds, e.g. `probabilities`
    transfer: tuple[Source | None, ...]  # None: the task's own training text
    rows: int
    metric: str | None  # of the teacher's own score; None where it has none
    score: float | None  # on the task's validation rows


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Teaching:
    """How a student was distilled."""

    labels: SoftLabels
    teacher_name: str | None  # of its stage, where that is still there
    temperature: float
    hard_label_share: float
    method: str  # as `objective.method` names it


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Result:
    """One method on one task with one choice of settings, over its seeds."""

    method: str  # as the paper names it
    task: TaskData
    seeds: tuple[int, ...]
    scores: Annotated[tuple[Score, ...], Field(min_length=1)]
    train_rows: int  # labelled ones, or those with soft labels
    epochs: float
    max_length: int  # tokens a row
    learning_rate: float
    batch_size: int
    teaching: Teaching | None
    mlm_loss: float | None  # held-out masked-LM loss, in nats, of the encoder it started from
    this_seed: int | None = None  # that of the card's own model, if it is one of the seeds
    lora_rank: int | None = None  # None: all weights were trained

    @property
    def soft_labelled(self) -> bool:
        """Whether the rows that it was trained on last had a teacher's soft labels."""
        return self.method in ("Distillation", "PD", "Patient KD", "Another distillation")

    @property
    def first(self) -> Score:
        """The task's first metric on dev."""
        return self.scores[0]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Sibling:
    """An encoder of the family, and what was learnt with it."""

    student: Student
    made: str  # where its weights come from, in words
    tokens: int | None  # seen in pre-training; None where it was not pre-trained here
    loss: float | None  # likewise, held-out masked-LM loss in nats
    results: tuple[Result, ...]
    this: bool  # it is the card's own


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Run:
    """How the weights in this repository were made."""

    command: str
    versions: tuple[tuple[str, str], ...]
    seconds: float
    processes: int | None
    device: str | None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Measured:
    """What was read from `model.safetensors`."""

    weights: int  # numbers
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Pruned:
    """What became of a vocabulary."""

    before: int  # words
    share: float  # of the pieces of the text that it was pruned for


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Facts:
    """Everything a card is made of."""

    name: str  # of the repository
    namespace: str | None = None  # user or organisation, if known
    student: Student
    vocabulary: int = VOCABULARY  # words of its tokenizer
    case: Case = "lower"  # what its tokenizer keeps of letters
    toy: bool = False  # a sixteenth as wide as the student
    measured: Measured | None = None
    run: Run | None = None  # None: it was not trained
    pretraining: Pretraining | None = None  # its own, or that of a task student's encoder
    adoption: Adoption | None = None  # likewise
    base: Origin | None = None  # the model that the weights started from, or a task student's encoder
    # Of an encoder, the best choice of settings a task, method and budget; of a task student, its own
    # result and other methods' at the same budget.
    results: tuple[Result, ...] = ()
    per_class: tuple[ClassScores, ...] = ()  # of a task student, in the order of its classes
    # Encoders of the family whose records lie beside this one's, itself among them; empty without others.
    siblings: tuple[Sibling, ...] = ()
    pruned: Pruned | None = None
    exported: Exported | None = None
    confidence: Confidence | None = None
    latency: Latency | None = None
    choices: tuple[Choice, ...] = ()  # of which this model is one
    examples: tuple[Example, ...] = ()
    # Names of repositories beside this one in its namespace: what a link can point to.
    beside: tuple[str, ...] = ()

    @property
    def repo_id(self) -> str:
        """Name of the repository, with its namespace if that is known."""
        return self.name if self.namespace is None else f"{self.namespace}/{self.name}"

    @property
    def made(self) -> str | None:
        """Where the weights of the encoder come from, in a few words; None where that is not known."""
        if self.adoption is not None:
            return "Google's weights, adopted" if self.adoption.googles else "weights from elsewhere, adopted"
        if self.pretraining is None:
            return None
        if self.pretraining.grown is not None:
            return f"grown from {self.pretraining.grown.student.name}, pre-trained"
        return f"pre-trained from {'random weights' if self.pretraining.random else 'another model'}"

    @property
    def width(self) -> int:
        """Its own width, a toy's too."""
        return self.student.width(self.toy)

    @property
    def own(self) -> Result | None:
        """A task student's own result."""
        return next((result for result in self.results if result.this_seed is not None), None)

    @property
    def task(self) -> TaskData | None:
        """The task that a task student was taught."""
        return None if self.own is None else self.own.task

    @property
    def stated(self) -> bool:
        """Whether the licence is known: all that went in lies on the Hub, or is Google's.

        For the user's own files it is not.
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
            task, taught = self.own.task, self.own.teaching
            origins += [] if task.glue else [task.origin]
            origins += [part.origin for part in taught.labels.transfer if part] if taught is not None else []
        return all(origin is not None and origin.hub_id is not None for origin in origins)
