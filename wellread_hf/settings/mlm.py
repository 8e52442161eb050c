"""Pre-training by masked LM, and first weights taken from another BERT."""

from dataclasses import field, fields
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wellread_hf.errors import SettingsError
from wellread_hf.settings.fields import (
    FEW,
    Epochs,
    Length,
    Minutes,
    Number,
    Seed,
    Several,
    Share,
    Steps,
    StudentName,
    Temperature,
    Weight,
    checked,
)
from wellread_hf.settings.run import Optim
from wellread_hf.students import Student

Kept = Literal["first", "spread", "embeddings", "grow"]


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

    # The smallest of the 24, and the fastest to train.
    student: StudentName = "2-128"
    """Which of the 24 to train, from random weights or grown."""
    start: str | None = None
    """Encoder to start from instead: Hub id (`NAME@REVISION`) or folder."""
    grow: str | None = None
    """Smaller pre-trained BERT of the same words to grow `student` from, by stacking layers and copying
    channels: Hub id (`NAME@REVISION`) or folder."""
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
    toy: bool = False
    """Train a toy of the student, a sixteenth as wide and with as many layers and heads: minutes show a whole
    path, and nothing of what the student would learn."""
    trust_remote_code: bool = False
    """Run model code that comes with `start`."""

    @model_validator(mode="after")
    def _phases_share_one_length(self) -> "Pretrain":
        if self.steps is not None and self.minutes is not None:
            raise SettingsError(f"give `steps` or `minutes`, not both, got {self.steps} and {self.minutes}")
        # One pass is the default, so only other values are known to be given.
        if self.epochs != 1 and not self.steps is self.minutes is None:
            given = f"`steps` {self.steps}" if self.minutes is None else f"`minutes` {self.minutes}"
            raise SettingsError(f"give `epochs` or {given}, not both, got `epochs` {self.epochs} as well")
        if not len(self.block_lengths) == len(self.phase_shares) > 0:
            raise SettingsError(
                "`block_lengths` and `phase_shares` must be of one length, got "
                f"{len(self.block_lengths)} and {len(self.phase_shares)}"
            )
        # Shares such as thirds have no exact sum.
        if abs(sum(self.phase_shares) - 1) >= 1e-6:
            raise SettingsError(
                f"`phase_shares` must add up to 1, got {' '.join(map(str, self.phase_shares))}"
            )
        return self

    @model_validator(mode="after")
    def _is_one_way_to_pretrain(self) -> "Pretrain":
        if self.grow is not None and self.start is not None:
            raise SettingsError(
                f"`grow` {self.grow} gives `student` its first weights, and `start` {self.start} brings its "
                "own; leave out one of the two"
            )
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
    """A student's first weights, taken from another BERT of the same width, or grown from a smaller one."""

    source: str | None = None
    """BERT to take from: Hub id (`NAME@REVISION`) or folder; a classifier will do."""
    student: StudentName | None = None
    """Which of the 24 to make, as wide as the source unless it grows; default: half as deep as the source."""
    keep: Kept = "first"
    """What to take: the `first` layers (truncated), layers `spread` evenly over the source, the first among
    them (DistilBERT), the word `embeddings` alone, or all of a smaller source, to `grow` it: layers are
    stacked, channels copied."""
    layers: Annotated[tuple[Several, ...], FEW] = ()
    """Take these layers of the source instead, by number from 1, e.g. `1 3 5`."""
    tokenizer: str | None = None
    """Hub id (`NAME@REVISION`) or folder of the tokenizer; default: the one that lies with `source`."""
    toy: bool = False
    """With `keep` grow: source and result are toys of students, as of `Pretrain.toy`."""
    seed: Seed = 0
    """Seed of all weights that are not taken, and of how copies share theirs."""

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
        if self.keep in ("embeddings", "grow") and self.student is None:
            raise SettingsError(
                f"`keep` {self.keep} does not say how many layers the student gets; give `student`"
            )
        if self.toy and self.keep != "grow":
            raise SettingsError(f"`toy` is for `keep` grow, got {self.keep}; leave out one of the two")
        return self
