"""How a BERT of 512 positions reads rows, for tests without the model, and a labelling pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wellread_hf.labelling.classifier_labeller import ClassifierLabeller
from wellread_hf.labelling.label_rows import TransferTexts, label_rows
from wellread_hf.models.encode import RowEncoder
from wellread_hf.models.plain_text import PlainText
from wellread_hf.settings import Label


def of_bert(tokenizer: Any, max_length: int) -> RowEncoder:
    return RowEncoder(words=PlainText(tokenizer), max_length=max_length, pad_id=tokenizer.pad_token_id)


def label_with(
    teacher: Any,
    encoder: RowEncoder,
    texts: TransferTexts,
    order: Sequence[int],
    settings: Label,
    folder: Path,
) -> int:
    """Labels rows with a classifier; returns how many shards were there already."""
    return label_rows(
        ClassifierLabeller(teacher, encoder, order, settings), texts, settings.shard_rows, folder
    )
