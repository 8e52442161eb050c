"""What a card says of a served model: its graphs, confidence, latency, and the choice it is one of."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from wellread_hf.serving.export_facts import INT8

# Strict: what a record says is not converted, a number in quotes is an error.
STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Graph:
    """A file of an export, or one that its gate refused."""

    file: str
    size: int  # bytes
    score: float
    difference: float  # of a logit from the weights' own, at most
    agreement: float | None = None  # share of rows with fp32's answer
    drop: tuple[float, float, float] | None = None  # of the score, with its interval
    speed: tuple[float, float, float] | None = None  # over fp32, with its interval
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Exported:
    """The ONNX files of the model."""

    kind: str  # `classification`, `multi-label`, `regression`, `fill-mask` or `features`
    metric: str
    rows: int  # on which they were compared
    max_length: int
    temperature: float  # by which their logits are divided
    cpu: str
    instructions: tuple[str, ...]
    graphs: tuple[Graph, ...]

    @property
    def kept(self) -> tuple[Graph, ...]:
        """The files that there are."""
        return tuple(graph for graph in self.graphs if graph.refused is None)

    @property
    def int8(self) -> bool:
        """Whether int8 is among them."""
        return any(graph.file == INT8 for graph in self.kept)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Confidence:
    """How far the probabilities can be believed, as `metrics.calibration` found it."""

    temperature: float
    before: float  # expected calibration error
    after: float  # on rows that the temperature was not fitted on
    rows: int
    # Confidence, share of right decisions and their number, before and after.
    bins: tuple[tuple[tuple[float, float, int], ...], tuple[tuple[float, float, int], ...]]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Timing:
    """Text to label in one format, at one length."""

    format: str
    threads: int
    batch: int
    length: str  # tokens, or `rows` of the task
    p50: float | None  # milliseconds; None where the machine was too noisy for them
    p95: float | None
    ratio: tuple[float, float, float]  # to the reference, with its interval: above 1 is faster


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Latency:
    """What `wellread measure` found."""

    cpu: str
    instructions: tuple[str, ...]
    reference: str
    timings: tuple[Timing, ...]
    # By format: seconds from start to a first answer, megabytes of memory.
    starts: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Choice:
    """A student of the same task in one format, or the teacher."""

    name: str
    method: str
    format: str
    score: tuple[float, float, float]  # percent, with its interval
    ms: float | None
    mb: float | None
    this: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Example:
    """A text, and what the model says of it: labels with probabilities, the likeliest first."""

    text: str
    labels: tuple[tuple[str, float], ...] = ()
