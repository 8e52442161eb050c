"""How a run is carried out, and its optimizer."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wellread_hf.errors import SettingsError, nearest
from wellread_hf.settings.fields import (
    Batch,
    Count,
    Number,
    Rate,
    Share,
    Whole,
    checked,
)

# One of these is there wherever torch may find a GPU: of NVIDIA, of AMD, of Windows below Linux.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/kfd", "/dev/dxg")

Precision = Literal["auto", "fp32", "bf16"]
Schedule = Literal["linear", "cosine"]
# What a tokenizer keeps of the letters.
Case = Literal["lower", "lower-accents", "cased"]


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
    workers: Annotated[Whole, Field(ge=0, le=256)] = 0
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
    # BERT's.
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
