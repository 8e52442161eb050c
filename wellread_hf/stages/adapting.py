"""LoRA within a stage: refused where it makes no sense, saved whole or not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellread_hf.errors import SettingsError
from wellread_hf.settings import Lora, Start
from wellread_hf.store.records import ADAPTER, unchecked
from wellread_hf.store.stage import Location

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from wellread_hf.models.encode import EncodedRows


def check_lora(lora: Lora, start: Start) -> None:
    """Refuses LoRA on random weights.

    Raises:
        SettingsError: There is no encoder whose weights could stay.
    """
    if start.weights is None:
        raise SettingsError(
            f"`lora_rank` {lora.lora_rank} keeps the encoder's weights as they are, and {start.student} from "
            "random weights has learnt none; name a pre-trained encoder with `start.weights`, or leave out "
            "LoRA"
        )


def lora_identity(lora: Lora | None) -> dict[str, Any]:
    """Says what of LoRA decides a result; nothing without it, so that digests stay as they were before it."""
    if lora is None:
        return {}
    return {
        "lora": {
            "rank": lora.lora_rank,
            "alpha": lora.scale,
            "dropout": lora.lora_dropout,
            "targets": lora.lora_targets,
            "adapter": lora.lora_adapter,
        }
    }


def save_lora(
    model: "PeftModel",
    tokenizer: Any,
    lora: Lora,
    base: Location,
    load: Callable[[Location], "PreTrainedModel"],
    rows: "EncodedRows",
    folder: Path,
) -> Mapping[str, Any]:
    """Saves a trained model merged, and its adapter; both are loaded again and compared before they count.

    Args:
        model: The trained model; merged afterwards.
        tokenizer: Saved beside it.
        lora: Whether the adapter is kept.
        base: What training started from.
        load: Loads a classifier of the task from a place: `base`, and what was saved.
        rows: Rows to compare logits on.
        folder: The stage's.

    Returns:
        Parameters, trained ones among them; bytes of the adapter; largest differences of a logit.

    Raises:
        StoreError: What was saved gives other logits than the trained model; it is deleted.
    """
    from wellread_hf.models.lora import (
        check_parity,
        exact_logits,
        lora_facts,
        merge,
        save_adapter,
        with_adapter,
    )
    from wellread_hf.models.save import save_model

    facts = lora_facts(model)
    with unchecked(folder) as beside:
        expected = exact_logits(model, rows)
        if lora.lora_adapter:
            facts["adapter_bytes"] = save_adapter(model, base, beside / ADAPTER)
            again = with_adapter(load(base), beside / ADAPTER)
            facts["parity_adapter"] = check_parity(expected, exact_logits(again, rows), "adapter")
        save_model(merge(model), tokenizer, beside)
        saved = load(Location(name=str(beside), revision=None, fingerprint=""))
        facts["parity_merged"] = check_parity(expected, exact_logits(saved, rows), "merged model")
    return facts
