"""What is measured of students on this machine, and the budget that they have to keep to."""

from typing import Annotated, Literal

from pydantic import Field

from wellread_hf.settings.fields import (
    Batch,
    Count,
    Length,
    Limit,
    Number,
    Selected,
    Threads,
    Vocabulary,
    Whole,
    checked,
    each_once,
)
from wellread_hf.students import VOCABULARY, Student

Format = Literal["torch", "onnx-fp32", "onnx-int8", "openvino"]
FORMATS: tuple[Format, ...] = ("torch", "onnx-fp32", "onnx-int8", "openvino")

Formats = Annotated[tuple[Format, ...], each_once()]
_Seconds = Annotated[Number, Field(gt=0, le=3_600)]


@checked()
class Measure:
    """From a text to its label: lengths, batches, threads."""

    lengths: Annotated[tuple[Length, ...], each_once()] = (16, 64, 128, 512)
    """Tokens of a text, as far as a model takes them; the task's own rows are measured as well."""
    batch: Batch = 32
    """Rows a batch where throughput is measured."""
    threads: Annotated[tuple[Threads, ...], each_once()] = (1, 0)
    """Threads of a model; 0 stands for all cores."""
    formats: Formats = FORMATS
    """Formats to measure, of those that a model has and this machine can read."""
    # Of noise an interval over 40 turns of some milliseconds is left.
    seconds: _Seconds = 1.0
    """About how long a candidate is timed at each length, batch and number of threads."""
    vocabulary: Vocabulary = VOCABULARY
    """WordPieces of a student that is named in place of a model; its weights are random."""
    starts: Annotated[Whole, Field(ge=1, le=100)] = 3
    """Fresh processes a candidate, for the time to its first answer and its peak memory."""


@checked()
class Budget:
    """What a student may cost on this machine, and which sizes are looked at."""

    students: Annotated[Selected, each_once(Student.parse, least=0)] = ()
    """Which of the 24 students, e.g. `h=128`; default: all."""
    max_ms: Limit | None = None
    """Most milliseconds from one text to its label (p50, batch 1)."""
    max_mb: Limit | None = None
    """Largest file of weights or graph, in megabytes (a million bytes)."""
    length: Length = 64
    """Tokens of the text."""
    threads: Count = 1
    """Threads of the model."""
    vocabulary: Vocabulary = VOCABULARY
    """WordPieces of the students."""
    formats: Formats = FORMATS
    """Formats to measure, of those that this machine can read."""
    quick: bool = False
    """Measure eight of the 24 sizes, and predict the others from these."""
    seconds: _Seconds = 0.5
    """About how long a size is timed in each format."""
