"""Settings of a server."""

from typing import Annotated, Literal

from pydantic import Field

from wellread_hf.settings.fields import Batch, Count, Length, Threads, Whole, checked


@checked()
class Serve:
    """Where a server listens, what it answers with, and how much it takes at once."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for other machines."""
    port: Annotated[Whole, Field(ge=0, le=65_535)] = 8080
    """Port to listen on; 0: a free one, which is printed."""
    file: Literal["int8", "fp32"] | None = None
    """Which graph answers; default: int8 where the export has it."""
    threads: Threads = 0
    """Threads of ONNX Runtime; 0: one a processor."""
    max_length: Length | None = None
    """Tokens a text; longer ones are refused, or cut where a request says `truncate`. Default: the
    export's."""
    # As text-embeddings-inference has it, and so are the next two.
    max_texts: Batch = 32
    """Texts a request."""
    max_body: Count = 2_000_000
    """Bytes a request."""
    # A client that waits longer has given up; its texts would keep others waiting.
    max_waiting: Count = 4_096
    """Texts that may wait for the model; more are asked to come back later."""
    batch_size: Batch = 32
    """Texts that the model reads at once, of those that wait."""
