"""Saving a finished model as an ordinary Hub folder."""

from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import PreTrainedModel


def save_model(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """Writes `model.safetensors`, `config.json` and the tokenizer; the main process alone does."""
    if PartialState().is_main_process:
        model.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Writes a tokenizer's files, as every caller loads them."""
    if tokenizer.is_fast:
        # What its last call asked for is no part of it: rows from the cache make no call.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(folder)
