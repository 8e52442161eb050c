"""Saving a finished model as an ordinary Hub folder."""

from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import PreTrainedModel


def save_model(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """Writes `model.safetensors`, `config.json` and the tokenizer; the main process alone does."""
    if PartialState().is_main_process:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
