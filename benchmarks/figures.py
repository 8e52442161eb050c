"""What a benchmark finds out: one comparison a figure."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """Two things measured in turn, pair by pair.

    Attributes:
        benchmark: Name of the benchmark, as in `make bench ONLY=name`.
        case: What varies within it: a student, a data set.
        ours: What our side is.
        theirs: What the other side is.
        unit: Unit of the values.
        ours_values: Ours, one value a round.
        theirs_values: Theirs, one value a round, measured right after ours.
        ratios: How many times better ours is, one a round (0.5 is half as good).
        target: What the median of the ratios is to reach; None where nothing was set.
        better: Whether a high value is good (tokens/s) or a low one (seconds, MB).
        same: How it was checked that both sides compute the same.
        note: What a reader has to know beside it.
    """

    benchmark: str
    case: str
    ours: str
    theirs: str
    unit: str
    ours_values: tuple[float, ...]
    theirs_values: tuple[float, ...]
    ratios: tuple[float, ...]
    target: float | None
    better: Literal["higher", "lower"]
    same: str
    note: str = ""

    @property
    def median(self) -> float:
        """Median of the ratios."""
        return median(self.ratios)

    @property
    def minimum(self) -> float:
        """Smallest ratio."""
        return min(self.ratios)

    @property
    def maximum(self) -> float:
        """Largest ratio."""
        return max(self.ratios)

    @property
    def reached(self) -> bool | None:
        """Whether the median is at the target; None without one."""
        return None if self.target is None else self.median >= self.target

    def to_json(self) -> dict[str, Any]:
        """Returns the fields, and what is computed of them for readers of the file."""
        computed = {name: getattr(self, name) for name in ("median", "minimum", "maximum", "reached")}
        return asdict(self) | computed

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Figure":
        """Reads what `to_json` gave."""
        kept = {name: fields[name] for name in cls.__dataclass_fields__}
        return cls(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
        )


def compared(
    ours: tuple[float, ...], theirs: tuple[float, ...], better: Literal["higher", "lower"]
) -> tuple[float, ...]:
    """Returns how many times better ours is, pair by pair."""
    pairs = zip(ours, theirs, strict=True)
    return tuple(a / b if better == "higher" else b / a for a, b in pairs)
