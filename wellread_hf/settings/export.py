"""Settings of an export."""

from typing import Annotated, Literal

from pydantic import Field

from wellread_hf.settings.fields import Length, Number, Share, checked

ModelKind = Literal["classifier", "fill-mask", "features"]


@checked()
class Export:
    """A model as ONNX graphs, and what its int8 graph may lose."""

    kind: ModelKind | None = None
    """What its answers are: of a classifier, of a masked LM, or the last layer's states; default: as its
    config says."""
    # As many as the model was saved for, so that one length serves all clients.
    max_length: Length | None = None
    """Tokens a row; default: what the model was saved with."""
    # Less than the spread between two seeds.
    tolerance: Annotated[Number, Field(ge=0, le=100)] = 0.5
    """Points that int8's score may fall by."""
    agreement: Share = 0.98
    """Share of the rows on which int8 must answer as fp32 does."""
