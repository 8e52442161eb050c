"""LoRA (Hu et al. 2021, by peft): which modules of a classifier it trains, and what it leaves on disk."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from wellread_hf.errors import SettingsError, StoreError, library_errors_as
from wellread_hf.models.encode import EncodedRows, PadCollator
from wellread_hf.models.words import tags_words
from wellread_hf.settings import Lora
from wellread_hf.store.stage import Location

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# Far above the 8e-8 that the order of sums makes in fp64.
TOLERANCE = 1e-5
# The name that peft's own loading gives to an adapter.
_NAME = "default"
_ROWS_COMPARED = 16


def add_lora(model: "PreTrainedModel", lora: Lora, seed: int) -> "PeftModel":
    """Freezes a classifier and puts LoRA's matrices beside linear layers of its encoder.

    The classifier and the encoder's pooler, which are usually new, are trained whole.

    Args:
        model: Any stock sequence classifier; changed.
        lora: With a rank.
        seed: All that the new matrices depend on.

    Raises:
        SettingsError: A target names no linear layer of the encoder.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    saved = _saved_modules(model)
    targets = _targets(model, saved, lora.lora_targets)
    config = LoraConfig(
        task_type=TaskType.TOKEN_CLS if tags_words(model) else TaskType.SEQ_CLS,
        r=lora.lora_rank or 0,
        lora_alpha=lora.scale,
        lora_dropout=lora.lora_dropout,
        target_modules=targets,
        # As the weights lie in GPT-2's layers.
        fan_in_fan_out=any(isinstance(model.get_submodule(name), Conv1D) for name in targets),
        # peft saves no new head unless it is named.
        modules_to_save=list(saved),
    )
    torch.manual_seed(seed)
    subject = f"`lora_rank` {lora.lora_rank}: LoRA cannot be added to a {type(model).__name__}"
    with _old_names_allowed(), library_errors_as(SettingsError, subject, "train without LoRA"):
        adapted: PeftModel = get_peft_model(model, config)
    # peft adds heads that a model may have, and keeps names in a set, whose order is another in each process.
    config.modules_to_save = list(saved)
    config.target_modules = sorted(config.target_modules or ())
    # Where there is a name, peft asks the Hub for that model's config at every checkpoint; where there is
    # none, it takes the model's.
    config.base_model_name_or_path = None
    model.name_or_path = ""
    return adapted


def _saved_modules(model: "PreTrainedModel") -> tuple[str, ...]:
    """Names what is trained whole: all outside the encoder, and the encoder's pooler."""
    # Heads and poolers are usually new, and frozen random layers teach nothing.
    heads = [(name, part) for name, part in model.named_children() if name != model.base_model_prefix]
    poolers = [(name, part) for name, part in model.base_model.named_children() if "pooler" in name]
    return tuple(name for name, part in [*heads, *poolers] if any(True for _ in part.parameters()))


def _targets(model: "PreTrainedModel", saved: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Returns the full names of the encoder's linear layers, or of those whose names end as wanted."""
    linear = [
        f"{model.base_model_prefix}.{name}"
        for name, part in model.base_model.named_modules()
        # GPT-2's linear layers are called convolutions.
        if isinstance(part, (nn.Linear, Conv1D)) and name.partition(".")[0] not in saved
    ]
    found = {end: [name for name in linear if f".{name}".endswith(f".{end}")] for end in wanted}
    if unknown := [end for end, names in found.items() if not names]:
        # As they are called within a layer.
        known = dict.fromkeys(re.split(r"\.\d+\.", name)[-1] for name in linear)
        raise SettingsError(
            f"`lora_targets`: expected ends of the names of linear layers of {type(model).__name__}'s "
            f"encoder, got {', '.join(map(repr, unknown))}; there are {', '.join(known)}"
        )
    chosen = set().union(*found.values()) if wanted else set(linear)
    return [name for name in linear if name in chosen]


def lora_facts(model: "PeftModel") -> dict[str, Any]:
    """Counts a model's parameters, LoRA's included, and names what is trained."""
    config: Any = model.peft_config[_NAME]
    trained = [weights.numel() for weights in model.parameters() if weights.requires_grad]
    # peft keeps the first values of what is trained whole.
    kept = [weights.numel() for name, weights in model.named_parameters() if ".original_module." in name]
    return {
        "parameters": sum(weights.numel() for weights in model.parameters()) - sum(kept),
        "trainable_parameters": sum(trained),
        "targets": list(config.target_modules),
        "saved_modules": list(config.modules_to_save),
    }


def save_adapter(model: "PeftModel", base: Location, folder: Path) -> int:
    """Writes LoRA's matrices and the modules trained whole in peft's format.

    Args:
        model: The trained model.
        base: What it started from; its name goes into the adapter, without the folders above it.
        folder: Receives `adapter_model.safetensors` and `adapter_config.json`.

    Returns:
        The bytes of the weights.
    """
    config = model.peft_config[_NAME]
    on_hub = base.fingerprint.startswith("hub:")
    # A path would name a place of this machine.
    config.base_model_name_or_path = base.name if on_hub else Path(base.name).resolve().name
    config.revision = base.revision
    # By default peft asks the Hub whether the vocabulary was changed.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    # A card of gaps to be filled in.
    (folder / "README.md").unlink()
    return (folder / "adapter_model.safetensors").stat().st_size


def with_adapter(base: "PreTrainedModel", folder: Path) -> "PeftModel":
    """Loads an adapter onto the weights that it belongs to, as anyone would."""
    from peft import PeftModel

    with _old_names_allowed():
        return PeftModel.from_pretrained(base, str(folder))


@contextmanager
def _old_names_allowed() -> Iterator[None]:
    """Keeps back what transformers says of a name that peft calls, and no user of ours can change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def exact_logits(model: nn.Module, rows: EncodedRows) -> Tensor:
    """Returns a model's logits [rows, classes] for the first rows, computed in fp64 on the CPU.

    Two ways to write the same sum differ by some 1e-6 in fp32, more with each layer: in fp64 a
    difference is one of the weights. The model is left as it was, but for `eval`.
    """
    batch = PadCollator(rows.pad_id, rows.pad_left)(
        [rows.row(row) for row in range(min(len(rows), _ROWS_COMPARED))]
    )
    device = next(model.parameters()).device
    model.cpu().double().eval()
    with torch.inference_mode():
        logits: Tensor = model(**batch).logits
    model.float().to(device)
    return logits


def check_parity(expected: Tensor, found: Tensor, what: str) -> float:
    """Returns the largest absolute difference of a saved model's logits from the trained one's.

    Raises:
        StoreError: It is above `TOLERANCE`, or the shapes differ.
    """
    difference = float((expected - found).abs().max()) if expected.shape == found.shape else float("inf")
    if not difference <= TOLERANCE:
        raise StoreError(
            f"expected the {what}, loaded again, to give the trained model's logits to within {TOLERANCE:g}, "
            f"got a difference of {difference:g}; nothing of it was kept: train without `lora_rank`, and "
            "report this"
        )
    return difference


def merge(model: "PeftModel") -> "PreTrainedModel":
    """Adds LoRA's part to the encoder's weights, in fp64, and returns the stock model in fp32."""
    model.double()
    merged: Any = model.merge_and_unload()
    stock: PreTrainedModel = merged.float()
    return stock
