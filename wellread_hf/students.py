"""The 24 students: names, sizes, exact parameter counts.

Source: Turc et al. 2019, section 4 and Table 1a; names of the release at `google/bert_uncased_L-*_H-*_A-*`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from wellread_hf.errors import UnknownNameError, nearest

if TYPE_CHECKING:
    from transformers import BertConfig

# How a student learns a task: from labels or from a teacher, as it was made or pre-trained before.
Method = Literal["basic", "distillation", "pf", "pd"]
METHODS: tuple[Method, ...] = get_args(Method)


class Look(NamedTuple):
    """How tables and charts show a method."""

    title: str  # its name in the paper
    colour: str  # as matplotlib takes it
    mark: str  # a marker of matplotlib


# One look in all charts. Okabe and Ito's colours differ for colour-blind readers too, marks in grey print.
LOOKS: dict[str, Look] = {
    "basic": Look("Basic", "#009e73", "v"),
    "distillation": Look("Distillation", "#e69f00", "^"),
    "pf": Look("PF", "#0072b2", "o"),
    "pd": Look("PD", "#d55e00", "s"),
    "pdf": Look("PD-F", "#cc79a7", "D"),
    "tf": Look("TF", "#56b4e9", "<"),
    "patient": Look("Patient KD", "#7a5c00", "P"),
    "distilbert": Look("DistilBERT", "#555555", "X"),
}
METHOD_TITLES: dict[str, str] = {name: look.title for name, look in LOOKS.items()}

# Google's weights of any of the 24.
RELEASED = "google/bert_uncased_L-{layers}_H-{hidden}_A-{heads}"

# The paper's grid (Table 1a).
LAYERS = (2, 4, 6, 8, 10, 12)
HIDDEN = (128, 256, 512, 768)
# BERT's own sizes, from here on: the 24 differ from it in depth and width alone.
HEAD_SIZE = 64
POSITIONS = 512
SEGMENTS = 2
VOCABULARY = 30_522
BERT_DROPOUT = 0.1
# A toy of a student has as many layers and heads, and this part of its width.
TOY_PART = 16

_ALIASES = {(2, 128): "tiny", (4, 256): "mini", (4, 512): "small", (8, 512): "medium", (12, 768): "base"}
_SELECTION = re.compile(r"([lh])=(\d{1,5})")
# At most five digits, since Python refuses to read numbers of thousands of digits.
_PATTERNS = (
    re.compile(r"(?:bert-)?(\d{1,5})-(\d{1,5})"),
    re.compile(r"(?:google/bert_)?uncased_L-(\d{1,5})_H-(\d{1,5})_A-(\d{1,5})"),
)


class Shape(NamedTuple):
    """How many layers a model has, and how wide its states are."""

    layers: int
    width: int


@dataclass(frozen=True, slots=True, order=True)
class Student:
    """One of the paper's 24 architectures.

    Attributes:
        layers: Number of Transformer layers L, one of `LAYERS`.
        hidden: Width H, one of `HIDDEN`; H / 64 attention heads, feed-forward width 4H.

    Raises:
        UnknownNameError: (layers, hidden) is not one of the 24; the message names the nearest.
    """

    layers: int
    hidden: int

    def __post_init__(self) -> None:
        if self.layers not in LAYERS or self.hidden not in HIDDEN:
            raise UnknownNameError(_refusal(f"{self.layers}-{self.hidden}", self.layers, self.hidden))

    @property
    def shape(self) -> Shape:
        """Depth and width, which other models have as well."""
        return Shape(self.layers, self.hidden)

    @classmethod
    def parse(cls, name: str) -> "Student":
        """Reads `bert-4-256`, `4-256`, `mini` or `google/bert_uncased_L-4_H-256_A-4`.

        Raises:
            UnknownNameError: `name` is none of the 24; the message names the nearest.
        """
        for (layers, hidden), alias in _ALIASES.items():
            if name.lower() == alias:
                return cls(layers, hidden)
        for pattern in _PATTERNS:
            if match := pattern.fullmatch(name):
                layers, hidden, *heads = map(int, match.groups())
                if heads and heads[0] * HEAD_SIZE != hidden:
                    raise UnknownNameError(_refusal(name, layers, hidden))
                try:
                    return cls(layers, hidden)
                except UnknownNameError:
                    raise UnknownNameError(_refusal(name, layers, hidden)) from None
        raise UnknownNameError(
            f"expected one of the 24 students, got {name!r}; write it as bert-4-256, 4-256, "
            f"google/bert_uncased_L-4_H-256_A-4 or one of {', '.join(_ALIASES.values())}, or where several "
            "are asked for all, l=2 or h=128; the nearest is "
            f"{nearest(name.lower(), [*_ALIASES.values(), *(student.name for student in STUDENTS)], 1)}"
        )

    @classmethod
    def of_model(cls, layers: int, hidden: int, heads: int) -> "Student":
        """Returns which student a model is by its config, or a toy of which.

        Raises:
            UnknownNameError: It is none of the 24.
        """
        toy = hidden * TOY_PART == heads * HEAD_SIZE
        return cls(layers, hidden * TOY_PART if toy else hidden)

    def width(self, toy: bool) -> int:
        """Returns the width H, or that of a toy of the student."""
        return self.hidden // TOY_PART if toy else self.hidden

    @property
    def name(self) -> str:
        """The name in this family, `bert-4-256`."""
        return f"bert-{self.layers}-{self.hidden}"

    @property
    def alias(self) -> str | None:
        """The paper's word for five of the 24 (`mini`), else None."""
        return _ALIASES.get((self.layers, self.hidden))

    @property
    def release(self) -> str:
        """The Hub id of Google's released weights of this size."""
        return self.fill_in(RELEASED)

    @property
    def heads(self) -> int:
        """Number of attention heads, H / 64."""
        return self.hidden // HEAD_SIZE

    def fill_in(self, pattern: str) -> str:
        """Fills `{student}`, `{layers}`, `{hidden}` and `{heads}` into a pattern of names."""
        named = {"student": self.name, "layers": self.layers, "hidden": self.hidden, "heads": self.heads}
        # Not by `format`: names may have braces of their own.
        for word, value in named.items():
            pattern = pattern.replace(f"{{{word}}}", str(value))
        return pattern

    def encoder_parameters(self, vocabulary: int = VOCABULARY) -> int:
        """Counts the weights of `BertModel` with pooler: embeddings, L layers, pooler.

        A layer has 12H² weights in its six matrices and 13H in biases and two layer norms; the
        embeddings have V + 512 + 2 rows of H and one layer norm (2H); the pooler H² + H.
        """
        h = self.hidden
        embeddings = (vocabulary + POSITIONS + SEGMENTS) * h + 2 * h
        return embeddings + self.layers * (12 * h * h + 13 * h) + h * h + h

    def parameters(self, vocabulary: int = VOCABULARY) -> int:
        """Counts the weights of `BertForPreTraining`, the number in the paper's Table 1a.

        Encoder with pooler, MLM transform (H² + H and a layer norm of 2H), one output bias a word
        (the output matrix is the embedding's), next-sentence head (2H + 2).
        """
        h = self.hidden
        return self.encoder_parameters(vocabulary) + h * h + 3 * h + vocabulary + 2 * h + 2

    def config(self, vocabulary: int = VOCABULARY, **changes: object) -> "BertConfig":
        """Builds the stock `BertConfig`; `changes` replace its fields (e.g. `initializer_range`)."""
        from transformers import BertConfig

        fields: dict[str, object] = {
            "vocab_size": vocabulary,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": 4 * self.hidden,
            "hidden_act": "gelu",
            "hidden_dropout_prob": BERT_DROPOUT,
            "attention_probs_dropout_prob": BERT_DROPOUT,
            "max_position_embeddings": POSITIONS,
            "type_vocab_size": SEGMENTS,
            "layer_norm_eps": 1e-12,
        }
        return BertConfig(**(fields | changes))  # type: ignore[arg-type]  # a mapping of mixed values

    def fresh_config(
        self, vocabulary: int = VOCABULARY, toy: bool = False, **changes: object
    ) -> "BertConfig":
        """Builds the config of a student that starts from random weights, of standard deviation 1/sqrt(H).

        BERT's 0.02 is made for a width of 768; at 128, word embeddings above all, it keeps masked-LM
        training on its plateau several times longer (docs/log.md).
        """
        width = self.width(toy)
        sizes = {"hidden_size": width, "intermediate_size": 4 * width, "initializer_range": width**-0.5}
        return self.config(vocabulary, **(sizes | changes))

    def __str__(self) -> str:
        return self.name


def _refusal(name: str, layers: int, hidden: int) -> str:
    # Log-ratios, so that 5-300 is as near to 256 as a person would say it is.
    def distance(student: Student) -> float:
        return abs(log(student.layers / max(layers, 1))) + abs(log(student.hidden / max(hidden, 1)))

    close = ", ".join(student.name for student in sorted(STUDENTS, key=distance)[:3])
    return (
        f"expected one of the 24 students (L in {LAYERS}, H in {HIDDEN}), got {name!r}; "
        f"the nearest are {close}"
    )


STUDENTS: tuple[Student, ...] = tuple(Student(layers, hidden) for layers in LAYERS for hidden in HIDDEN)


def can_grow(source: Shape, student: Student) -> bool:
    """Returns whether a student is larger than a source in depth or width, and smaller in neither."""
    return source != student.shape and source.layers <= student.layers and source.width <= student.hidden


def grown_from(student: Student, chosen: Iterable[Student]) -> Student | None:
    """Returns which of the chosen sizes a student grows from; None: from none, it starts from random weights.

    The deepest, and of these the widest: widening keeps what a model has learnt, stacking layers does not.
    Over the 24, students of H = 128 are stacked in a chain, and others grow from the next narrower one.
    """
    return max((each for each in chosen if can_grow(each.shape, student)), default=None)


def parse_students(words: Iterable[str]) -> tuple[str, ...]:
    """Reads names of students, `all`, `h=128` for one width or `l=2` for one depth.

    Returns:
        Names in the order of the words. What words select is there once; a name given twice stays twice.

    Raises:
        UnknownNameError: A word is neither; the message names the nearest.
    """
    words = list(words)
    named = {Student.parse(word) for word in words if _selected(word) is None}
    chosen: dict[Student, None] = {}
    found = []
    for word in words:
        selected = _selected(word)
        if selected is None:
            found.append(word)
            continue
        found += [student.name for student in selected if student not in named and student not in chosen]
        chosen |= dict.fromkeys(selected)
    return tuple(found)


def _selected(word: str) -> list[Student] | None:
    """Returns the students that a word selects; None where it is no such word."""
    match = _SELECTION.fullmatch(word.lower())
    if match is None:
        return list(STUDENTS) if word.lower() == "all" else None
    by, size = match[1], int(match[2])
    found = [student for student in STUDENTS if size == (student.layers if by == "l" else student.hidden)]
    if not found:
        sizes = LAYERS if by == "l" else HIDDEN
        raise UnknownNameError(
            f"expected one of {', '.join(f'{by}={each}' for each in sizes)}, got {word!r}; the nearest is "
            f"{by}={min(sizes, key=lambda each: abs(each - size))}"
        )
    return found
