"""Settings of training: how a run is carried out, pre-training, first weights, tuning, labelling."""

import os
import re
import sys
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from wellread_hf.errors import SettingsError, nearest
from wellread_hf.settings.fields import (
    FEW,
    Batch,
    Count,
    Epochs,
    Length,
    Minutes,
    Number,
    Rate,
    Seed,
    Several,
    Share,
    Steps,
    StudentName,
    Temperature,
    Weight,
    checked,
    each_once,
)
from wellread_hf.students import Student

# One of these is there wherever torch may find a GPU: of NVIDIA, of AMD, of Windows below Linux.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/kfd", "/dev/dxg")

Precision = Literal["auto", "fp32", "bf16"]
Schedule = Literal["linear", "cosine"]
Kept = Literal["first", "spread", "embeddings"]


def _known_trackers(names: tuple[str, ...]) -> tuple[str, ...]:
    if not set(names) - {"none"}:
        return names
    # Only here: transformers takes seconds to import.
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    known = [*INTEGRATION_TO_CALLBACK, "all", "none"]
    installed = get_available_reporting_integrations()  # type: ignore[no-untyped-call]  # untyped there
    for name in names:
        if name not in known:
            raise SettingsError(
                f"`running.report_to`: expected trackers that transformers knows ({', '.join(known)}), got "
                f"{name!r}; the nearest is {nearest(name, known, 1)}"
            )
        if name not in (*installed, "all", "none"):
            raise SettingsError(
                f"`running.report_to` {name}: its package is not installed; install it, or take one of "
                f"those that are: {', '.join(installed) or 'none'}"
            )
    return names


def _in_utf8(path: Path) -> Path:
    if re.search("[\ud800-\udfff]", str(path)):
        raise ValueError(f"expected a name in UTF-8, which safetensors needs, got {str(path)!a}")
    return path


@checked("running")
class Running:
    """How a run is carried out; nothing here changes its result."""

    runs: Annotated[Path, AfterValidator(_in_utf8)] = Path("runs")
    """Folder that receives one folder a stage."""
    # As in transformers: a killed run loses minutes, and few checkpoints are written.
    checkpoint_steps: Count = 500
    """Optimizer steps between two checkpoints of pre-training."""
    report_to: Annotated[tuple[str, ...], AfterValidator(_known_trackers)] = ()
    """Trackers that transformers knows, e.g. `tensorboard` or `trackio`."""
    # Rows are ready before training; processes pay only where a GPU waits for batches.
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes that prepare batches beside the training process."""
    micro_batch_size: Batch | None = None
    """Most rows that a process handles at once; the rest of its share of a batch is accumulated."""


@checked()
class Optim:
    """AdamW and its learning-rate schedule."""

    # For soft labels; labels get less in the recipes, as in the release's grid (3e-4 to 3e-5).
    learning_rate: Rate = 5e-4
    """Peak learning rate."""
    # In the middle of the release's grid, 8 to 128.
    batch_size: Batch = 32
    """Rows in one optimizer step, over all processes and accumulation steps together."""
    # BERT's share in fine-tuning.
    warmup: Share = 0.1
    """Share of the steps in which the learning rate rises from 0 to its peak."""
    schedule: Schedule = "linear"
    """How the learning rate falls to 0 after the warm-up."""
    # BERT's, and so are the clipping and the second-moment decay below.
    weight_decay: Annotated[Number, Field(ge=0, le=1_000)] = 0.01
    """Decoupled weight decay (not on biases and layer norms)."""
    beta2: Share = 0.999
    """AdamW's second-moment decay."""
    # In fp32 less than the lower bound is 0, which divides by 0 where a gradient is 0.
    epsilon: Annotated[Number, Field(ge=1e-30, le=1)] = 1e-6
    """AdamW's epsilon; 1e-6 as in BERT's own optimizer."""
    max_grad_norm: Annotated[Number, Field(gt=0, le=1e6)] = 1.0
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


@checked("distil")
class Distil:
    """DistilBERT: beside the text, a masked LM that has learnt more says what it would fill in."""

    teacher: str | None = None
    """Masked LM to learn from, with the student's tokenizer: Hub id (`NAME@REVISION`) or folder; default:
    none, the student learns from the text alone."""
    # DistilBERT's own values, from here on.
    temperature: Temperature = 2.0
    """Softens both distributions over the vocabulary; that loss is multiplied by T²."""
    mlm_weight: Weight = 2.0
    """Weight of the masked-LM loss."""
    soft_weight: Weight = 5.0
    """Weight of the divergence from the teacher's distributions at the masked positions."""
    cosine_weight: Weight = 1.0
    """Weight of 1 - cosine between the last hidden states of all positions; 0 where the widths differ."""
    trust_remote_code: bool = False
    """Run model code that comes with `teacher`."""

    @model_validator(mode="after")
    def _learns_from_a_teacher(self) -> "Distil":
        if not max(self.soft_weight, self.cosine_weight) > 0:
            raise SettingsError(
                "expected `distil.soft_weight` or `distil.cosine_weight` above 0, got 0 for both; give one "
                "of them"
            )
        chosen = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        if self.teacher is None and chosen:
            names = ", ".join(f"`distil.{name}`" for name in chosen)
            raise SettingsError(f"{names}: expected a teacher as well, got none; give `distil.teacher`")
        return self


@checked()
class Pretrain:
    """Masked-language-model pre-training."""

    student: StudentName = "2-128"
    """Which of the 24 to train from random weights."""
    start: str | None = None
    """Encoder to start from instead: Hub id (`NAME@REVISION`) or folder."""
    dropout: Share | None = None
    """Dropout of hidden states and attention while pre-training, 0.1 by default; the saved config says 0.1.
    An encoder to `start` from keeps its own."""
    # Four times faster a token than 512, and enough for GLUE's sentences; BERT did so for 90 % of its steps.
    block_lengths: Annotated[tuple[Length, ...], FEW] = (128,)
    """Tokens a block, phase by phase, e.g. `128 512`."""
    phase_shares: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], FEW] = (1.0,)
    """Share of the steps, the minutes or the epochs that each phase gets, e.g. `0.9 0.1`."""
    epochs: Epochs = 1.0
    """Passes over the corpus, unless `steps` or `minutes` is given."""
    steps: Steps | None = None
    """Optimizer steps."""
    minutes: Minutes | None = None
    """Wall time: the schedule is shaped to end on time."""
    # BERT's.
    mask_share: Annotated[Number, Field(gt=0, lt=1)] = 0.15
    """Share of a block's tokens that are predicted."""
    whole_word: bool = False
    """Mask all pieces of a word together."""
    next_sentence: bool = False
    """Predict as well whether the second half of a row follows the first (BERT's own pre-training, "MLM+");
    a row of a source is a document. The result is a `BertForPreTraining` with a trained pooler."""
    distil: Distil = field(default_factory=Distil)
    """A masked LM to learn from as DistilBERT does."""
    # Small students take a larger step than BERT's 1e-4: docs/log.md.
    optim: Optim = field(default_factory=lambda: Optim(learning_rate=1e-3, batch_size=32))
    """Optimizer of pre-training; `batch_size` counts blocks."""
    seed: Seed = 0
    """Seed of the weights, the order of the blocks, the masks and the dropout."""
    trust_remote_code: bool = False
    """Run model code that comes with `start`."""

    @model_validator(mode="after")
    def _phases_share_one_length(self) -> "Pretrain":
        if self.steps is not None and self.minutes is not None:
            raise SettingsError(f"give `steps` or `minutes`, not both, got {self.steps} and {self.minutes}")
        if not len(self.block_lengths) == len(self.phase_shares) > 0:
            raise SettingsError(
                "`block_lengths` and `phase_shares` must be of one length, got "
                f"{len(self.block_lengths)} and {len(self.phase_shares)}"
            )
        if abs(sum(self.phase_shares) - 1) >= 1e-6:
            raise SettingsError(
                f"`phase_shares` must add up to 1, got {' '.join(map(str, self.phase_shares))}"
            )
        return self

    @model_validator(mode="after")
    def _is_one_way_to_pretrain(self) -> "Pretrain":
        if self.dropout is not None and self.start is not None:
            raise SettingsError(
                f"`dropout` {self.dropout} is for random weights, but `start` {self.start} brings a dropout "
                "of its own; leave out one of the two"
            )
        if self.next_sentence and self.distil.teacher is not None:
            raise SettingsError(
                f"`next_sentence` and `distil.teacher` {self.distil.teacher} are two ways to pre-train: "
                "DistilBERT has no next-sentence prediction; leave out one of the two"
            )
        return self


@checked()
class Init:
    """A student's first weights, taken from another BERT of the same width."""

    source: str | None = None
    """BERT to take from: Hub id (`NAME@REVISION`) or folder; a classifier will do."""
    student: StudentName | None = None
    """Which of the 24 to make, as wide as the source; default: half as deep as the source."""
    keep: Kept = "first"
    """What to take: the `first` layers (truncated), layers `spread` evenly over the source, the first among
    them (DistilBERT), or the word `embeddings` alone."""
    layers: Annotated[tuple[Several, ...], FEW] = ()
    """Take these layers of the source instead, by number from 1, e.g. `1 3 5`."""
    tokenizer: str | None = None
    """Hub id (`NAME@REVISION`) or folder of the tokenizer; default: the one that lies with `source`."""
    seed: Seed = 0
    """Seed of all weights that are not taken."""

    @model_validator(mode="after")
    def _layers_fit_the_student(self) -> "Init":
        if self.layers and self.keep != "first":
            raise SettingsError(
                f"`layers` names layers and `keep` {self.keep} chooses its own; leave out one of the two"
            )
        if self.student and self.layers and len(self.layers) != Student.parse(self.student).layers:
            raise SettingsError(
                f"`student` {self.student} and `layers` {' '.join(map(str, self.layers))} differ in their "
                "number of layers; leave out one of the two"
            )
        if self.keep == "embeddings" and self.student is None:
            raise SettingsError(
                "`keep` embeddings takes no layers, so it does not say how many the student gets; give "
                "`student`"
            )
        return self


@checked("start")
class Start:
    """Where a classifier's weights come from: random ones of a student, or an encoder that is there."""

    student: StudentName | None = None
    """Which of the 24 to start from random weights; without `weights`."""
    weights: str | None = None
    """Encoder or classifier to start from: Hub id (`NAME@REVISION`) or folder."""
    tokenizer: str | None = None
    """Hub id or folder of the tokenizer; default: the one that lies with `weights`."""
    trust_remote_code: bool = False
    """Run model code that comes with `weights`."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> "Start":
        if self.student is not None and self.weights is not None:
            raise SettingsError(
                f"give `start.student` or `start.weights`, not both, got {self.student} and {self.weights}; "
                "`start.weights` None leaves out a recipe's own"
            )
        if self.weights is None and self.tokenizer is None:
            raise SettingsError(
                "random weights come without a tokenizer; name one with `start.tokenizer`, e.g. "
                "google-bert/bert-base-uncased"
            )
        if self.weights is None and self.student is None:
            raise SettingsError("give `start.student` or `start.weights`, got neither")
        return self


@checked()
class Tuning:
    """One run of supervised training: fine-tuning on labels, or distillation on soft labels."""

    # The release's.
    epochs: Epochs = 4.0
    """Passes over the training rows."""
    # The release kept the best on dev as well; more of them cost time and overfit dev.
    evaluations: Count = 4
    """Evaluations, evenly spread; the best one's weights are kept."""
    patience: Count | None = None
    """Stop after this many evaluations without a better score."""
    # Holds nearly all rows of GLUE.
    max_length: Length = 128
    """Tokens a row; longer ones are cut."""
    optim: Optim = field(default_factory=Optim)
    """Optimizer of this run."""
    seed: Seed = 0
    """Seed of the new weights, the order of the rows and the dropout."""


@checked()
class Lora:
    """LoRA: small matrices beside the encoder's weights are trained, and the classifier, in place of all."""

    lora_rank: Annotated[int, Field(ge=1, le=4_096)] | None = None
    """Rank of LoRA's matrices, e.g. 8; default: no LoRA, all weights are trained."""
    # Twice the rank keeps the learning rate's meaning when the rank changes.
    lora_alpha: Count | None = None
    """LoRA's part is multiplied by this over the rank; default: twice the rank."""
    lora_dropout: Share = 0.0
    """Dropout before LoRA's matrices, on top of the encoder's own."""
    lora_targets: tuple[str, ...] = ()
    """Linear layers that get LoRA, by the end of their names, e.g. `query value`; default: all of the
    encoder's."""
    lora_adapter: bool = True
    """Keep what was trained in `adapter/` as well, in peft's format, beside the merged model."""

    @model_validator(mode="after")
    def _has_a_rank(self) -> "Lora":
        given = {
            "`lora_alpha`": self.lora_alpha is not None,
            "`lora_dropout`": self.lora_dropout > 0,
            "`lora_targets`": bool(self.lora_targets),
            "`lora_adapter`": not self.lora_adapter,
        }
        alone = [name for name, is_given in given.items() if is_given and self.lora_rank is None]
        if alone:
            raise SettingsError(
                f"{', '.join(alone)}: expected LoRA's rank as well, got none; give `lora_rank`, e.g. 8"
            )
        return self

    @property
    def scale(self) -> int:
        """LoRA's alpha, given or twice the rank."""
        return self.lora_alpha or 2 * (self.lora_rank or 0)


@checked()
class Label:
    """The labelling pass of a teacher over a transfer set."""

    # A student's default, so that both read the same words.
    max_length: Length = 128
    """Tokens a row for the teacher; longer ones are cut."""
    # Fills a GPU; a batch of tokens is held in memory, and so are a shard's rows.
    batch_tokens: Annotated[int, Field(ge=1, le=2**26)] = 8192
    """Tokens a batch, padding included; a CPU takes 2,048 at most."""
    # Seconds to minutes of a large teacher's work.
    shard_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 4096
    """Rows a shard; a killed pass loses one shard at most."""
    teacher_labels: tuple[str, ...] = ()
    """The teacher's label names in the order of its outputs, where its config has none."""
    states: Annotated[tuple[Several, ...], FEW, each_once(least=0)] = ()
    """Layers of the teacher, counted from 1, whose [CLS] states are stored as well, e.g. `2 4` (fp16)."""
    trust_remote_code: bool = False
    """Run model code that comes with the teacher."""

    @model_validator(mode="after")
    def _a_batch_holds_a_row(self) -> "Label":
        if self.batch_tokens < self.max_length:
            raise SettingsError(
                f"`batch_tokens` must hold one row of `max_length` {self.max_length}, got {self.batch_tokens}"
            )
        return self


@checked()
class Objective:
    """What distillation minimises; the defaults are the paper's: soft cross-entropy alone at T = 1."""

    temperature: Temperature = 1.0
    """Softens both distributions; the loss is multiplied by T²."""
    hard_label_share: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """Weight of the cross-entropy with the true labels, 0 to 1."""
    method: str = "soft-labels"
    """`soft-labels` (Turc et al. 2019) or `patient` (Sun et al. 2019: [CLS] states as well)."""
    layers: tuple[str, ...] = ("skip",)
    """Whose [CLS] states `patient` compares: `skip` (layer j of the student's S with floor(j · T / S) of the
    teacher's T), `last` (with T - S + j), both but for layer S; or pairs STUDENT:TEACHER, e.g. `1:4 2:8`."""
    states_weight: Weight = 1.0
    """Weight (β) of the distance of [CLS] states."""
    projection: bool = False
    """Learn a projection of the student's states to the teacher's width (the method's paper has equal
    widths)."""

    @model_validator(mode="after")
    def _layers_are_a_map(self) -> "Objective":
        pair = r"[1-9]\d{0,3}:[1-9]\d{0,3}"
        pairs = bool(self.layers) and all(re.fullmatch(pair, layer, re.ASCII) for layer in self.layers)
        if not pairs and self.layers not in (("skip",), ("last",)):
            raise SettingsError(
                "`layers` takes skip, last, or pairs STUDENT:TEACHER counted from 1, e.g. 1:4 2:8; got "
                f"{' '.join(self.layers) or 'nothing'}"
            )
        return self
