"""What a student has to keep to, to be picked."""

from typing import Annotated

from pydantic import Field

from wellread_hf.settings.fields import Count, Length, Limit, Number, checked


@checked()
class Picking:
    """A budget, and the score that is asked for; what is left out is not asked for."""

    task: str | None = None
    """Name of the task, where the runs are of several."""
    max_ms: Limit | None = None
    """Most milliseconds from one text to its label (p50, batch 1)."""
    max_mb: Limit | None = None
    """Largest file of weights or graph, in megabytes (a million bytes)."""
    min_score: Annotated[Number, Field(ge=-100, le=100)] | None = None
    """Lowest score in percent; the lower end of the 95 % interval counts."""
    within: Annotated[Number, Field(ge=0, le=100)] | None = None
    """Most points that it may lose to the teacher; the lower end of the 95 % interval counts."""
    # As `wellread budget` has it.
    length: Length = 64
    """Tokens of the text at which milliseconds are compared."""
    threads: Count = 1
    """Threads at which milliseconds are compared."""

    @property
    def asked(self) -> str:
        """The limits, as sentences show them; empty without one."""
        names = ("max_ms", "max_mb", "min_score", "within")
        given = ((name, getattr(self, name)) for name in names)
        return ", ".join(f"`{name}` {value:g}" for name, value in given if value is not None)
