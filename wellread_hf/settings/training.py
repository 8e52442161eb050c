"""Training on a task: the start, the tuning, LoRA, a teacher's labels and what is minimised."""

import re
from dataclasses import field
from math import inf
from typing import Annotated

from pydantic import Field, model_validator

from wellread_hf.errors import SettingsError
from wellread_hf.settings.fields import (
    FEW,
    Count,
    Epochs,
    Length,
    Number,
    Seed,
    Several,
    Share,
    StudentName,
    Temperature,
    Weight,
    Whole,
    checked,
    each_once,
)
from wellread_hf.settings.run import Optim


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


BALANCED = "balanced"


def _is_weight(text: str) -> bool:
    try:
        return 0 < float(text) < inf
    except ValueError:
        return False


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
    class_weights: tuple[str, ...] = ()
    """Weights of the classes of true labels: `balanced` (rows / (classes · rows of the class)), or
    CLASS=WEIGHT, e.g. `rare=5`; classes that are not named weigh 1. Default: all alike."""
    optim: Optim = field(default_factory=Optim)
    """Optimizer of this run."""
    seed: Seed = 0
    """Seed of the new weights, the order of the rows and the dropout."""

    @model_validator(mode="after")
    def _class_weights_are_numbers(self) -> "Tuning":
        if self.class_weights == (BALANCED,):
            return self
        named = [given.rpartition("=") for given in self.class_weights]
        wrong = [f"{name}{of}{weight}" for name, of, weight in named if not (name and _is_weight(weight))]
        if wrong:
            raise SettingsError(
                f"`class_weights`: expected {BALANCED}, or CLASS=WEIGHT with a finite number above 0, e.g. "
                f"rare=5, got {' '.join(wrong)}"
            )
        names = [name for name, _, _ in named]
        if len(set(names)) < len(names):
            raise SettingsError(
                f"`class_weights`: expected each class once, got {' '.join(self.class_weights)}"
            )
        return self


@checked()
class Lora:
    """LoRA: small matrices beside the encoder's weights are trained, and the classifier, in place of all."""

    lora_rank: Annotated[Whole, Field(ge=1, le=4_096)] | None = None
    """Rank of LoRA's matrices, e.g. 8; default: no LoRA, all weights are trained."""
    # Twice the rank keeps the learning rate's meaning when the rank changes.
    lora_alpha: Count | None = None
    """LoRA's part is multiplied by this over the rank; default: twice the rank."""
    lora_dropout: Share = 0.0
    """Dropout before LoRA's matrices, on top of the encoder's own."""
    # Students are small, so LoRA for all layers costs little.
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
    batch_tokens: Annotated[Whole, Field(ge=1, le=2**26)] = 8192
    """Tokens a batch, padding included; a CPU takes 2,048 at most."""
    # Seconds to minutes of a large teacher's work.
    shard_rows: Annotated[Whole, Field(ge=1, le=10_000_000)] = 4096
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
