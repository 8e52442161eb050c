"""Typed, frozen settings of every stage; the string below a field is its help on the command line."""

import os
import re
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from wellread_hf.errors import SettingsError, nearest
from wellread_hf.ranges import (
    BATCH,
    COUNT,
    EPOCHS,
    LENGTH,
    RATE,
    SEED,
    SEVERAL,
    SHARE,
    STEPS,
    TEMPERATURE,
    WEIGHT,
    Range,
    check_numbers,
)
from wellread_hf.students import Student

# One of these is there wherever torch may find a GPU: of NVIDIA, of AMD, of Windows below Linux.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/kfd", "/dev/dxg")

Precision = Literal["auto", "fp32", "bf16"]
Schedule = Literal["linear", "cosine"]
Kept = Literal["first", "spread", "embeddings"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SettingsError(message)


def _check_trackers(names: tuple[str, ...]) -> None:
    if not set(names) - {"none"}:
        return
    # Only here: transformers takes seconds to import.
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    known = [*INTEGRATION_TO_CALLBACK, "all", "none"]
    installed = get_available_reporting_integrations()  # type: ignore[no-untyped-call]  # untyped there
    for name in names:
        _require(
            name in known,
            f"`running.report_to`: expected trackers that transformers knows ({', '.join(known)}), got "
            f"{name!r}; the nearest is {nearest(name, known, 1)}",
        )
        _require(
            name in (*installed, "all", "none"),
            f"`running.report_to` {name}: its package is not installed; install it, or take one of those "
            f"that are: {', '.join(installed) or 'none'}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How a run is carried out; nothing here changes its result."""

    runs: Path = Path("runs")
    """Folder that receives one folder a stage."""
    checkpoint_steps: int = 500
    """Optimizer steps between two checkpoints of pre-training."""
    report_to: tuple[str, ...] = ()
    """Trackers that transformers knows, e.g. `tensorboard` or `trackio`."""
    workers: int = 0
    """Processes that prepare batches beside the training process."""
    micro_batch_size: int | None = None
    """Most rows that a process handles at once; the rest of its share of a batch is accumulated."""

    def __post_init__(self) -> None:
        check_numbers(self, "running.", checkpoint_steps=COUNT, workers=Range(0, 256), micro_batch_size=BATCH)
        _require(
            not re.search("[\ud800-\udfff]", str(self.runs)),
            f"`running.runs`: expected a name in UTF-8, which safetensors needs, got {str(self.runs)!a}",
        )
        _check_trackers(self.report_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optim:
    """AdamW and its learning-rate schedule."""

    learning_rate: float = 5e-4
    """Peak learning rate."""
    batch_size: int = 32
    """Rows in one optimizer step, over all processes and accumulation steps together."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises from 0 to its peak."""
    schedule: Schedule = "linear"
    """How the learning rate falls to 0 after the warm-up."""
    weight_decay: float = 0.01
    """Decoupled weight decay (not on biases and layer norms)."""
    beta2: float = 0.999
    """AdamW's second-moment decay."""
    epsilon: float = 1e-6
    """AdamW's epsilon; 1e-6 as in BERT's own optimizer."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    precision: Precision = "auto"
    """`auto` takes bf16 on a GPU that has it, else fp32."""

    @property
    def bf16(self) -> bool:
        """Whether training computes in bf16."""
        if self.precision != "auto":
            return self.precision == "bf16"
        # Loading torch takes seconds, so it is not asked where there is no GPU.
        if "torch" not in sys.modules and not any(map(os.path.exists, _GPU_DEVICES)):
            return False
        import torch

        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()

    def __post_init__(self) -> None:
        check_numbers(
            self,
            learning_rate=RATE,
            batch_size=BATCH,
            warmup=SHARE,
            weight_decay=Range(0, 1_000),
            beta2=SHARE,
            # In fp32 a smaller one is 0, which divides by 0 where a gradient is 0.
            epsilon=Range(1e-30, 1),
            max_grad_norm=Range(0, 1e6, above=True),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A labelled data set: one of GLUE's by name, or your own with the columns named."""

    name: str = "sst2"
    """GLUE's name of the task (cola, sst2, mrpc, ...), or any name for a data set of your own."""
    data: str | None = None
    """Hub id, folder in Hub layout, or file of training rows (.csv, .tsv, .jsonl, .json, .parquet; also .gz).
    GLUE: `nyu-mll/glue`."""
    config: str | None = None
    """Configuration of a Hub data set. GLUE: the task's name."""
    revision: str | None = None
    """Revision (branch, tag or commit) of a Hub data set."""
    validation: str | None = None
    """File of validation rows, where `data` is a file."""
    test: str | None = None
    """File of labelled test rows, where `data` is a file and you have some."""
    columns: tuple[str, ...] = ()
    """Text columns: one, or two for pairs. GLUE: known."""
    label: str = "label"
    """Column of the labels."""
    labels: tuple[str, ...] = ()
    """Names of the classes in order; empty: read from the data. Not for regression."""
    regression: bool = False
    """The label is a number to predict, not a class."""
    multi_label: bool = False
    """A row may have several classes, or none. `label` is a column of lists of class names or numbers (in CSV
    as JSON text, `["toxic", "threat"]`), or columns of 0 and 1, one a class, joined by `+`:
    `toxic+insult+threat`."""
    train_rows: int | None = None
    """Take this many training rows, drawn with `train_seed`."""
    train_seed: int = 0
    """Seed of that draw."""

    def __post_init__(self) -> None:
        _require(
            len(self.columns) <= 2,
            f"`task.columns` takes one text column or two for pairs, got {len(self.columns)}",
        )
        _require(
            len(set(self.columns)) == len(self.columns),
            f"`task.columns`: expected each column once, got {' '.join(self.columns)}",
        )
        classes = self.label.split("+") if self.multi_label else [self.label]
        _require(
            len(set(classes)) == len(classes),
            f"`task.label`: expected each column of a class once, got {self.label}",
        )
        check_numbers(self, "task.", train_rows=COUNT, train_seed=SEED)
        _require(
            not (self.regression and self.labels),
            f"`task.regression` has no classes, got `task.labels` {' '.join(self.labels)}; give one of them",
        )
        _require(
            not (self.regression and self.multi_label),
            "expected `task.regression` or `task.multi_label`, got both; give one of them",
        )
        _require(
            re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name) is not None,
            f"`task.name` is part of a folder's name: expected letters, digits, . _ -, got {self.name!r}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Plain text for pre-training, and the tokenizer that cuts it."""

    sources: tuple[str, ...] = ("wikimedia/wikipedia,config=20231101.en",)
    """Each `NAME[,config=..][,split=train][,revision=..][,column=text][,rows=N]`: Hub id, folder in Hub
    layout, or .txt, .csv, .tsv, .jsonl, .json, .parquet file (also .gz)."""
    tokenizer: str = "google-bert/bert-base-uncased"
    """Hub id (`NAME@REVISION`) or folder of a fast tokenizer with a mask token."""

    def __post_init__(self) -> None:
        _require(bool(self.sources), "`corpus.sources` needs at least one source of text, got none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distil:
    """DistilBERT: beside the text, a masked LM that has learnt more says what it would fill in."""

    teacher: str | None = None
    """Masked LM to learn from, with the student's tokenizer: Hub id (`NAME@REVISION`) or folder; default:
    none, the student learns from the text alone."""
    temperature: float = 2.0
    """Softens both distributions over the vocabulary; that loss is multiplied by T²."""
    mlm_weight: float = 2.0
    """Weight of the masked-LM loss."""
    soft_weight: float = 5.0
    """Weight of the divergence from the teacher's distributions at the masked positions."""
    cosine_weight: float = 1.0
    """Weight of 1 - cosine between the last hidden states of all positions; 0 where the widths differ."""
    trust_remote_code: bool = False
    """Run model code that comes with `teacher`."""

    def __post_init__(self) -> None:
        check_numbers(
            self,
            "distil.",
            temperature=TEMPERATURE,
            mlm_weight=WEIGHT,
            soft_weight=WEIGHT,
            cosine_weight=WEIGHT,
        )
        _require(
            max(self.soft_weight, self.cosine_weight) > 0,
            "expected `distil.soft_weight` or `distil.cosine_weight` above 0, got 0 for both; give "
            "one of them",
        )
        chosen = [
            f"`distil.{each.name}`" for each in fields(self) if getattr(self, each.name) != each.default
        ]
        _require(
            self.teacher is not None or not chosen,
            f"{', '.join(chosen)} means nothing without a teacher, got none; give `distil.teacher` as well",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrain:
    """Masked-language-model pre-training."""

    student: str = "2-128"
    """Which of the 24 to train from random weights."""
    start: str | None = None
    """Encoder to start from instead: Hub id (`NAME@REVISION`) or folder."""
    dropout: float | None = None
    """Dropout of hidden states and attention while pre-training, 0.1 by default; the saved config says 0.1.
    An encoder to `start` from keeps its own."""
    block_lengths: tuple[int, ...] = (128,)
    """Tokens a block, phase by phase, e.g. `128 512`."""
    phase_shares: tuple[float, ...] = (1.0,)
    """Share of the steps, the minutes or the epochs that each phase gets, e.g. `0.9 0.1`."""
    epochs: float = 1.0
    """Passes over the corpus, unless `steps` or `minutes` is given."""
    steps: int | None = None
    """Optimizer steps."""
    minutes: float | None = None
    """Wall time: the schedule is shaped to end on time."""
    mask_share: float = 0.15
    """Share of a block's tokens that are predicted."""
    whole_word: bool = False
    """Mask all pieces of a word together."""
    next_sentence: bool = False
    """Predict as well whether the second half of a row follows the first (BERT's own pre-training, "MLM+");
    a row of a source is a document. The result is a `BertForPreTraining` with a trained pooler."""
    distil: Distil = field(default_factory=Distil)
    """A masked LM to learn from as DistilBERT does."""
    optim: Optim = field(default_factory=lambda: Optim(learning_rate=1e-3, batch_size=32))
    """Optimizer of pre-training; `batch_size` counts blocks."""
    seed: int = 0
    """Seed of the weights, the order of the blocks, the masks and the dropout."""
    trust_remote_code: bool = False
    """Run model code that comes with `start`."""

    def __post_init__(self) -> None:
        Student.parse(self.student)
        _require(
            self.steps is None or self.minutes is None,
            f"give `steps` or `minutes`, not both, got {self.steps} and {self.minutes}",
        )
        check_numbers(
            self,
            dropout=SHARE,
            block_lengths=LENGTH,
            phase_shares=Range(0, 1, above=True),
            epochs=EPOCHS,
            steps=STEPS,
            # A year.
            minutes=Range(0, 525_600, above=True),
            mask_share=Range(0, 1, above=True, below=True),
            seed=SEED,
        )
        _require(
            len(self.block_lengths) == len(self.phase_shares) > 0,
            f"`block_lengths` and `phase_shares` must be of one length, got {len(self.block_lengths)} "
            f"and {len(self.phase_shares)}",
        )
        _require(
            abs(sum(self.phase_shares) - 1) < 1e-6,
            f"`phase_shares` must add up to 1, got {' '.join(map(str, self.phase_shares))}",
        )
        _require(
            self.dropout is None or self.start is None,
            f"`dropout` {self.dropout} is for random weights, but `start` {self.start} brings a dropout of "
            "its own; leave out one of the two",
        )
        _require(
            not self.next_sentence or self.distil.teacher is None,
            f"`next_sentence` and `distil.teacher` {self.distil.teacher} are two ways to pre-train: "
            "DistilBERT has no next-sentence prediction; leave out one of the two",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """A student's first weights, taken from another BERT of the same width."""

    source: str | None = None
    """BERT to take from: Hub id (`NAME@REVISION`) or folder; a classifier will do."""
    student: str | None = None
    """Which of the 24 to make, as wide as the source; default: half as deep as the source."""
    keep: Kept = "first"
    """What to take: the `first` layers (truncated), layers `spread` evenly over the source, the first among
    them (DistilBERT), or the word `embeddings` alone."""
    layers: tuple[int, ...] = ()
    """Take these layers of the source instead, by number from 1, e.g. `1 3 5`."""
    tokenizer: str | None = None
    """Hub id (`NAME@REVISION`) or folder of the tokenizer; default: the one that lies with `source`."""
    seed: int = 0
    """Seed of all weights that are not taken."""

    def __post_init__(self) -> None:
        student = None if self.student is None else Student.parse(self.student)
        check_numbers(self, layers=SEVERAL, seed=SEED)
        _require(
            not self.layers or self.keep == "first",
            f"`layers` names layers and `keep` {self.keep} chooses its own; leave out one of the two",
        )
        _require(
            student is None or not self.layers or len(self.layers) == student.layers,
            f"`student` {self.student} and `layers` {' '.join(map(str, self.layers))} differ in their "
            "number of layers; leave out one of the two",
        )
        _require(
            self.keep != "embeddings" or student is not None,
            "`keep` embeddings takes no layers, so it does not say how many the student gets; give `student`",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a classifier's weights come from: random ones of a student, or an encoder that is there."""

    student: str | None = None
    """Which of the 24 to start from random weights; without `weights`."""
    weights: str | None = None
    """Encoder or classifier to start from: Hub id (`NAME@REVISION`) or folder."""
    tokenizer: str | None = None
    """Hub id or folder of the tokenizer; default: the one that lies with `weights`."""
    trust_remote_code: bool = False
    """Run model code that comes with `weights`."""

    def __post_init__(self) -> None:
        _require(
            self.student is None or self.weights is None,
            f"give `start.student` or `start.weights`, not both, got {self.student} and {self.weights}; "
            "`start.weights` None leaves out a recipe's own",
        )
        if self.weights is None:
            _require(
                self.tokenizer is not None,
                "random weights come without a tokenizer; name one with `start.tokenizer`, e.g. "
                "google-bert/bert-base-uncased",
            )
            _require(self.student is not None, "give `start.student` or `start.weights`, got neither")
            Student.parse(str(self.student))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """One run of supervised training: fine-tuning on labels, or distillation on soft labels."""

    epochs: float = 4.0
    """Passes over the training rows."""
    evaluations: int = 4
    """Evaluations, evenly spread; the best one's weights are kept."""
    patience: int | None = None
    """Stop after this many evaluations without a better score."""
    max_length: int = 128
    """Tokens a row; longer ones are cut."""
    optim: Optim = field(default_factory=Optim)
    """Optimizer of this run."""
    seed: int = 0
    """Seed of the new weights, the order of the rows and the dropout."""

    def __post_init__(self) -> None:
        check_numbers(self, epochs=EPOCHS, evaluations=COUNT, patience=COUNT, max_length=LENGTH, seed=SEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """LoRA: small matrices beside the encoder's weights are trained, and the classifier, in place of all."""

    lora_rank: int | None = None
    """Rank of LoRA's matrices, e.g. 8 (needs peft); default: no LoRA, all weights are trained."""
    lora_alpha: int | None = None
    """LoRA's part is multiplied by this over the rank; default: twice the rank."""
    lora_dropout: float = 0.0
    """Dropout before LoRA's matrices, on top of the encoder's own."""
    lora_targets: tuple[str, ...] = ()
    """Linear layers that get LoRA, by the end of their names, e.g. `query value`; default: all of the
    encoder's."""
    lora_adapter: bool = True
    """Keep what was trained in `adapter/` as well, in peft's format, beside the merged model."""

    def __post_init__(self) -> None:
        check_numbers(self, lora_rank=Range(1, 4_096), lora_alpha=COUNT, lora_dropout=SHARE)
        given = {
            "`lora_alpha`": self.lora_alpha is not None,
            "`lora_dropout`": self.lora_dropout > 0,
            "`lora_targets`": bool(self.lora_targets),
            "`lora_adapter`": not self.lora_adapter,
        }
        alone = [option for option, is_given in given.items() if is_given and self.lora_rank is None]
        _require(
            not alone,
            f"{', '.join(alone)} means nothing without LoRA, got no rank; give `lora_rank` as well, e.g. 8",
        )

    @property
    def scale(self) -> int:
        """LoRA's alpha, given or twice the rank."""
        return self.lora_alpha or 2 * (self.lora_rank or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The transfer set: text without labels that the teacher labels."""

    sources: tuple[str, ...] = ("task",)
    """`task` (the task's training text without its labels) and sources as in a corpus, with `column=A` or
    `column=A+B`."""
    rows: int | None = None
    """Draw this many rows with `seed`; default: all."""
    seed: int = 0
    """Seed of that draw."""

    def __post_init__(self) -> None:
        _require(bool(self.sources), "`transfer.sources` needs at least one source of text, got none")
        check_numbers(self, "transfer.", rows=COUNT, seed=SEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The labelling pass of a teacher over a transfer set."""

    max_length: int = 128
    """Tokens a row for the teacher; longer ones are cut."""
    batch_tokens: int = 8192
    """Tokens a batch, padding included; a CPU takes 2,048 at most."""
    shard_rows: int = 4096
    """Rows a shard; a killed pass loses one shard at most."""
    teacher_labels: tuple[str, ...] = ()
    """The teacher's label names in the order of its outputs, where its config has none."""
    states: tuple[int, ...] = ()
    """Layers of the teacher, counted from 1, whose [CLS] states are stored as well, e.g. `2 4` (fp16)."""
    trust_remote_code: bool = False
    """Run model code that comes with the teacher."""

    def __post_init__(self) -> None:
        _require(
            all(layer > 0 for layer in self.states) and len(set(self.states)) == len(self.states),
            "`states` names layers of the teacher, counted from 1, each once, got "
            f"{' '.join(map(str, self.states))}",
        )
        # A batch of tokens is held in memory, and so are a shard's rows.
        check_numbers(
            self,
            states=SEVERAL,
            max_length=LENGTH,
            shard_rows=Range(1, 10_000_000),
            batch_tokens=Range(1, 2**26),
        )
        _require(
            self.batch_tokens >= self.max_length,
            f"`batch_tokens` must hold one row of `max_length` {self.max_length}, got {self.batch_tokens}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What distillation minimises; the defaults are the paper's: soft cross-entropy alone at T = 1."""

    temperature: float = 1.0
    """Softens both distributions; the loss is multiplied by T²."""
    hard_label_share: float = 0.0
    """Weight of the cross-entropy with the true labels, 0 to 1."""
    method: str = "soft-labels"
    """`soft-labels` (Turc et al. 2019) or `patient` (Sun et al. 2019: [CLS] states as well)."""
    layers: tuple[str, ...] = ("skip",)
    """Whose [CLS] states `patient` compares: `skip` (layer j of the student's S with floor(j · T / S) of the
    teacher's T), `last` (with T - S + j), both but for layer S; or pairs STUDENT:TEACHER, e.g. `1:4 2:8`."""
    states_weight: float = 1.0
    """Weight (β) of the distance of [CLS] states."""
    projection: bool = False
    """Learn a projection of the student's states to the teacher's width (the method's paper has equal
    widths)."""

    def __post_init__(self) -> None:
        check_numbers(self, temperature=TEMPERATURE, hard_label_share=Range(0, 1), states_weight=WEIGHT)
        pair = r"[1-9]\d{0,3}:[1-9]\d{0,3}"
        pairs = bool(self.layers) and all(re.fullmatch(pair, layer, re.ASCII) for layer in self.layers)
        _require(
            pairs or self.layers in (("skip",), ("last",)),
            "`layers` takes skip, last, or pairs STUDENT:TEACHER counted from 1, e.g. 1:4 2:8; got "
            f"{' '.join(self.layers) or 'nothing'}",
        )
